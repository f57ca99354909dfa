"""Which directory freezes a container, and which processes are in it: for :mod:`monitor.responders`.

On cgroup2 a container is frozen by its own cgroup. Where that has no processes or no
``cgroup.freeze`` (v1), it is a cgroup of the v1 freezer: the one that all its processes
share, and in which nobody else is.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from monitor.host.cgroup_handles import open_cgroup_by_inode
from monitor.host.cgroups import parse_memberships
from monitor.host.mounts import Mount, read_mounts
from monitor.model.ids import CgroupId
from monitor.wire._layout import TAG_HIERARCHY_SHIFT

_PROC: Final = Path("/proc")
_FREEZER: Final = b"freezer"
_DEPTH_MAX: Final = 32
_FOLDERS_MAX: Final = 65_536
_PROCESSES_MAX: Final = 65_536
_CHECKED_MAX: Final = 4_096
"""Processes of a container whose cgroups are compared; a larger one has them in the same few."""
_CHUNK_BYTES: Final = 1 << 16
_INODE_MASK: Final = (1 << TAG_HIERARCHY_SHIFT) - 1


class CgroupFolders:
    """Opens cgroups of whichever hierarchy an id is of. Mounts are read at each call: calls are rare."""

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc

    def open(self, cgroup_id: CgroupId) -> int:
        """Open a cgroup's directory.

        Raises:
            FileNotFoundError: it has been removed.
            OSError: its hierarchy is not mounted, or the kernel refused.
        """
        return open_cgroup_by_inode(self._find_mount(cgroup_id >> TAG_HIERARCHY_SHIFT).point, cgroup_id & _INODE_MASK)

    def find_freezer(self, cgroup_id: CgroupId) -> CgroupId:
        """Answer the cgroup that freezes the container with this one.

        Raises:
            FileNotFoundError: the container has ended.
            OSError: it has none of its own, or the kernel refused; the text says which.
        """
        folder = self.open(cgroup_id)
        try:
            is_cgroup2 = cgroup_id >> TAG_HIERARCHY_SHIFT == 0
            processes = self.list_processes(folder)
            if is_cgroup2 and processes and _has(folder, "cgroup.freeze"):
                return cgroup_id
        finally:
            os.close(folder)
        if not processes:
            raise FileNotFoundError(errno.ENOENT, "no process is left in it")
        return self._find_v1_freezer(cgroup_id >> TAG_HIERARCHY_SHIFT, processes)

    def list_processes(self, folder: int) -> list[int]:
        """The processes of a cgroup and of all below it, as far as bounds allow; 0 for one outside our pid namespace.

        Raises:
            OSError: the cgroup itself is gone.
        """
        return list(islice(_walk(folder, [_FOLDERS_MAX]), _PROCESSES_MAX))

    def find_process(self, cgroup_id: CgroupId) -> int | None:
        """Some process of a cgroup or below it."""
        try:
            folder = self.open(cgroup_id)
        except OSError:
            return None
        try:
            return next((pid for pid in _walk(folder, [_FOLDERS_MAX]) if pid), None)
        except OSError:
            return None
        finally:
            os.close(folder)

    # --- the v1 freezer -------------------------------------------------------------------

    def _find_v1_freezer(self, hierarchy_id: int, processes: list[int]) -> CgroupId:
        """The freezer cgroup that holds most of these processes and nobody else.

        Not necessarily all: a runtime's task that is entering the container joins one hierarchy after another.
        """
        mount, number = self._find_freezer_mount()
        places = [place for tgid in processes[:_CHECKED_MAX] if (place := self._read_places(tgid, hierarchy_id))]
        if not places:
            raise FileNotFoundError(errno.ENOENT, "no process is left in it")
        own = _find_common([tagged for tagged, _ in places])
        path = _choose_freezer(own, [freezer for _, freezer in places])
        if path is None:
            raise OSError(
                errno.EOPNOTSUPP, "it has no cgroup of its own in the v1 freezer, whose files would freeze it"
            )
        folder = os.open(os.fsencode(mount.point) + path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._check_nobody_else(folder, own, hierarchy_id)
            return CgroupId(number << TAG_HIERARCHY_SHIFT | os.fstat(folder).st_ino)
        finally:
            os.close(folder)

    def _check_nobody_else(self, folder: int, own: bytes, hierarchy_id: int) -> None:
        for tgid in self.list_processes(folder)[:_CHECKED_MAX]:
            place = self._read_places(tgid, hierarchy_id)
            if place is not None and not _is_below(place[0], own):
                raise OSError(
                    errno.EOPNOTSUPP, f"others share its freezer cgroup (process {tgid}): they would freeze too"
                )

    def _read_places(self, tgid: int, hierarchy_id: int) -> tuple[bytes, bytes] | None:
        """(path in that hierarchy, path in the freezer) of a process, as bytes to be opened; None when it has ended."""
        with contextlib.suppress(OSError):
            tagged = freezer = b""
            for line in (self._proc / str(tgid) / "cgroup").read_bytes().split(b"\n"):
                number, _, rest = line.partition(b":")
                controllers, _, path = rest.partition(b":")
                if number.isdigit() and int(number) == hierarchy_id:
                    tagged = path
                if _FREEZER in controllers.split(b","):
                    freezer = path
            return (tagged, freezer) if tagged and freezer else None
        return None

    def _find_freezer_mount(self) -> tuple[Mount, int]:
        for mount in self._read_mounts("cgroup"):
            if "freezer" in mount.options and mount.root == "/":
                for number, controllers, _ in parse_memberships((self._proc / "self/cgroup").read_bytes()):
                    if "freezer" in controllers:
                        return mount, number
        raise OSError(errno.EOPNOTSUPP, "neither cgroup2's cgroup.freeze nor the v1 freezer is to be had for it")

    # --- mounts and walks -----------------------------------------------------------------

    def _find_mount(self, hierarchy_id: int) -> Mount:
        if hierarchy_id == 0:
            found = self._read_mounts("cgroup2")
        else:
            names = self._read_controllers(hierarchy_id)
            found = [mount for mount in self._read_mounts("cgroup") if names & mount.options]
        if not found:
            raise OSError(errno.ENODEV, "the cgroup hierarchy of this container is not mounted")
        return found[0]

    def _read_mounts(self, filesystem: str) -> list[Mount]:
        """Those that can be used, writable ones first (a sandbox may show the tree read-only beside)."""
        usable: list[tuple[bool, Mount]] = []
        for mount in read_mounts(self._proc / "self/mountinfo"):
            if mount.filesystem == filesystem:
                with contextlib.suppress(OSError):  # covered by a later mount
                    usable.append((bool(os.statvfs(mount.point).f_flag & os.ST_RDONLY), mount))
        return [mount for _, mount in sorted(usable, key=lambda pair: pair[0])]

    def _read_controllers(self, hierarchy_id: int) -> frozenset[str]:
        memberships = parse_memberships((self._proc / "self/cgroup").read_bytes())
        return frozenset(name for number, names, _ in memberships if number == hierarchy_id for name in names)


def _walk(folder: int, bounds: list[int], depth: int = 0) -> Iterator[int]:
    """What is in a cgroup, then what is below it, by descriptors; what vanishes meanwhile is passed over."""
    yield from _read_numbers(folder)
    if depth >= _DEPTH_MAX:
        return
    names: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    for name in names:
        bounds[0] -= 1
        if bounds[0] < 0:
            return
        with contextlib.suppress(OSError):  # removed meanwhile, or a threaded cgroup: the one above has its processes
            child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                yield from _walk(child, bounds, depth + 1)
            finally:
                os.close(child)


def _has(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder)
    except OSError:
        return False
    return True


def _read_numbers(folder: int) -> list[int]:
    descriptor = os.open("cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        text = b""
        while len(text) < _PROCESSES_MAX * 8 and (chunk := os.read(descriptor, _CHUNK_BYTES)):
            text += chunk
    finally:
        os.close(descriptor)
    return [int(line) for line in text.split()]


def _find_common(paths: list[bytes]) -> bytes:
    return os.path.commonpath(paths)


def _is_below(path: bytes, above: bytes) -> bool:
    """Whether it is this cgroup or one below it."""
    return (path.rstrip(b"/") + b"/").startswith(above.rstrip(b"/") + b"/")


def _choose_freezer(own: bytes, paths: list[bytes]) -> bytes | None:
    """The cgroup that covers most of these, the container's usual path first; never the root of the hierarchy."""
    usable = [path for path in paths if path != b"/" and not path.startswith(b"/..")]
    if not usable:
        return None
    candidates = {own, _find_common(usable), *usable} - {b"/"}

    def rank(path: bytes) -> tuple[int, bool, int]:
        return sum(_is_below(each, path) for each in usable), path == own, len(path)

    return max(candidates, key=rank)
