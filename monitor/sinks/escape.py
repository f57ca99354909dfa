"""Make hostile text safe for a terminal and a line of its own.

Paths, arguments and names are chosen by whoever is watched. What a terminal would
obey or hide (control characters, escape sequences, newlines, marks that turn the
direction of text, characters of no width, line separators, private and unassigned
code points) is shown as a backslash escape.
"""

import re
from typing import Final

ELLIPSIS: Final = "…"
_SAFE_IN_SHELL: Final = re.compile(r"[\w@%+=:,./\\-]+", re.ASCII)

_SPECIAL_IN_DOUBLE_QUOTES: Final = re.compile(r'["$`\\!]')


def escape_text(text: str) -> str:
    """Return text that is printable and has no line ends; spaces other than U+0020 are escaped too."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape_char(char) for char in text)


def _escape_char(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shorten(text: str, width: int) -> str:
    """Cut text to ``width`` characters, with an ellipsis where something is missing."""
    return text if len(text) <= width else text[: width - 1] + ELLIPSIS


def shorten_middle(text: str, width: int) -> str:
    """Cut text to ``width`` characters out of its middle, so that padding does not push its end out of sight."""
    if len(text) <= width:
        return text
    tail = width // 3
    return text[: width - 1 - tail] + ELLIPSIS + text[len(text) - tail :]


def quote_args(args: list[str]) -> str:
    """Join arguments so that one sees where each begins and ends; those with spaces or quotes are quoted."""
    return " ".join(_quote_arg(escape_text(arg)) for arg in args)


def _quote_arg(arg: str) -> str:
    if _SAFE_IN_SHELL.fullmatch(arg):
        return arg
    if "'" in arg and not _SPECIAL_IN_DOUBLE_QUOTES.search(arg):
        return f'"{arg}"'
    return "'" + arg.replace("'", "'\\''") + "'"
