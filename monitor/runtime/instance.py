"""One instance a run folder: a lock that ends with the process, however it ends."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from monitor.runtime.errors import AlreadyRunning, KernelSupportError

LOCK_NAME = "lock"


_MENDS = {
    errno.EACCES: "run as root, or give --run-dir",
    errno.EPERM: "run as root, or give --run-dir",
    errno.ENOSPC: "make room there, or give --run-dir",
    errno.EDQUOT: "make room there, or give --run-dir",
    errno.ENAMETOOLONG: "give a shorter --run-dir",
}


def suggest_for_run_dir(error: OSError) -> str:
    """What to do where the run folder does not take our files."""
    return _MENDS.get(error.errno or 0, "give another --run-dir")


class InstanceLock:
    """Holds the run folder's lock while it is open."""

    def __init__(self, run_dir: Path) -> None:
        """Make the folder if need be and take its lock.

        Raises:
            AlreadyRunning: another process holds it.
            KernelSupportError: the folder cannot be made or written.
        """
        try:
            run_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
            self._fd = os.open(run_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise KernelSupportError(
                f"{run_dir} cannot be used: {error.strerror} ({suggest_for_run_dir(error)})"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "?"
            os.close(self._fd)
            raise AlreadyRunning(
                f"another stockade (pid {holder}) runs in {run_dir}: stop it, or give this one its own --run-dir"
            ) from error
        with contextlib.suppress(OSError):  # a full disk: the pid is for a message only
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; the file stays, so that nobody locks a file that is being removed."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
