"""System calls about this process itself that Python 3.11 does not have: memory locks, namespaces, mounts, its end."""

import ctypes
import os
import resource
import signal
from pathlib import Path
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)

_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_CLONE_NEWNS: Final = 0x0002_0000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x4_0000
_CAP_IPC_LOCK: Final = 14
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


def lock_memory() -> None:
    """Keep all pages in memory, those to come too: a page fault would wait for a disk.

    Where locked memory has a limit, only what is there is locked: later allocations would fail.

    Raises:
        OSError: ENOMEM or EPERM, that limit (RLIMIT_MEMLOCK, CAP_IPC_LOCK).
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    is_unlimited = limit == resource.RLIM_INFINITY or _has_capability(_CAP_IPC_LOCK)
    _check(_libc.mlockall(_MCL_CURRENT | (_MCL_FUTURE if is_unlimited else 0)))


def end_with_parent() -> None:
    """Be killed when the thread that made this process ends.

    Raises:
        OSError: the kernel refused.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def give_up_new_privileges() -> None:
    """Get no privileges by executing a program, ever (prctl(2), PR_SET_NO_NEW_PRIVS).

    Raises:
        OSError: the kernel refused.
    """
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def leave_mount_namespace() -> None:
    """Go into a mount namespace of our own, whose mounts nobody else sees.

    Raises:
        OSError: no CAP_SYS_ADMIN.
    """
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))


def mount(filesystem: str, target: str, options: str = "") -> None:
    """Mount a file system that has no device.

    Raises:
        OSError: ENODEV where the kernel has no such file system.
    """
    source = filesystem.encode()
    _check(_libc.mount(source, os.fsencode(target), source, 0, os.fsencode(options)))


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text(errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
