"""Lay the rows of an automaton over each other, so that only what is unusual takes cells.

Tarjan and Yao, Storing a Sparse Table, 1979: rows are shifted until their own cells
fall where no other row has one, and each cell says whose it is. What is usual is a
row of defaults; there are several, because what an expression has seen so far
(``exec.*``) puts all that follows into other states.
"""

from collections import Counter
from collections.abc import Sequence
from operator import ne
from typing import Final

from msgspec import Struct

from monitor.model.argument_automaton import CELLS_MAX, DEFAULTS_MAX, END, ENTER, FIRST_BYTE_COLUMN, NO_OWNER, USUAL
from monitor.rules.automaton_minimal import Table

_UNLIKE: Final = 6
"""A row that differs from all defaults in more columns becomes one."""


class Packed(Struct, frozen=True):
    """The tables of :class:`~monitor.model.argument_automaton.ArgumentAutomaton`."""

    classes: bytes
    defaults: tuple[int, ...]
    owners: tuple[int, ...]
    nexts: tuple[int, ...]
    start: int
    marking_from: int


class NoRoomError(ValueError):
    """The rows need more cells than there are."""


def pack(table: Table) -> Packed:
    """Give each state a place. Raises :class:`NoRoomError`."""
    columns = FIRST_BYTE_COLUMN + len(table.rows[0])
    usual = _find_usual(table.rows, DEFAULTS_MAX // columns)
    own = [_find_own(table, state, usual, columns) for state in range(len(table.rows))]
    comb = _Comb(columns)
    places = [0] * len(own)
    for is_marking in (False, True):
        chosen = [state for state, answer in enumerate(table.enters) if (answer != 0) is is_marking]
        for state in sorted(chosen, key=lambda state: -len(own[state])):  # what is large is hard to place
            places[state] = comb.place(list(own[state]))
        if not is_marking:
            marking_from = comb.go_above()
    return _fill(table, usual.rows, own, places, marking_from)


class _Usual(Struct, frozen=True):
    rows: list[list[int]]
    """The first is that of most states."""
    of_state: list[int]


def _find_usual(rows: Sequence[list[int]], most: int) -> _Usual:
    """Rows that many are like, and for each row one that it is like."""
    leaders: list[list[int]] = []
    recent: list[int] = []  # of the leaders, the one that was found last stands first: neighbours are alike
    chosen: list[int] = []
    for row in rows:
        like = next((at for at in recent if _count_differences(row, leaders[at]) <= _UNLIKE), None)
        if like is None:
            like = _add_leader(row, leaders, most)
        if like in recent:
            recent.remove(like)
        recent.insert(0, like)
        chosen.append(like)
    number = {leader: at for at, (leader, _) in enumerate(Counter(chosen).most_common())}
    return _Usual([leaders[leader] for leader in number], [number[leader] for leader in chosen])


def _add_leader(row: list[int], leaders: list[list[int]], most: int) -> int:
    """A row that is like none; when there are enough, the nearest will do."""
    if len(leaders) >= most:
        return min(range(len(leaders)), key=lambda at: _count_differences(row, leaders[at]))
    leaders.append(row)
    return len(leaders) - 1


def _count_differences(left: list[int], right: list[int]) -> int:
    return sum(map(ne, left, right))


def _find_own(table: Table, state: int, usual: _Usual, columns: int) -> dict[int, int]:
    """What a state has in cells of its own: numbers of markings, the place of its defaults, unusual targets."""
    number = usual.of_state[state]
    answers = {ENTER: table.enters[state], END: table.ends[state], USUAL: number * columns}
    own = {column: answer for column, answer in answers.items() if answer}
    row, defaults = table.rows[state], usual.rows[number]
    return own | {FIRST_BYTE_COLUMN + at: target for at, target in enumerate(row) if target != defaults[at]}


class _Comb:
    """Which cells are taken, as bits of one number."""

    def __init__(self, columns: int) -> None:
        self._taken = 0
        self._places = 0
        self._all = (1 << CELLS_MAX - columns) - 1
        self._least = 0

    def place(self, columns: Sequence[int]) -> int:
        """The first place where all these cells are free and no other state begins. Raises :class:`NoRoomError`."""
        full = self._places
        for column in columns:
            full |= self._taken >> column
        free = (self._all & ~full) >> self._least << self._least
        if not free:
            raise NoRoomError(f"more than {CELLS_MAX:,} cells")
        place = (free & -free).bit_length() - 1
        self._places |= 1 << place
        self._taken |= sum(1 << place + column for column in columns)
        return place

    def go_above(self) -> int:
        """From now on, places are above all that were given: the first of those."""
        self._least = self._places.bit_length()
        return self._least


def _fill(
    table: Table,
    usual: Sequence[Sequence[int]],
    own: Sequence[dict[int, int]],
    places: Sequence[int],
    marking_from: int,
) -> Packed:
    end = max(places) + FIRST_BYTE_COLUMN + len(usual[0])
    owners, nexts = [NO_OWNER] * end, [0] * end
    for place, columns in zip(places, own, strict=True):
        for column, value in columns.items():
            owners[place + column] = place
            nexts[place + column] = value if column < FIRST_BYTE_COLUMN else places[value]
    return Packed(
        classes=bytes(FIRST_BYTE_COLUMN + number for number in table.classes),
        defaults=tuple(value for row in usual for value in (*[0] * FIRST_BYTE_COLUMN, *(places[at] for at in row))),
        owners=tuple(owners),
        nexts=tuple(nexts),
        start=places[0],
        marking_from=marking_from,
    )
