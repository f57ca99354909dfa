"""The service's own tasks, marked in the kernel: counted and not streamed, never denied."""

import os
import struct
from typing import Protocol


class TaskMaps(Protocol):
    """What this needs of a loaded object (:class:`monitor.bpf.libbpf.BpfObject`)."""

    def map_update(self, name: str, key: bytes, value: bytes) -> None:
        """Set one entry."""


def mark_own_process(maps: TaskMaps, name: str = "own_tasks", mark: int = 1) -> None:
    """Make this process and its future children and threads the service's own, in this table of marks."""
    pidfd = os.pidfd_open(os.getpid())
    try:
        maps.map_update(name, struct.pack("<i", pidfd), struct.pack("<I", mark))
    finally:
        os.close(pidfd)
