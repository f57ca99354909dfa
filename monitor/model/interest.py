"""Which opens and changes of files the kernel side must let through, in terms that its filter understands.

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
    """One thing to look for among the paths of files that are opened or changed."""

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
    made: bool = False
    """Names made by rename, link and symlink, and truncations: what changes content without an open to write."""
    renamed: bool = False
    deleted: bool = False
    attributes: bool = False
    """Mode or owner."""
    connected: bool = False
    """Connections to the Unix sockets of these paths."""
    accessed: bool = False
    """Accesses to processes: of any path."""
    wanted_by: str = ""
    """Rule name or ``observe``: what ``explain`` shows."""

    @property
    def asks_opens(self) -> bool:
        """Whether it needs the sensor for opens."""
        return self.reads or self.writes or self.failed

    @property
    def asks_changes(self) -> bool:
        """Whether it needs the sensor for changes."""
        return self.made or self.renamed or self.deleted or self.attributes
