"""The few system calls that neither Python nor libbpf gives us, typed.

Thin: one function a call, descriptors close-on-exec, failures are ``OSError`` with
the kernel's errno. What to do with them is for :mod:`monitor.bpf.features`,
:mod:`monitor.bpf.tracefs` and the loader; programs and maps go through libbpf.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from pathlib import Path
from typing import Final, NamedTuple

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Numbers(NamedTuple):
    bpf: int
    perf_event_open: int
    membarrier: int


# arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h (arm64, riscv64), arch/{powerpc,s390}.
_NUMBERS_BY_MACHINE: Final = {
    "x86_64": _Numbers(bpf=321, perf_event_open=298, membarrier=324),
    "aarch64": _Numbers(bpf=280, perf_event_open=241, membarrier=283),
    "riscv64": _Numbers(bpf=280, perf_event_open=241, membarrier=283),
    "ppc64le": _Numbers(bpf=361, perf_event_open=319, membarrier=365),
    "s390x": _Numbers(bpf=351, perf_event_open=331, membarrier=356),
}
# The same on every architecture.
_NR_FSOPEN: Final = 430
_NR_FSCONFIG: Final = 431
_NR_FSMOUNT: Final = 432

_MEMBARRIER_CMD_GLOBAL: Final = 1

BPF_MAP_CREATE: Final = 0
BPF_PROG_LOAD: Final = 5

PERF_TYPE_TRACEPOINT: Final = 2
_PERF_FLAG_FD_CLOEXEC: Final = 1 << 3
_PERF_ATTR = struct.Struct("=IIQQQQQIIQ")
"""perf_event_attr as of PERF_ATTR_SIZE_VER0 (64 bytes); the kernel takes the rest as zero."""

_FSOPEN_CLOEXEC: Final = 1
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_FSMOUNT_CLOEXEC: Final = 1

_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_NOEXEC: Final = 8
_STATFS_BYTES: Final = 256
"""More than any architecture's ``struct statfs``; its first word is the type."""

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8


def bpf(command: int, attributes: bytes) -> int:
    """Call ``bpf(2)``; ``attributes`` is the packed part of ``union bpf_attr`` that the command reads.

    Answers the descriptor (or 0). Pointers inside ``attributes`` must stay valid for the call.

    Raises:
        OSError: the kernel refused; ENOSYS on an architecture that we have no number for.
    """
    return _call(_get_numbers().bpf, command, attributes, len(attributes))


def wait_for_programs() -> None:
    """Wait until every BPF program that runs now has ended (they run inside RCU's read sections); some 10 ms.

    Raises:
        OSError: the kernel is built without CONFIG_MEMBARRIER.
    """
    _call(_get_numbers().membarrier, _MEMBARRIER_CMD_GLOBAL, 0, 0)


def open_perf_event(*, event_type: int, config: int, cpu: int) -> int:
    """Open a perf event for all processes on one CPU, sampling each occurrence; answers its descriptor.

    Raises:
        OSError: the kernel refused (EACCES without CAP_PERFMON, ENOENT for an unknown tracepoint).
    """
    attributes = _PERF_ATTR.pack(event_type, _PERF_ATTR.size, config, 1, 0, 0, 0, 1, 0, 0)
    return _call(_get_numbers().perf_event_open, attributes, -1, cpu, -1, _PERF_FLAG_FD_CLOEXEC)


def open_detached_mount(filesystem: str, attributes: int, options: dict[str, str] | None = None) -> int:
    """Mount ``filesystem`` in no mount namespace at all; answers an O_PATH descriptor of its root (for ``dir_fd=``).

    No mount table changes, and the mount ends with this descriptor. ``attributes`` are MOUNT_ATTR_*.

    Raises:
        OSError: ENODEV when the kernel does not know the file system, EPERM without CAP_SYS_ADMIN,
            ENOSYS before Linux 5.2.
    """
    context = _call(_NR_FSOPEN, filesystem.encode(), _FSOPEN_CLOEXEC)
    try:
        for key, value in (options or {}).items():
            _call(_NR_FSCONFIG, context, _FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)
        _call(_NR_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call(_NR_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def request_filesystem(name: str) -> None:
    """Have the kernel know this file system: it loads the module itself, as for a mount of it, but nothing is mounted.

    Raises:
        OSError: ENODEV when there is none, EPERM without CAP_SYS_ADMIN, ENOSYS before Linux 5.2.
    """
    os.close(_call(_NR_FSOPEN, name.encode(), _FSOPEN_CLOEXEC))


def mount_bpffs(path: Path) -> None:
    """Mount a bpffs that only root may enter.

    Raises:
        OSError: the kernel refused.
    """
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _check(int(_libc.mount(b"bpf", os.fsencode(path), b"bpf", ctypes.c_ulong(flags), b"mode=0700")))


def unmount(path: Path) -> None:
    """Unmount, if nobody uses it.

    Raises:
        OSError: the kernel refused.
    """
    _check(int(_libc.umount2(os.fsencode(path), 0)))


def read_filesystem_magic(path: Path) -> int:
    """``f_type`` of statfs(2).

    Raises:
        OSError: the path cannot be reached.
    """
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    _check(int(_libc.statfs(os.fsencode(path), buffer)))
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)


def _get_numbers() -> _Numbers:
    machine = platform.machine()
    try:
        return _NUMBERS_BY_MACHINE[machine]
    except KeyError:
        raise OSError(errno.ENOSYS, f"no system call numbers for {machine}") from None


def _call(number: int, *arguments: int | bytes | None) -> int:
    # A variadic C function takes what ctypes thinks an int is, 32 bits: widen each number.
    widened = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    return _check(int(_libc.syscall(ctypes.c_long(number), *widened)))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
