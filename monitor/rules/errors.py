"""Mistakes in rule files: each has a place, and all of them are reported at once."""

from collections.abc import Iterable

from msgspec import Struct

from monitor.model.rule import Location, RuleWarning

SHOWN_MAX = 1_000
"""Mistakes that one load reports; the number of the rest is told."""


class RuleError(Struct, frozen=True):
    """One mistake."""

    location: Location
    message: str

    def __str__(self) -> str:
        return f"{self.location}: {self.message}"


class RuleErrors(Exception):
    """Rule files were not accepted; nothing of them is in use."""

    def __init__(self, errors: Iterable[RuleError]) -> None:
        ordered = sorted(set(errors), key=lambda error: (error.location, error.message))
        self.errors = tuple(ordered[:SHOWN_MAX])
        """The mistakes in the order of files, lines and columns; at most 1,000."""
        self.more = len(ordered) - len(self.errors)
        """Further mistakes, not listed."""
        count = "1 mistake" if len(ordered) == 1 else f"{len(ordered)} mistakes"
        super().__init__(f"{count} in the rules, the first: {ordered[0]}" if ordered else "no rules")


class Problems:
    """Collects the mistakes and warnings of one load."""

    def __init__(self) -> None:
        self.errors: list[RuleError] = []
        self.warnings: list[RuleWarning] = []

    def error(self, location: Location, message: str) -> None:
        """Note a mistake; reading goes on."""
        self.errors.append(RuleError(location, message))

    def warn(self, location: Location, message: str) -> None:
        """Note something that works but will surprise."""
        self.warnings.append(RuleWarning(location, message))
