"""Run many regular expressions over one text at once, and remember the answer for texts that come again.

RE2's filter finds the literal words of all expressions in one pass and tries
only those that could match: 24 expressions cost less than one search by
themselves. Every expression asked of the same field is in the same bank, so
the first rule that asks pays for all of them.
"""

from collections.abc import Callable
from typing import Final

import re2

TEXTS_MAX: Final = 2_048
"""Answers kept for each bank; all are dropped when there are more."""
TEXT_CHARACTERS_MAX: Final = 512
"""Longer texts are not kept: what a hostile program can make us hold is bounded at about 1 MiB a bank."""
FILTER_EXPRESSIONS_MAX: Final = 500
"""Expressions of one filter: its automaton has a fixed amount of memory."""

_NOTHING: frozenset[int] = frozenset()


class RegexError(ValueError):
    """RE2 refuses an expression; the text is RE2's."""


def compile_regex(pattern: str, flags: str = "") -> Callable[[str], bool]:
    """RE2's search with this pattern; ``flags`` of ``i m s``. Raises :class:`RegexError`."""
    try:
        regex = re2.compile(_with_flags(pattern, flags), _quiet_options())
    except (re2.error, UnicodeEncodeError) as error:
        raise RegexError(_reason(error)) from error

    def search(text: str) -> bool:
        try:
            return regex.search(text) is not None
        except UnicodeEncodeError:  # not from the kernel, but names in /proc may have lone surrogates
            return regex.search(_escaped(text)) is not None

    return search


class RegexBank:
    """The expressions that some rules ask of one field."""

    def __init__(self) -> None:
        self._patterns: dict[str, int] = {}
        self._filters: list[tuple[int, re2.Filter]] = []
        self._known: dict[str, frozenset[int]] = {}

    def add(self, pattern: str, flags: str = "") -> int:
        """The number of this expression in :meth:`find`'s answers. Raises :class:`RegexError`."""
        whole = _with_flags(pattern, flags)
        number = self._patterns.get(whole)
        if number is None:
            compile_regex(pattern, flags)
            number = self._patterns[whole] = len(self._patterns)
            self._filters = []
            self._known.clear()
        return number

    def find(self, text: str) -> frozenset[int]:
        """The numbers of the expressions that match somewhere in ``text``; none match the empty text."""
        found = self._known.get(text)
        if found is None:
            found = self._search(text) if text else _NOTHING
            if len(text) <= TEXT_CHARACTERS_MAX:
                if len(self._known) >= TEXTS_MAX:
                    self._known.clear()
                self._known[text] = found
        return found

    def _search(self, text: str) -> frozenset[int]:
        try:
            encoded = text.encode()
        except UnicodeEncodeError:
            encoded = _escaped(text).encode()
        numbers = [
            first + number
            for first, several in self._filters or self._build()
            for number in several.Match(encoded) or ()
        ]
        return frozenset(numbers) if numbers else _NOTHING

    def _build(self) -> list[tuple[int, re2.Filter]]:
        """Filters are built when the first text comes: every rule has added its expressions by then."""
        patterns, options = list(self._patterns), _quiet_options()
        for first in range(0, len(patterns), FILTER_EXPRESSIONS_MAX):
            several = re2.Filter()
            for pattern in patterns[first : first + FILTER_EXPRESSIONS_MAX]:
                several.Add(pattern, options)
            several.Compile()
            self._filters.append((first, several))
        return self._filters


def _with_flags(pattern: str, flags: str) -> str:
    return f"(?{flags}){pattern}" if flags else pattern


def _quiet_options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    return options


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
