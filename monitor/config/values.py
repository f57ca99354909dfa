"""Parse the text of one setting into its value. Units are written out: ``30m``, ``8MiB``.

Every ``parse_`` raises ValueError with a message for people; where the text stood is
known to :mod:`monitor.config.load`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from monitor.config.errors import quote

_NUMBER_AND_UNIT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_INTEGER: Final = re.compile(r"-?[0-9]+(_[0-9]+)*")
_CONTAINER_ID: Final = re.compile(r"[0-9a-f]{12,64}")
_DIGITS_MAX: Final = 18

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES: Final = {"B": 1.0, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3}
_WORDS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

PATH_BYTES_MAX: Final = 4096
GLOB_BYTES_MAX: Final = 1024


def parse_duration_s(text: str) -> float:
    """Parse ``500ms``, ``90s``, ``30m``, ``2h``, ``1d`` into seconds."""
    return _parse_quantity(text, _SECONDS, "a duration", "30m")


def parse_duration_ms(text: str) -> int:
    """Parse a duration into milliseconds; a part of one is none."""
    return int(parse_duration_s(text) * 1000)


def parse_size_bytes(text: str) -> int:
    """Parse ``512KiB``, ``8MiB``, ``1GiB`` into bytes."""
    size = _parse_quantity(text, _BYTES, "a size", "8MiB")
    if not size.is_integer():
        raise ValueError(f"{quote(text)} is not a whole number of bytes")
    return int(size)


def parse_integer(text: str) -> int:
    """Parse ``20000`` or ``20_000``."""
    if not _INTEGER.fullmatch(text) or len(text) > _DIGITS_MAX:
        raise ValueError(f"expected a whole number, not {quote(text)}")
    return int(text)


def parse_number(text: str) -> float:
    """Parse ``0.5`` or ``80``."""
    if not _NUMBER.fullmatch(text) or len(text) > _DIGITS_MAX:
        raise ValueError(f"expected a number, not {quote(text)}")
    return float(text)


def parse_boolean(text: str) -> bool:
    """Parse ``true`` or ``false``, and YAML's other words for them."""
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ValueError(f"expected true or false, not {quote(text)}") from None


def parse_path(text: str) -> Path:
    """Parse an absolute path."""
    _check_path(text, PATH_BYTES_MAX)
    return Path(text)


def parse_existing_path(text: str) -> Path:
    """Parse the absolute path of a file or folder that is there."""
    path = parse_path(text)
    try:
        is_there = path.exists()
    except OSError as error:
        raise ValueError(f"{quote(text)} cannot be looked at: {error.strerror}") from error
    if not is_there:
        raise ValueError(f"{quote(text)} is not there")
    return path


def parse_glob(text: str) -> str:
    """Parse a glob over absolute paths."""
    _check_path(text, GLOB_BYTES_MAX)
    if not text.strip("*/"):
        raise ValueError(f"{quote(text)} names every file: name a folder or a file")
    return text


def parse_word(text: str) -> str:
    """Parse a name: a word of printable characters."""
    if not text or not text.isprintable() or " " in text:
        raise ValueError(f"expected a word, not {quote(text)}")
    return text


def parse_container_id(text: str) -> str:
    """Parse a container's id, or how it begins: 12 characters of it do."""
    if not _CONTAINER_ID.fullmatch(text):
        raise ValueError(f"expected a container's id, 12 to 64 hexadecimal digits, not {quote(text)}")
    return text


def parse_absolute_path(text: str) -> str:
    """Parse an absolute path that is another file system's, so that nothing can be looked up here."""
    _check_path(text, PATH_BYTES_MAX)
    return text


def _check_path(text: str, bytes_max: int) -> None:
    if not text.startswith("/"):
        raise ValueError(f"expected an absolute path, not {quote(text)}")
    if "\0" in text or len(text.encode(errors="replace")) > bytes_max:
        raise ValueError(f"expected at most {bytes_max} bytes and no NUL, not {quote(text)}")


def _parse_quantity(text: str, units: Mapping[str, float], what: str, example: str) -> float:
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    known = ", ".join(units)
    if not match or len(match[1]) > _DIGITS_MAX:
        raise ValueError(f"expected {what} like {example}, not {quote(text)}")
    if not match[2]:
        raise ValueError(f"{quote(text)} needs a unit, one of {known}: {example}")
    if match[2] not in units:
        raise ValueError(f"unknown unit {quote(match[2])}, use one of {known}: {example}")
    return float(match[1]) * units[match[2]]


def format_duration(seconds: float) -> str:
    """Write a duration with the largest unit that leaves a whole number."""
    return _format_quantity(seconds, _SECONDS) or f"{seconds:g}s"


def format_duration_ms(milliseconds: float) -> str:
    """Write a duration that is kept in milliseconds."""
    return format_duration(milliseconds / 1000)


def format_size(size_bytes: float) -> str:
    """Write a size with the largest unit that leaves a whole number."""
    return _format_quantity(size_bytes, _BYTES) or f"{size_bytes:g}B"


def _format_quantity(quantity: float, units: Mapping[str, float]) -> str:
    for unit, factor in reversed(list(units.items())):
        count = quantity / factor
        if count >= 1 and count.is_integer():
            return f"{count:.0f}{unit}"
    return ""
