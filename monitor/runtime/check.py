"""One check of the host, as doctor shows it."""

from enum import StrEnum

from msgspec import Struct


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    GAP = "gap"
    """Observation runs, something is lost."""
    BLOCKER = "blocker"
    """Observation cannot run."""
    UNKNOWN = "unknown"
    """Cannot be told without privilege."""


class Check(Struct, frozen=True):
    """One line of doctor."""

    name: str
    state: State
    finding: str
    cost: str = ""
    """What is lost; empty when nothing is."""
    fix: str = ""
    """The command that mends it, or who can."""
