"""What the kernel decides by: terms, and for each of its lookups the terms that a value satisfies.

A term is a bit. For each dimension of an event (where its program's path begins,
whose container it is, ...) the kernel makes one lookup and gets the vector of the
terms that this value satisfies, those that do not ask included. The AND of all
vectors is the terms that the event fulfils, however many there are.
"""

import enum

from msgspec import Struct

from monitor.model.argument_automaton import ArgumentAutomaton

TERMS_MAX = 1024
RULE_TERMS_MAX = 32
"""Of one rule: what needs more is decided in user space."""
PREFIX_BYTES_MAX = 254
"""A trie of the kernel takes keys of 256 bytes; one says which policy, one ends an exact path."""


PATH_END = "\0"
"""Behind a whole path, and before it: an exact path is a prefix that ends so, a path without a slash an end that begins
so."""


class Lookup(enum.StrEnum):
    """How a dimension finds the vector of a value."""

    BEGINNING = "beginning"
    """The longest entry that begins the path and what stands behind it (:data:`PATH_END`): prefixes, exact paths."""
    END = "end"
    """The longest entry that ends the path and what stands before it: suffixes, last components."""
    NUMBER = "number"
    BITS = "bits"
    """A table with an entry for each combination of the bits that the policy names."""
    CONTAINER = "cgroup"
    """By cgroup: user space decides once for each container."""
    ARGUMENTS = "automaton"
    """Over the bytes of argv."""


class Dimension(enum.Enum):
    """One lookup. The value is (what it looks at, how)."""

    EVENT = ("event", Lookup.BITS)
    EXECUTABLE = ("executable", Lookup.BEGINNING)
    EXECUTABLE_END = ("executable", Lookup.END)
    PARENT = ("parent's executable", Lookup.BEGINNING)
    PARENT_END = ("parent's executable", Lookup.END)
    FILE = ("file", Lookup.BEGINNING)
    FILE_END = ("file", Lookup.END)
    SCRIPT = ("script", Lookup.BEGINNING)
    SCRIPT_END = ("script", Lookup.END)
    ACCESS = ("access", Lookup.BITS)
    FLAGS = ("flags", Lookup.BITS)
    CAPABILITIES = ("capabilities", Lookup.BITS)
    USER = ("uid", Lookup.NUMBER)
    CONTAINER = ("container", Lookup.CONTAINER)
    ARGUMENTS = ("arguments", Lookup.ARGUMENTS)
    SYSTEM_FILE = ("kernel's own file", Lookup.BEGINNING)

    @property
    def subject(self) -> str:
        """What of the event it looks at, for people."""
        return self.value[0]

    @property
    def lookup(self) -> Lookup:
        """How it finds a vector."""
        return self.value[1]


Key = str | int | frozenset[str]
"""A folded text, a number, or the names of the bits that are set."""


class Vectors(Struct, frozen=True):
    """One dimension of a packed policy. Vectors are integers: bit N is term N."""

    none: int
    """Of a value without an entry: the terms that do not ask, and those that ask for something else."""
    entries: dict[Key, int]


SUBJECTS = (
    (Dimension.EXECUTABLE, Dimension.EXECUTABLE_END),
    (Dimension.PARENT, Dimension.PARENT_END),
    (Dimension.FILE, Dimension.FILE_END),
    (Dimension.SCRIPT, Dimension.SCRIPT_END),
)
"""Whose path it is: of each the two lookups."""
KnownVectors = tuple[int, ...]
"""Of each subject: the terms that a file fulfils because it is the one at a path that they name."""


class PolicyTables(Struct, frozen=True):
    """What the kernel is told, containers apart."""

    terms: int
    """How many."""
    vectors: dict[Dimension, Vectors]
    unread: dict[Dimension, int]
    """Of a value that cannot be read (a path longer than is walked): terms whose rule denies then, and those that do
    not ask."""
    arguments: ArgumentAutomaton | None = None
    """Finds the vector of :attr:`Dimension.ARGUMENTS`; None when no term asks for any."""
    known: dict[str, KnownVectors] = {}
    """By exact path: what else is decided by, wherever the file that lies there is called something else."""


class ContainerTerms(Struct, frozen=True):
    """What the policy is for one container, or for the host."""

    scope: int
    """Vector of the terms that it is in the scope of."""
    enforced: int
    """Vector of the terms that deny there; the others are only told of."""
