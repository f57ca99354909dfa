"""Which file systems are to be marked, and descriptors of them: those that settings name, those of containers.

Paths of a container may lead through file systems whose server is hostile or hangs: who
opens them must be able to wait (:mod:`monitor.gate.supervisor` uses threads).
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from monitor.gate.wire import MarkFilesystem
from monitor.host.fanotify import read_filesystem_magic
from monitor.host.mounts import Mount, parse_mountinfo, read_mounts

_OF_CONTAINERS: Final = frozenset({"overlay", "tmpfs"})
_UNHELD: Final = {0x9FA0: "proc", 0x6265_6572: "sysfs", 0x6367_7270: "cgroup2", 0x0027_E0EB: "cgroup"}
"""The gate reads /proc itself, and programs lie in none of them."""
_SYSTEM: Final = re.compile(r"/(?:(?:usr|bin|sbin|lib|lib64|etc|opt|root|home|boot)(?:/|$)|$)")
"""Overlays that the host itself runs from (live systems, systemd-sysext): only a setting has them held."""
_MOUNTINFO_BYTES_MAX: Final = 16 << 20


class PlaceError(ValueError):
    """A path of the settings whose file system cannot be marked."""


class Place(Struct, frozen=True):
    """A file system, opened (O_PATH); the descriptor is the receiver's to close."""

    fd: int
    mark: MarkFilesystem


def open_hold_path(path: Path) -> Place:
    """Open what a setting names.

    Raises:
        PlaceError: it is not there, or nothing is executed from there.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise PlaceError(f"enforcement.hold_paths: {path}: {error.strerror}") from error
    kind = _UNHELD.get(read_filesystem_magic(fd))
    if kind is not None:
        os.close(fd)
        raise PlaceError(f"enforcement.hold_paths: {path} is on {kind}, which cannot be held: name another file system")
    return Place(fd, MarkFilesystem(os.fstat(fd).st_dev))


def open_container_places(pid: int, proc: Path = Path("/proc")) -> list[Place]:
    """Open the file systems that a container has for itself, by one of its processes.

    Overlays, and what the host does not show of tmpfs. Before its runtime has changed
    the root, a container's first process still sees the host's mounts, its overlay
    among them; those of other containers too, for which a second mark is none.

    Raises:
        OSError: the process has ended.
    """
    own = read_mounts(proc / "self" / "mountinfo")
    host_points = _host_points(own)
    left_alone = {mount.device for mount in own if mount.filesystem == "tmpfs" or _SYSTEM.match(str(mount.point))}
    with (proc / str(pid) / "mountinfo").open("rb") as file:
        mounts = parse_mountinfo(file.read(_MOUNTINFO_BYTES_MAX))
    places: dict[int, Place] = {}
    for mount in mounts:
        if mount.filesystem not in _OF_CONTAINERS or mount.device in left_alone or mount.device in places:
            continue
        fd = _open_mount(proc / str(pid) / "root", mount)
        if fd >= 0:
            places[mount.device] = Place(fd, MarkFilesystem(mount.device, host_points.get(mount.device, ())))
    return list(places.values())


def _host_points(own: Iterable[Mount]) -> dict[int, tuple[str, ...]]:
    points: dict[int, tuple[str, ...]] = {}
    for mount in own:
        if mount.filesystem == "overlay" and mount.root == "/":
            points[mount.device] = (*points.get(mount.device, ()), str(mount.point).rstrip("/"))
    return points


def _open_mount(root: Path, mount: Mount) -> int:
    """-1 for what another mount hides, or that is gone."""
    try:
        fd = os.open(f"{root}{mount.point}", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return -1
    if os.fstat(fd).st_dev == mount.device:
        return fd
    os.close(fd)
    return -1
