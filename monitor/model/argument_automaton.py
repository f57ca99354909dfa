"""The automaton over argv as the kernel runs it: plain tables, and what they mean.

argv lies in memory as strings, each ended by a NUL. The kernel begins in
:attr:`ArgumentAutomaton.start` and with no marks; each byte but the last leads to
the next state, and the last NUL ends it::

    state = step(state, classes[byte])            # and marks, where state >= marking_from
    step(state, column) = own(state, column), else defaults[(own(state, USUAL), else 0) + column]
    own(state, column)  = cells[state + column].next if cells[state + column].owner == state

A state is the place of its first cell. The cells of different states lie between
each other, so that only what is unusual takes room. Three columns are no bytes: the
numbers of the :class:`Marking` that reaching a state, or ending in it, makes, and
where the defaults of the state are.

Marks are bits that a text earns and, some of them, loses again. An automaton that
knew in its state which texts it had already seen would need a state for each
combination of them; marks take that out.
"""

from typing import Final

from msgspec import Struct

CELLS_MAX: Final = 65_536
"""A state is 16 bits. Behind the last there must be room for one more row of cells."""
COLUMNS_MAX: Final = 256
NO_OWNER: Final = 0xFFFF
"""Of a cell that no state has."""
MARKS_MAX: Final = 256
MARK_WORD_BITS: Final = 64
"""Marks that follow one another lie in one word."""
MARKINGS_MAX: Final = 1_024
CLAUSES_MAX: Final = 256
DEFAULTS_MAX: Final = 32_768
"""Of all rows of defaults together."""
ENTER: Final = 0
"""The column for reaching a state."""
END: Final = 1
"""The column for ending in a state."""
USUAL: Final = 2
"""The column that says where in the defaults those of a state begin."""
FIRST_BYTE_COLUMN: Final = 3


class Marking(Struct, frozen=True):
    """How marks change: ``(marks & ~clears) | sets | (follows & (marks << 1))``, with the marks of before.

    A shift moves a bit within its word of 64 bits only; nothing ever crosses one.
    """

    clears: int = 0
    sets: int = 0
    follows: int = 0
    """Marks that are earned where the mark before them was already there."""


class Clause(Struct, frozen=True):
    """One question about the marks at the end, and the terms that each answer leaves."""

    marks: int
    """Whether any of these is there."""
    some: int
    """The vector when there is one: all terms but those that want none."""
    none: int
    """The vector when there is not: all terms but those that want one."""


class ArgumentAutomaton(Struct, frozen=True):
    """What decides :attr:`~monitor.model.kernel_policy.Dimension.ARGUMENTS`."""

    classes: bytes
    """256 columns, one for each byte; at least :data:`FIRST_BYTE_COLUMN`."""
    defaults: tuple[int, ...]
    """Rows of what columns hold for states that do not own a cell there; one row after the other."""
    owners: tuple[int, ...]
    """The state that each cell belongs to."""
    nexts: tuple[int, ...]
    """What each cell holds."""
    start: int
    marking_from: int
    """Reaching a state changes marks only from this one on."""
    states: int
    """How many there are."""
    markings: tuple[Marking, ...]
    """By number; the first changes nothing."""
    clauses: tuple[Clause, ...]
    """All of their vectors hold at the same time (AND)."""

    @property
    def table_bytes(self) -> int:
        """What the tables take in the kernel: four bytes a cell, two a default, one a byte's class."""
        return 4 * len(self.owners) + 2 * len(self.defaults) + len(self.classes)
