"""``statx(2)`` that never asks the file system's server.

A process may run a program from a FUSE file system whose server is hostile or hangs,
and a plain ``stat`` of ``/proc/PID/exe`` would wait for it: AT_STATX_DONT_SYNC takes
what the kernel knows already.
"""

import ctypes
import os
import struct
from typing import Final, NamedTuple

_libc: Final = ctypes.CDLL(None, use_errno=True)

_AT_STATX_DONT_SYNC: Final = 0x4000
_AT_NO_AUTOMOUNT: Final = 0x800
_STATX_NLINK: Final = 0x4
_STATX_INO: Final = 0x100

_AT_EMPTY_PATH: Final = 0x1000
_STATX_MNT_ID: Final = 0x1000
"""From Linux 5.8 on."""

_STATX_BYTES: Final = 256
_LINK_COUNT: Final = (struct.Struct("=I"), 0x10)
_INODE: Final = (struct.Struct("=Q"), 0x20)
_DEVICE: Final = (struct.Struct("=II"), 0x88)
_MASK: Final = (struct.Struct("=I"), 0x0)
_MOUNT_ID: Final = (struct.Struct("=Q"), 0x90)
"""Places in ``struct statx`` (include/uapi/linux/stat.h), the same on every architecture."""


class FileFacts(NamedTuple):
    """Which file it is."""

    inode: int
    device: int
    """``st_dev``."""
    link_count: int


def read_file_facts(path: str, *, dir_fd: int) -> FileFacts:
    """Follow ``path`` below the directory ``dir_fd`` and tell which file it is, by what the kernel has cached.

    Raises:
        OSError: it is not there (any more), or the kernel refused.
    """
    buffer = _statx(dir_fd, path, _AT_STATX_DONT_SYNC | _AT_NO_AUTOMOUNT, _STATX_NLINK | _STATX_INO)
    (link_count,), (inode,), (major, minor) = (
        layout.unpack_from(buffer, offset) for layout, offset in (_LINK_COUNT, _INODE, _DEVICE)
    )
    return FileFacts(inode=inode, device=os.makedev(major, minor), link_count=link_count)


def read_mount_id(path: str, *, dir_fd: int) -> int:
    """Which mount a file was reached by; an empty ``path`` is ``dir_fd`` itself. 0 where the kernel does not tell.

    Numbers are reused once a mount is gone.

    Raises:
        OSError: it is not there (any more), or the kernel refused.
    """
    flags = _AT_STATX_DONT_SYNC | _AT_NO_AUTOMOUNT | (0 if path else _AT_EMPTY_PATH)
    buffer = _statx(dir_fd, path, flags, _STATX_MNT_ID)
    (mask,), (mount_id,) = (layout.unpack_from(buffer, offset) for layout, offset in (_MASK, _MOUNT_ID))
    return int(mount_id) if mask & _STATX_MNT_ID else 0


def _statx(dir_fd: int, path: str, flags: int, wanted: int) -> ctypes.Array[ctypes.c_char]:
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.statx(dir_fd, os.fsencode(path), flags, wanted, buffer) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return buffer
