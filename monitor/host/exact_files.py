"""Find the files that lie at exact paths, below the root that a process has.

Whose files these are may be hostile: no link is followed (a rule about a path is not
about what a link there leads to), nothing is opened but for its identity (O_PATH: no
FIFO waits, no device acts), folders alone are read, all of it is bounded, and only
where the file system answers by itself: one whose server is a process of somebody's
(FUSE) or another machine is left alone. A container's other mounts are not entered:
what is mounted may change between two looks.

Case does not count, as in rules. A file with several names is told only when none of
its other names is a program's: a busybox is all of its applets.
"""

import contextlib
import ctypes
import errno
import os
import stat
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from monitor.host.mounts import Mount, read_mounts
from monitor.host.statx import read_mount_id
from monitor.model.ids import InodeKey
from monitor.rules.field import fold_ascii

LOOK_S: Final = 2.0
"""What has not been found by then is not found."""
ENTRIES_MAX: Final = 20_000
"""Of one folder."""
_FOLDERS_MAX: Final = 64
"""Open at a time."""
_SPELLINGS_MAX: Final = 4
"""Of one name, that differ in case."""
FILE_SYSTEMS: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "overlay", "tmpfs", "ramfs", "rootfs"}
    | {"squashfs", "erofs", "iso9660"}
)
"""That answer by themselves."""
PROGRAM_FOLDERS: Final = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_NR_OPENAT2: Final = 437
_HOW: Final = struct.Struct("=QQQ")
_RESOLVE_NO_XDEV: Final = 0x01
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
"""include/uapi/linux/openat2.h; the number is the same on every architecture."""

Inspect = Callable[[int], tuple[InodeKey, ...]]
"""The inodes behind an open file, as the kernel's programs see them."""


class NotReadyError(OSError):
    """The process has the host's root still: its runtime has not changed it yet."""


def find_container_files(pid: int, paths: Iterable[str], inspect: Inspect) -> dict[InodeKey, frozenset[str]]:
    """The files at these paths (without case) that a container has, by one of its processes.

    Raises:
        NotReadyError: see there.
        OSError: the process has ended, or its root's file system is none that may be asked.
    """
    with _opened_root(pid) as root:
        with _opened_root(_find_host_pid()) as host:
            is_host = _which(root) == _which(host)
        if is_host:
            raise NotReadyError(errno.EAGAIN, "it has the host's root")
        mount_id = read_mount_id("", dir_fd=root)
        _check_root([mount for mount in read_mounts(Path(f"/proc/{pid}/mountinfo")) if mount.id == mount_id])
        return _Look(root, inspect, _RESOLVE_NO_XDEV).find(paths)


def find_host_files(paths: Iterable[str], inspect: Inspect) -> dict[InodeKey, frozenset[str]]:
    """The same of the host: mounts are the host's own, but for those that are left alone.

    Raises:
        OSError: the root's file system is none that may be asked.
    """
    pid = _find_host_pid()
    mounts = read_mounts(Path(f"/proc/{pid}/mountinfo"))
    _check_root([mount for mount in mounts if str(mount.point) == "/"][-1:])
    foreign = {f"{fold_ascii(str(mount.point))}/" for mount in mounts if mount.filesystem not in FILE_SYSTEMS}
    with _opened_root(pid) as root:
        return _Look(root, inspect, 0).find(path for path in paths if not path.startswith(tuple(foreign)))


@contextlib.contextmanager
def _opened_root(pid: int) -> Iterator[int]:
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield root
    finally:
        os.close(root)


def _find_host_pid() -> int:
    """A process that has the host's mounts: the first one, if we may look at it; else we have them ourselves."""
    return 1 if os.access("/proc/1/root/.", os.F_OK) else os.getpid()


def _check_root(mounts: Sequence[Mount]) -> None:
    if not mounts or mounts[-1].filesystem not in FILE_SYSTEMS:
        raise OSError(errno.EOPNOTSUPP, "its root is on a file system that is not asked")


class _Look:
    """One look: folders stay open for the next path, and are read once."""

    def __init__(self, root: int, inspect: Inspect, resolve: int) -> None:
        self._inspect = inspect
        self._resolve = resolve | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
        self._root = root
        self._folders: dict[str, list[int]] = {}
        """Open, by path without case; several may differ in it."""
        self._entries: dict[tuple[int, int], dict[str, list[tuple[str, int]]]] = {}
        """Of folders that were read: by name without case, names and inodes."""
        self._end = time.monotonic() + LOOK_S

    def find(self, paths: Iterable[str]) -> dict[InodeKey, frozenset[str]]:
        """Which file is which path's."""
        found: dict[InodeKey, frozenset[str]] = {}
        try:
            for path in sorted(paths):  # neighbours share their folder
                if time.monotonic() > self._end:
                    break
                if len(self._folders) > _FOLDERS_MAX:
                    self._close()
                for key in self._identify(path):
                    found[key] = found.get(key, frozenset()) | {path}
        finally:
            self._close()
        return found

    def _identify(self, path: str) -> Iterator[InodeKey]:
        folder, _, name = path.rpartition("/")
        for parent in self._open_folder(folder):
            for fd in self._open_entries(parent, name, 0):
                try:
                    if self._is_alone(fd, parent):
                        yield from self._inspect(fd)
                except OSError:
                    continue
                finally:
                    os.close(fd)

    # --- opening --------------------------------------------------------------------------------

    def _open_folder(self, path: str) -> list[int]:
        """All folders that are called so, open for as long as there are not many."""
        if not path:
            return [self._root]
        opened = self._folders.get(path)
        if opened is None:
            above, _, name = path.rpartition("/")
            parents = self._open_folder(above)
            opened = [fd for parent in parents for fd in self._open_entries(parent, name, os.O_DIRECTORY)]
            self._folders[path] = opened
        return opened

    def _open_entries(self, parent: int, name: str, flags: int) -> list[int]:
        """What is called so; a folder is read only when nothing is spelled exactly so."""
        fd = self._open(parent, name, flags)
        if fd >= 0:
            return [fd]
        if fd != -errno.ENOENT:
            return []
        spelled = [other for other, _ in self._read(parent).get(name, ())][:_SPELLINGS_MAX]
        return [fd for other in spelled if (fd := self._open(parent, other, flags)) >= 0]

    def _open(self, parent: int, name: str, flags: int) -> int:
        """A descriptor, or a negative errno."""
        how = _HOW.pack(os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0, self._resolve)
        call, folder, size = (ctypes.c_long(number) for number in (_NR_OPENAT2, parent, len(how)))
        fd = int(_libc.syscall(call, folder, ctypes.c_char_p(os.fsencode(name)), ctypes.c_char_p(how), size))
        return fd if fd >= 0 else -ctypes.get_errno()

    def _close(self) -> None:
        for folders in self._folders.values():
            for fd in folders:
                os.close(fd)
        self._folders = {}

    # --- other names ----------------------------------------------------------------------------

    def _is_alone(self, fd: int, parent: int) -> bool:
        """A plain file without other names where programs, or its neighbours, are."""
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            return False
        if facts.st_nlink == 1:
            return True
        folders = {parent, *(folder for path in PROGRAM_FOLDERS for folder in self._open_folder(path))}
        names = sum(
            inode == facts.st_ino
            for folder in {_which(folder): folder for folder in folders}.values()
            if os.fstat(folder).st_dev == facts.st_dev
            for spellings in self._read(folder).values()
            for _, inode in spellings
        )
        return names == 1

    def _read(self, folder: int) -> dict[str, list[tuple[str, int]]]:
        key = _which(folder)
        entries = self._entries.get(key)
        if entries is None:
            entries = self._entries[key] = _read_entries(folder)
        return entries


def _which(folder: int) -> tuple[int, int]:
    facts = os.fstat(folder)
    return facts.st_dev, facts.st_ino


def _read_entries(folder: int) -> dict[str, list[tuple[str, int]]]:
    entries: dict[str, list[tuple[str, int]]] = {}
    try:
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return entries
    try:
        with os.scandir(readable) as found:
            for entry in islice(found, ENTRIES_MAX):
                entries.setdefault(fold_ascii(entry.name), []).append((entry.name, entry.inode()))
    except OSError:
        pass
    finally:
        os.close(readable)
    return entries
