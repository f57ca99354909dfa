"""A program that does nothing, to be executed for a test of ourselves: it says nothing either."""

import os
import sys
from pathlib import Path
from typing import Final

_PROGRAMS: Final = (Path("/bin/true"), Path("/usr/bin/true"), Path("/bin/busybox"))


def find_harmless_program() -> Path:
    """One that is here; the interpreter where nothing smaller is."""
    return next((path for path in _PROGRAMS if path.exists()), Path(os.path.realpath(sys.executable)))


def spawn_silently(program: Path | str, arguments: list[str]) -> int:
    """Execute it without input, output and environment; answers its pid.

    Raises:
        OSError: the kernel refused.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
        return os.posix_spawn(program, arguments, {}, file_actions=actions)
    finally:
        os.close(null)
