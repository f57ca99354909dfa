"""Find out which superblock mark sees an exec through overlayfs: an overlay of our own, a canary, a denial.

Until Linux 6.5 a mark on the file system of the layers sees nothing of it (commit
bc2473c90fca). Everything is made in a mount namespace of its own, by a child process
whose end removes it.
"""

import errno
import os
import select
import signal
from pathlib import Path
from typing import Final

import msgspec

from monitor.gate.wire import OverlaySight, encode
from monitor.host.fanotify import FAN_OPEN_EXEC_PERM, PermissionGroup
from monitor.host.task_calls import leave_mount_namespace, mount

_TEST_S: Final = 5.0
_EXEC_MS: Final = 1000
_FOLDERS: Final = ("/run", "/tmp", "/mnt")  # noqa: S108  # covered by a file system of our own, for us alone
_CANARY: Final = b"stockade canary: not a program\n"
"""What the kernel cannot execute: the call ends with ENOEXEC unless it is denied."""


def find_overlay_sight() -> OverlaySight:
    """Run the test in a child process and wait for it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, encode(_run()))
        os._exit(0)
    os.close(writer)
    try:
        return _read_result(reader, child)
    finally:
        os.close(reader)


def _read_result(reader: int, child: int) -> OverlaySight:
    ready, _, _ = select.select([reader], [], [], _TEST_S)
    if not ready:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    data = os.read(reader, 4096) if ready else b""
    if not data:
        return OverlaySight(obstacle=f"the self test of overlayfs did not end within {_TEST_S:.0f} s")
    return msgspec.msgpack.decode(data, type=OverlaySight)


def _run() -> OverlaySight:
    folder = next((name for name in _FOLDERS if Path(name).is_dir()), "/")
    try:
        leave_mount_namespace()
        mount("tmpfs", folder)
        merged = _make_overlay(Path(folder))
        return OverlaySight(
            by_own_mark=_is_denied(str(merged), merged / "canary"),
            by_layer_mark=_is_denied(folder, merged / "canary"),
        )
    except OSError as error:
        return OverlaySight(obstacle=f"{error.strerror or error}")


def _make_overlay(folder: Path) -> Path:
    names = ("lower", "upper", "work", "merged")
    lower, upper, work, merged = (folder / name for name in names)
    for path in (lower, upper, work, merged):
        path.mkdir()
    (lower / "canary").write_bytes(_CANARY)
    (lower / "canary").chmod(0o755)
    mount("overlay", str(merged), f"lowerdir={lower},upperdir={upper},workdir={work}")
    return merged


def _is_denied(marked: str, canary: Path) -> bool:
    """Whether a mark on that file system makes the exec fail."""
    group = PermissionGroup()
    fd = os.open(marked, os.O_PATH | os.O_CLOEXEC)
    try:
        group.mark_filesystem(fd, FAN_OPEN_EXEC_PERM)
        child = os.fork()
        if child == 0:
            os._exit(_execute(canary))
        return _deny_until_end(group, child) == errno.EPERM
    finally:
        os.close(fd)
        group.close()


def _execute(canary: Path) -> int:
    try:
        os.execv(canary, ["canary"])  # noqa: S606
    except OSError as error:
        return error.errno or 0
    return 0


def _deny_until_end(group: PermissionGroup, child: int) -> int:
    """Answer no, and give the child's exit status."""
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    poll.register(group, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    try:
        while ready := dict(poll.poll(_EXEC_MS)):
            for event in group.read():
                group.answer(event.fd, allow=False)
                os.close(event.fd)
            if pidfd in ready:
                break
    finally:
        os.close(pidfd)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
