"""Permission events of fanotify(7): the kernel holds an open or an exec until it is answered here.

The only place with these system calls. A group that is closed, its process having
died too, lets everything go that it held: the kernel fails open. Whoever answers must
not open a marked file itself but by the descriptor of an event; what it may do at all
is :mod:`monitor.gate`'s.

Superblocks are marked, never mounts: a mount mark does not see what a cloned mount
namespace does.
"""

import contextlib
import ctypes
import errno
import os
import struct
from typing import Final, NamedTuple

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fanotify_init.argtypes = (ctypes.c_uint, ctypes.c_uint)
_libc.fanotify_mark.argtypes = (ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p)
_libc.fstatfs.argtypes = (ctypes.c_int, ctypes.c_char_p)

FAN_OPEN_PERM: Final = 0x0001_0000
"""An open; of an exec too, after :data:`FAN_OPEN_EXEC_PERM`."""
FAN_OPEN_EXEC_PERM: Final = 0x0004_0000
"""The open of a file to be executed: a program, a script, its interpreter, and a program's own loader (ld.so)."""

_FAN_CLOEXEC: Final = 0x1
_FAN_NONBLOCK: Final = 0x2
_FAN_CLASS_CONTENT: Final = 0x4
_FAN_UNLIMITED_QUEUE: Final = 0x10
_FAN_UNLIMITED_MARKS: Final = 0x20
_FAN_REPORT_TID: Final = 0x100
"""Not FAN_REPORT_PIDFD, which excludes it: credentials and cgroups are a thread's, and the thread that is held cannot
make room for another of its number, unless it is killed meanwhile; then nothing is left to be denied."""
_INIT_FLAGS: Final = (
    _FAN_CLOEXEC | _FAN_NONBLOCK | _FAN_CLASS_CONTENT | _FAN_UNLIMITED_QUEUE | _FAN_UNLIMITED_MARKS | _FAN_REPORT_TID
)
_O_LARGEFILE: Final = 0o100000
"""Python's is 0 on 64-bit machines, the kernel's is not."""
_EVENT_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME | os.O_NONBLOCK | _O_LARGEFILE
"""Of an event's descriptor. O_NONBLOCK: the kernel makes it by an open of its own, which must not wait for the other
end of a FIFO."""

_FAN_MARK_ADD: Final = 0x1
_FAN_MARK_REMOVE: Final = 0x2
_FAN_MARK_IGNORED_MASK: Final = 0x20
_FAN_MARK_FLUSH: Final = 0x80
_FAN_MARK_FILESYSTEM: Final = 0x100
_FAN_MARK_EVICTABLE: Final = 0x200
_AT_FDCWD: Final = -100

_METADATA: Final = struct.Struct("=IBBHQii")
_METADATA_VERSION: Final = 3
_RESPONSE: Final = struct.Struct("=iI")
_FAN_ALLOW: Final = 1
_FAN_DENY: Final = 2
_EVENTS_MAX: Final = 32
"""At a time: each has a descriptor, and an event for which the kernel has no descriptor left is denied."""

_STATFS_BYTES: Final = 256
TMPFS_MAGIC: Final = 0x0102_1994


class HeldEvent(NamedTuple):
    """What waits for an answer. The descriptor is the receiver's to close."""

    mask: int
    fd: int
    """The file, opened for reading; opening it made no event, and reading from it makes none."""
    tid: int
    """The thread that waits, in this process' pid namespace."""

    @property
    def is_exec(self) -> bool:
        """A file to be executed, not only opened."""
        return bool(self.mask & FAN_OPEN_EXEC_PERM)


class PermissionGroup:
    """One fanotify group: its marks, and the events that it holds."""

    def __init__(self) -> None:
        """Raises ``OSError``: no CAP_SYS_ADMIN, or a kernel without CONFIG_FANOTIFY_ACCESS_PERMISSIONS."""
        self._fd = _check(_libc.fanotify_init(_INIT_FLAGS, _EVENT_FLAGS))
        self._ignore_flags = _FAN_MARK_ADD | _FAN_MARK_IGNORED_MASK | _FAN_MARK_EVICTABLE

    def fileno(self) -> int:
        """For ``poll``."""
        return self._fd

    def mark_filesystem(self, fd: int, mask: int) -> None:
        """Hold what ``mask`` names on the file system of an open file (O_PATH will do).

        Raises:
            OSError: the file system cannot be marked (ENODEV, EXDEV, EOPNOTSUPP: not in this kernel).
        """
        # By the link of the descriptor: no path of anybody else's is walked, no file system is asked.
        self._mark(_FAN_MARK_ADD | _FAN_MARK_FILESYSTEM, mask, f"/proc/self/fd/{fd}".encode())

    def mark_file(self, fd: int, mask: int) -> None:
        """Hold what ``mask`` names on this file alone (O_PATH will do), by whichever of its names.

        Raises:
            OSError: the kernel refused.
        """
        self._mark(_FAN_MARK_ADD, mask, f"/proc/self/fd/{fd}".encode())

    def unmark_filesystem(self, fd: int, mask: int) -> None:
        """Hold it no more; nothing to do is fine.

        Raises:
            OSError: the kernel refused.
        """
        with contextlib.suppress(FileNotFoundError):
            self._mark(_FAN_MARK_REMOVE | _FAN_MARK_FILESYSTEM, mask, f"/proc/self/fd/{fd}".encode())

    def ignore(self, fd: int, mask: int) -> None:
        """Hold this file no more, whoever opens it, until it is modified or the kernel wants its memory back.

        Raises:
            OSError: EEXIST, the file has a mark that may not be dropped; ENOMEM.
        """
        try:
            self._mark(self._ignore_flags, mask, None, fd)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._ignore_flags & _FAN_MARK_EVICTABLE:
                raise
            self._ignore_flags &= ~_FAN_MARK_EVICTABLE  # before Linux 5.19: the mark keeps the inode in memory
            self._mark(self._ignore_flags, mask, None, fd)

    def forget_ignored(self) -> None:
        """Hold again what :meth:`ignore` has let go."""
        self._mark(_FAN_MARK_FLUSH, 0, b"/")

    def read(self) -> list[HeldEvent]:
        """The events that wait now, oldest first; none is fine.

        Raises:
            OSError: the kernel could not make a descriptor (EMFILE); it has denied that event.
        """
        try:
            data = os.read(self._fd, _EVENTS_MAX * _METADATA.size)
        except BlockingIOError:
            return []
        return _parse_events(data)

    def answer(self, fd: int, *, allow: bool) -> None:
        """Let the thread go on, or fail with EPERM. The descriptor stays open."""
        with contextlib.suppress(FileNotFoundError):  # it waits no more: killed
            os.write(self._fd, _RESPONSE.pack(fd, _FAN_ALLOW if allow else _FAN_DENY))

    def close(self) -> None:
        """Let go all that is held, and drop the marks."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _mark(self, flags: int, mask: int, path: bytes | None, fd: int = _AT_FDCWD) -> None:
        _check(_libc.fanotify_mark(self._fd, flags, mask, fd, path))


def find_permission_obstacle() -> str:
    """Why no exec can be held here, empty when it can: tried on a file in memory that nobody else has."""
    try:
        group = PermissionGroup()
    except OSError as error:
        return f"fanotify is refused: {os.strerror(error.errno or 0)}"
    fd = os.memfd_create("probe", os.MFD_CLOEXEC)
    try:
        group.mark_file(fd, FAN_OPEN_EXEC_PERM)
    except OSError as error:
        return f"execs cannot be held: {error.strerror} (the kernel lacks CONFIG_FANOTIFY_ACCESS_PERMISSIONS?)"
    finally:
        os.close(fd)
        group.close()
    return ""


def read_filesystem_magic(fd: int) -> int:
    """What kind of file system an open file is on (statfs(2), ``f_type``).

    Raises:
        OSError: the kernel refused.
    """
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    _check(_libc.fstatfs(fd, buffer))
    # include/uapi/asm-generic/statfs.h: __statfs_word, which is a long.
    return int(struct.unpack_from("@l", buffer)[0]) & 0xFFFF_FFFF


def _parse_events(data: bytes) -> list[HeldEvent]:
    events = []
    offset = 0
    while offset + _METADATA.size <= len(data):
        length, version, _, _, mask, fd, tid = _METADATA.unpack_from(data, offset)
        if version != _METADATA_VERSION or length < _METADATA.size:
            raise OSError(f"fanotify events of version {version}, this program reads version {_METADATA_VERSION}")
        if fd >= 0:  # an overflow of the queue has none, and an unlimited queue has no overflow
            events.append(HeldEvent(mask, fd, tid))
        offset += length
    return events


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
