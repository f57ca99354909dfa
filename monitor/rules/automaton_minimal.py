"""Join states of an automaton that do the same, and classes of bytes that do the same.

States are joined that lead to the same states with each byte, and so again until
there are none. That finds what different texts have in common at their ends. What
is the same only by going round in circles it does not find; Moore's way (1956)
does, found no more in any rules that were measured, and took ten times as long.
"""

from collections.abc import Sequence

from msgspec import Struct


class Table(Struct, frozen=True):
    """An automaton whose answers are numbers. State 0 is the first."""

    classes: bytes
    """The class of each byte."""
    rows: list[list[int]]
    enters: list[int]
    """The answer of reaching a state; 0: nothing."""
    ends: list[int]
    """The answer when argv ends in a state; 0: nothing."""


def reduce_table(table: Table) -> Table:
    """A smaller automaton with the same answers."""
    while True:
        smaller = _join_states(table)
        if len(smaller.rows) == len(table.rows):
            return _join_classes(smaller)
        table = smaller


def _join_states(table: Table) -> Table:
    numbers = _numbered([*zip(table.enters, table.ends, map(tuple, table.rows), strict=True)])
    kept: dict[int, int] = {}
    for state, number in enumerate(numbers):
        kept.setdefault(number, state)  # the first state stays the first
    return Table(
        table.classes,
        [[*map(numbers.__getitem__, table.rows[state])] for state in kept.values()],
        [table.enters[state] for state in kept.values()],
        [table.ends[state] for state in kept.values()],
    )


def _numbered(keys: Sequence[object]) -> list[int]:
    numbers: dict[object, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _join_classes(table: Table) -> Table:
    columns = list(zip(*table.rows, strict=True))
    numbers = _numbered(columns)
    kept = [numbers.index(number) for number in range(max(numbers) + 1)]
    return Table(
        bytes(numbers[before] for before in table.classes),
        [[row[at] for at in kept] for row in table.rows],
        table.enters,
        table.ends,
    )
