"""Patterns and opens, said shortly, for the tests of the file-open sensor."""

import os
from collections.abc import Iterable
from pathlib import Path

from monitor.model.events import FileOpen
from monitor.model.interest import OpenPattern, PatternKind


def exact(path: Path | str, **how: bool) -> OpenPattern:
    return OpenPattern(PatternKind.EXACT, str(path).lower(), **how)


def prefix(path: str, **how: bool) -> OpenPattern:
    return OpenPattern(PatternKind.PREFIX, path.lower(), **how)


def suffix(text: str, **how: bool) -> OpenPattern:
    return OpenPattern(PatternKind.SUFFIX, text.lower(), **how)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def read(path: Path | str, flags: int = os.O_RDONLY) -> None:
    os.close(os.open(path, flags, 0o600))


def paths(events: Iterable[FileOpen]) -> list[str]:
    return [event.path for event in events]
