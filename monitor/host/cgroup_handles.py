"""Open a cgroup's directory by the cgroup's id, whatever its path is called.

A path of a cgroup is hostile text (a container may name cgroups inside itself) and may
come to mean another cgroup between two looks. The id is neither: it is the file handle
of the directory, and never given twice.

Source: open_by_handle_at(2); fs/kernfs/mount.c ``kernfs_fh_to_dentry`` (FILEID_KERNFS,
Linux 5.5), which serves cgroup2 and v1 alike. Needs CAP_DAC_READ_SEARCH.
"""

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
_HANDLE: Final = struct.Struct("=IiQ")
"""``struct file_handle``: bytes of the handle, its type, the handle."""
_FILEID_KERNFS: Final = 0xFE
_HANDLE_BYTES: Final = 8


def open_cgroup_by_inode(mount: Path, inode: int) -> int:
    """Open the directory of a cgroup of the hierarchy that is mounted there.

    Raises:
        FileNotFoundError: it has been removed.
        OSError: the kernel refused.
    """
    handle = ctypes.create_string_buffer(_HANDLE.pack(_HANDLE_BYTES, _FILEID_KERNFS, inode))
    mount_folder = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        folder = int(_libc.open_by_handle_at(mount_folder, handle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    finally:
        os.close(mount_folder)
    if folder >= 0:
        return folder
    number = ctypes.get_errno()
    if number == errno.ESTALE:
        raise FileNotFoundError(errno.ENOENT, "the cgroup has been removed")
    raise OSError(number, os.strerror(number), str(mount))
