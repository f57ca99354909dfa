"""Identifiers, as types of their own, so that mypy tells a cgroup id from a process id."""

from typing import NamedTuple, NewType

CgroupId = NewType("CgroupId", int)
"""Inode number of a cgroup's directory in the hierarchy that carries the tag (see :mod:`monitor.host.cgroups`)."""

Tgid = NewType("Tgid", int)
"""Process id as the host's first pid namespace shows it (JSON ``process.pid``)."""

Tid = NewType("Tid", int)
"""Thread id in the first pid namespace."""


class ProcessKey(NamedTuple):
    """One life of one process: pids are reused, this pair is not.

    Source: ``task_struct.tgid`` and the group leader's ``task_struct.start_boottime``.
    """

    tgid: Tgid
    start_boottime_ns: int
