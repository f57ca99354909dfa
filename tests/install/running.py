"""Run a command of these tests: what it says can be seen as it comes, and it ends with the test run.

Ctrl-C and the deadline ask it to end as Ctrl-C in a terminal does, so that a pytest in it still tells what has failed.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.leftovers import DYING_WITH_US

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE_S = 30.0
"""To end in, when asked."""


@dataclass(frozen=True, slots=True)
class How:
    """How a command is run, apart from its words."""

    timeout_s: float
    environment: dict[str, str] = field(default_factory=dict)
    """Beyond a fixed one: what the caller's shell holds must not change a test."""
    folder: Path | None = None
    watch: Callable[[str], object] | None = None
    """Is given each line as it comes."""


def run(command: Sequence[str | Path], how: How) -> subprocess.CompletedProcess[str]:
    """Run to the end; both outputs together are ``stdout``.

    Raises:
        subprocess.TimeoutExpired: after ``timeout_s``; what it said is in the error's output.
    """
    lines: list[str] = []
    with subprocess.Popen(
        [*DYING_WITH_US, *command],
        cwd=how.folder,
        env={"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **how.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # signals reach it through us, once
    ) as process:
        reader = threading.Thread(target=_read, args=(process, lines, how.watch), daemon=True)
        reader.start()
        try:
            process.wait(how.timeout_s)
        except subprocess.TimeoutExpired as error:
            _end(process)
            reader.join(GRACE_S)
            error.output = "".join(lines)
            raise
        except KeyboardInterrupt:
            _end(process)
            reader.join(GRACE_S)
            raise
        reader.join(GRACE_S)
    return subprocess.CompletedProcess(command, process.returncode, "".join(lines))


def _read(process: subprocess.Popen[str], lines: list[str], watch: Callable[[str], object] | None) -> None:
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        if watch:
            watch(line)


def _end(process: subprocess.Popen[str]) -> None:
    """Its whole session: a script waits for what it has called."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
