"""What a rule is called and what it asks for; how it matches is :mod:`monitor.rules`."""

import enum
from typing import Final, NamedTuple

from msgspec import Struct

SELF_TEST_RULE: Final = "stockade-self-test"
"""Id of the rule by which the service proves that denial works; nobody is told of what it denies."""


class Severity(enum.IntEnum):
    """Sigma's levels."""

    INFORMATIONAL = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def label(self) -> str:
        """Lower-case name, as rules and JSON write it."""
        return self.name.lower()


class Location(NamedTuple):
    """A place in a file: what an editor can jump to. Lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Rule(Struct, frozen=True):
    """The facts of one rule file (or one document of it)."""

    id: str
    """UUID."""
    name: str
    """Sigma ``name`` if the file has one, else the file's stem: what people type."""
    title: str
    severity: Severity
    status: str = "experimental"
    description: str = ""
    tags: tuple[str, ...] = ()
    false_positives: tuple[str, ...] = ()
    score: int = 0
    """Weight 0 to 100 of one detection; by severity unless the rule sets one."""
    response: str = "alert"
    """``alert deny kill freeze isolate quarantine``."""
    mode: str = ""
    """``audit`` or ``enforce`` for this rule alone; empty: the service's mode."""
    require_tier: str = ""
    on_truncated: str = "alert"
    is_prevention: bool = False
    """Ready-made: of no effect until the settings name it."""
    is_correlation: bool = False
    generates_alert: bool = True
    """False for a base rule of a correlation that does not ask for ``generate``: it counts but does not alert."""
    location: Location = Location("", 0, 0)
    inactive_reason: str = ""
    """Why this rule cannot fire here (no sensor for its category or field); empty when it can."""


class RuleWarning(Struct, frozen=True):
    """Something that works but will surprise: shown by ``rules check``."""

    location: Location
    message: str
