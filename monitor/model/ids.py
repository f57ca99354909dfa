"""Identifiers, as types of their own, so that mypy tells a cgroup id from a process id."""

from hashlib import blake2b
from typing import NamedTuple, NewType

CgroupId = NewType("CgroupId", int)
"""Inode number of a cgroup's directory in the hierarchy that carries the tag (see :mod:`monitor.host.cgroups`); above
it, from bit 40 on, the hierarchy's number, which for cgroup2 is 0."""

Tgid = NewType("Tgid", int)
"""Process id as the host's first pid namespace shows it (JSON ``process.pid``)."""

Tid = NewType("Tid", int)
"""Thread id in the first pid namespace."""


class FileIdentity(NamedTuple):
    """What the kernel calls a file, whatever its names are."""

    device: int
    """Of its file system's superblock; ``stat`` shows another one on overlayfs and btrfs."""
    inode: int


class InodeKey(NamedTuple):
    """One file, as long as it is there: its file system may give the number to another one later."""

    device: int
    """Of its file system's superblock."""
    inode: int
    generation: int
    """Another one for each file that has the number."""


class ProcessKey(NamedTuple):
    """One life of one process: pids are reused, this pair is not.

    Source: ``task_struct.tgid`` and the group leader's ``task_struct.start_boottime``.
    """

    tgid: Tgid
    start_boottime_ns: int


class TaskFacts(NamedTuple):
    """What the kernel's task iterator tells exactly and ``/proc`` does not (it has start times in 10 ms ticks)."""

    tgid: Tgid
    start_boottime_ns: int
    exec_id: int
    """``task_struct.self_exec_id``."""
    cgroup_id: CgroupId
    parent_tgid: Tgid
    """Thread group of ``real_parent``; 0 for the first process and the kernel's thread parent."""
    parent_start_boottime_ns: int


def build_entity_id(boot_id: str, key: ProcessKey, exec_id: int) -> str:
    """Name one program in one life of one process, on one boot of one host (JSON ``process.entity_id``).

    20 hex digits: the same whoever computes it, and different after each exec.
    """
    text = f"{boot_id} {key.tgid} {key.start_boottime_ns} {exec_id}"
    return blake2b(text.encode(), digest_size=10).hexdigest()
