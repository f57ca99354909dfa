"""Which file opens the kernel side must let through, in terms that its filter understands.

A pattern never dismisses what a rule could match: it is a superset, and user space
matches again. Patterns are ASCII-folded (``str.lower``), because Sigma compares
without case; the kernel side folds both sides by setting bit 0x20 of each byte.
"""

import enum

from msgspec import Struct


class PatternKind(enum.IntEnum):
    """How ``text`` is compared with the path of an opened file."""

    EXACT = 0
    PREFIX = 1
    """``text`` begins the path; at most 255 bytes."""
    SUFFIX = 2
    """``text`` ends the path; at least two bytes."""
    ANY = 3
    """Every path: the rule has no anchored literal. Costly; ``rules check`` says so."""


class OpenPattern(Struct, frozen=True):
    """One thing to look for among opened files."""

    kind: PatternKind
    text: str
    in_containers: bool = True
    on_host: bool = True
    reads: bool = True
    """Successful opens that can only read."""
    writes: bool = True
    """Successful opens that can write, create or truncate."""
    failed: bool = False
    """Failed opens, for whatever access (the path is then a claim)."""
    wanted_by: str = ""
    """Rule name or ``observe``: what ``explain`` shows."""
