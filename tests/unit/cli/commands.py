"""Run a command of ours as people do, in a process of its own."""

import subprocess
import sys
from pathlib import Path
from typing import IO, Any

REPOSITORY = Path(__file__).resolve().parents[3]
WAIT_S = 20.0


def command_line(command: str, *words: str | Path) -> list[str]:
    """``stockade COMMAND WORDS`` from this working tree."""
    program = f"from monitor.cli.{command} import {command}; {command}(prog_name='stockade {command}')"
    return [sys.executable, "-c", program, *map(str, words)]


def run(command: str, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_line(command, *words),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        **options,
    )


def start(command: str, *words: str | Path, stdout: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command_line(command, *words), cwd=REPOSITORY, stdout=stdout, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> tuple[bytes, str]:
    """What it still wrote on stdout and stderr, after it has ended by itself."""
    try:
        out, err = process.communicate(timeout=WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return out, err.decode()
