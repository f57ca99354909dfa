"""The service's own tasks, marked in the kernel: counted and not streamed, never denied."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class TaskMaps(Protocol):
    """What this needs of a loaded object (:class:`monitor.bpf.libbpf.BpfObject`)."""

    def map_update(self, name: str, key: bytes, value: bytes) -> None:
        """Set one entry."""

    def map_delete(self, name: str, key: bytes) -> None:
        """Remove one entry, if it is there."""


def mark_own_process(maps: TaskMaps, name: str = "own_tasks", mark: int = 1) -> None:
    """Make this process and its future children and threads the service's own, in this table of marks."""
    with _own_key() as key:
        maps.map_update(name, key, struct.pack("<I", mark))


def unmark_own_process(maps: TaskMaps, name: str = "own_tasks") -> None:
    """Make this process, and what it forks from now on, somebody else's; its other threads and children stay ours."""
    with _own_key() as key:
        maps.map_delete(name, key)


@contextmanager
def _own_key() -> Iterator[bytes]:
    """Tables of tasks have descriptors of processes as keys."""
    pidfd = os.pidfd_open(os.getpid())
    try:
        yield struct.pack("<i", pidfd)
    finally:
        os.close(pidfd)
