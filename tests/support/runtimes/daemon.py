"""A daemon in a sandbox: a log, its start, an end that waits."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.sandbox import Sandbox, SandboxError

STOP_WAIT_S = 10.0
LOG_CHARACTERS = 2000


class Daemon:
    """A running process; what it starts itself, and leaves, the sandbox ends."""

    def __init__(self, sandbox: Sandbox, args: Sequence[str | Path], log: Path) -> None:
        self._name = Path(args[0]).name
        self._log = log
        with log.open("wb") as output:
            self._process = sandbox.start(args, stdout=output, stderr=output)

    def check_alive(self) -> None:
        """Raises SandboxError, with the end of its log, when it has ended."""
        status = self._process.poll()
        if status is not None:
            said = self._log.read_text(errors="backslashreplace")[-LOG_CHARACTERS:]
            raise SandboxError(f"{self._name} ended with exit status {status}: {said}")

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as the service manager does."""
        self._process.terminate()
        try:
            self._process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
