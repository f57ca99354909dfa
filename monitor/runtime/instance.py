"""One instance a run folder: a lock that ends with the process, however it ends."""

import contextlib
import fcntl
import os
from pathlib import Path

from monitor.runtime.errors import AlreadyRunning, KernelSupportError

LOCK_NAME = "lock"


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
                f"{run_dir} cannot be used: {error.strerror} (run as root, or give --run-dir)"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "?"
            os.close(self._fd)
            raise AlreadyRunning(
                f"another stockade (pid {holder}) runs in {run_dir}: stop it, or give this one its own --run-dir"
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; the file stays, so that nobody locks a file that is being removed."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
