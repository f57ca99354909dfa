"""Parse ``/proc/PID/mountinfo`` (proc_pid_mountinfo(5)) into mounts.

Mount points and sources are hostile text (a container names its own): they are only
compared and shown, and only those of our own mount namespace are opened.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

SELF_MOUNTINFO: Final = Path("/proc/self/mountinfo")

_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of mountinfo."""

    point: Path
    """Where it is mounted, as the reader's root shows it."""
    root: str
    """The directory of the file system that is shown there; of a cgroup mount: the cgroup, ``/`` for the whole tree."""
    filesystem: str
    """Type, e.g. ``cgroup2``."""
    options: frozenset[str]
    """Options of the file system (of a v1 cgroup mount: its controllers among them)."""
    device: int
    """``st_dev`` of its files."""
    id: int = 0
    """As :func:`monitor.host.statx.read_mount_id` tells it."""


def read_mounts(source: Path = SELF_MOUNTINFO) -> tuple[Mount, ...]:
    """Read the mounts of a process, in the order in which they were made.

    Raises:
        OSError: ``source`` cannot be read.
    """
    return tuple(parse_mountinfo(source.read_bytes()))


def parse_mountinfo(text: bytes) -> Iterator[Mount]:
    """Parse mountinfo; lines that are not of its form are passed over."""
    for line in text.splitlines():
        before, separator, after = line.partition(b" - ")
        fields, tail = before.split(b" "), after.split(b" ")
        if not separator or len(fields) < 6 or len(tail) < 3:
            continue
        major, _, minor = fields[2].partition(b":")
        if not (major.isdigit() and minor.isdigit() and fields[0].isdigit()):
            continue
        yield Mount(
            point=Path(os.fsdecode(_unescape(fields[4]))),
            root=os.fsdecode(_unescape(fields[3])),
            filesystem=os.fsdecode(tail[0]),
            options=frozenset(os.fsdecode(tail[2]).split(",")),
            device=os.makedev(int(major), int(minor)),
            id=int(fields[0]),
        )


def _unescape(field: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)
