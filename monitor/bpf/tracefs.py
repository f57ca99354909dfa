"""Tracepoints by name, without asking that anybody mounts tracefs.

Programs on ``tp/syscalls/*`` are attached through a perf event, and its id stands in
tracefs only. Where tracefs is mounted it is read there; else it is mounted detached
(in no mount namespace), which works inside a hardened service and in tests alike.
Attaching a program to the event is libbpf's part (``bpf_program__attach_perf_event``).
"""

import os
from pathlib import Path
from typing import Final

from monitor.bpf.syscalls import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    PERF_TYPE_TRACEPOINT,
    open_detached_mount,
    open_perf_event,
)

USUAL_MOUNTS: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))

_ID_BYTES_MAX = 32


def open_tracefs(mounts: tuple[Path, ...] = USUAL_MOUNTS) -> int:
    """Answer a descriptor of tracefs' root directory, fit for ``dir_fd=``; the caller closes it.

    Raises:
        OSError: tracefs is not mounted and cannot be (EPERM without CAP_SYS_ADMIN, ENODEV where the
            kernel has none).
    """
    for mount in mounts:
        if (mount / "events").is_dir():
            return os.open(mount, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return open_detached_mount("tracefs", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)


def read_tracepoint_id(category: str, name: str, tracefs: int | None = None) -> int:
    """Answer the id of a tracepoint, e.g. ``("syscalls", "sys_exit_openat")``.

    ``tracefs`` is a descriptor of :func:`open_tracefs`, for who asks for several; else it is opened for this call.

    Raises:
        FileNotFoundError: this kernel has no such tracepoint.
        OSError: tracefs cannot be had.
    """
    if tracefs is None:
        own = open_tracefs()
        try:
            return read_tracepoint_id(category, name, own)
        finally:
            os.close(own)
    fd = os.open(f"events/{category}/{name}/id", os.O_RDONLY | os.O_CLOEXEC, dir_fd=tracefs)
    try:
        return int(os.read(fd, _ID_BYTES_MAX))
    finally:
        os.close(fd)


def open_tracepoint_event(tracepoint_id: int) -> int:
    """Open the perf event that a program attaches to; answers its descriptor, the caller closes it.

    The CPU given to perf is a formality: a program on a tracepoint's event runs on every CPU.

    Raises:
        OSError: the kernel refused (EACCES or EPERM without CAP_PERFMON).
    """
    return open_perf_event(event_type=PERF_TYPE_TRACEPOINT, config=tracepoint_id, cpu=0)
