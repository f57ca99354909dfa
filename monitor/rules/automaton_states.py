"""Make one deterministic automaton of a graph: subset construction (Rabin and Scott, 1959), bounded.

Every pattern may begin at every character, so the places where patterns begin
are in every set. They are left out of the sets and stand for themselves by what
came last: a set then holds what is under way, which is little.
"""

import enum
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from msgspec import Struct

from monitor.rules.automaton_bytes import WHOLE, Alphabet, begin_character, build_alphabet, continue_character
from monitor.rules.automaton_graph import WORD_BYTES, Graph, Pattern, Side, TooLargeError, View

STATES_MAX: Final = 20_000
"""While it is built; what is equal is joined afterwards."""
WORK_MAX: Final = 6_000_000
"""Places put into sets, in all: a few seconds."""


class Last(enum.IntEnum):
    """What came last: all that a pattern which begins now can ask of the past."""

    NOTHING = 0
    END_OF_ARGUMENT = 1
    WORD = 2
    NEWLINE = 3
    OTHER = 4


_NARROW: Final = 8
"""A place that goes on with more classes of bytes is a broad one: ``.*`` and its like."""

Item = int | tuple[int, Side]
"""A place that goes on with a byte, or one that waits for what comes."""


class Step(Struct, frozen=True):
    """Where one place leads with one byte."""

    items: frozenset[Item] = frozenset()
    events: frozenset[int] = frozenset()
    """See :func:`at_once` and :func:`afterwards`."""


class States(Struct, frozen=True):
    """A deterministic automaton; state 0 is the first."""

    alphabet: Alphabet
    rows: list[list[int]]
    """The next state, by state and class of byte. Equal lists may be one and the same."""
    enters: list[frozenset[int]]
    """What is reported when a state is reached."""
    ends: list[frozenset[int]]
    """What is reported when argv ends in a state."""


def at_once(event: int) -> int:
    """How an event is reported with the last byte of what was found."""
    return 2 * event


def afterwards(event: int) -> int:
    """How an event is reported that depended on what comes: one byte later, or at the end."""
    return 2 * event + 1


_Key = tuple[frozenset[Item], Last, int]
_NO_ITEMS: Final[frozenset[Item]] = frozenset()
_NO_EVENTS: Final[frozenset[int]] = frozenset()


def build_states(patterns: Iterable[Pattern], states_max: int = STATES_MAX) -> States:
    """Raises :class:`TooLargeError`, and :class:`~monitor.rules.automaton_tree.UnsupportedError` for one pattern."""
    builder = _Builder(Graph(patterns), states_max)
    try:
        return builder.build()
    finally:
        vars(builder).clear()  # what it remembers refers back to it: megabytes would wait for the garbage collector


class _Builder:
    def __init__(self, graph: Graph, states_max: int) -> None:
        self._graph = graph
        self._states_max = states_max
        self._alphabet = build_alphabet(graph.sets)
        self._every_class = range(len(self._alphabet.examples))
        self._lasts = [self._last_of(byte) for byte in self._alphabet.examples]
        self._continuing = [number for number, byte in enumerate(self._alphabet.examples) if 0x80 <= byte < 0xC0]
        self._states: dict[tuple[_Key, frozenset[int]], int] = {}
        self._keys: list[_Key] = []
        self._enters: list[frozenset[int]] = []
        self._rows: dict[_Key, list[int]] = {}
        self._work = 0
        self._step = cache(self._find_step)
        self._touched = cache(self._find_touched)
        self._is_indifferent = cache(self._find_indifferent)
        self._fresh = cache(self._find_fresh)
        self._fresh_waiting = cache(self._find_fresh_waiting)
        self._broad_step = cache(self._find_broad_step)

    def build(self) -> States:
        self._number((_NO_ITEMS, Last.NOTHING, WHOLE), _NO_EVENTS)
        rows: list[list[int]] = []
        while len(rows) < len(self._keys):
            rows.append(self._row(self._keys[len(rows)]))
        return States(self._alphabet, rows, self._enters, [self._find_ends(key) for key in self._keys])

    def _number(self, key: _Key, events: frozenset[int]) -> int:
        whole = (key, events)
        number = self._states.get(whole)
        if number is None:
            number = self._states[whole] = len(self._keys)
            if number >= self._states_max:
                raise TooLargeError(f"more than {self._states_max:,} states")
            self._keys.append(key)
            self._enters.append(events)
        return number

    def _row(self, key: _Key) -> list[int]:
        row = self._rows.get(key)
        if row is None:
            items, last, missing = key
            broad = frozenset(item for item in items if len(self._touched(item)) > _NARROW)
            if missing != WHOLE:
                row = self._continuing_row(key)
            elif len(broad) < len(items):
                row = self._row((broad, last, WHOLE)).copy()
                for number, narrow in self._by_class(items - broad).items():
                    row[number] = self._next(broad, narrow, last, number)
            else:
                row = [self._next(broad, (), last, number) for number in self._every_class]
            self._rows[key] = row
        return row

    def _by_class(self, items: Iterable[Item]) -> dict[int, list[Item]]:
        """The classes of bytes with which any of them leads anywhere, and which do."""
        found: dict[int, list[Item]] = {}
        for item in items:
            for number in self._touched(item):
                found.setdefault(number, []).append(item)
        return found

    def _next(self, broad: frozenset[Item], narrow: Sequence[Item], last: Last, number: int) -> int:
        """The state behind a byte that begins a character."""
        step = self._join([self._broad_step(broad, last, number), *(self._step(item, number) for item in narrow)])
        missing = begin_character(self._alphabet.examples[number])
        if missing != WHOLE and self._is_indifferent(step.items):
            missing = WHOLE
        return self._number((step.items, self._lasts[number], missing), step.events)

    def _find_indifferent(self, items: frozenset[Item]) -> bool:
        """Whether more bytes of a character change nothing, and neither would as many characters."""
        return all(self._broad_step(items, Last.OTHER, number) == Step(items) for number in self._continuing)

    def _continuing_row(self, key: _Key) -> list[int]:
        """Within a character of several bytes; where it is broken off, the next one begins."""
        items, last, missing = key
        row = self._row((items, last, WHOLE)).copy()
        for number, byte in enumerate(self._alphabet.examples):
            left = continue_character(missing, byte)
            if left is not None:
                step = self._continue(items, number)
                row[number] = self._number((step.items, last, left), step.events)
        return row

    def _continue(self, items: frozenset[Item], number: int) -> Step:
        """Only who spells the character out looks at its further bytes; the others wait for its end."""
        spelling = {item for item in items if isinstance(item, int) and not self._graph.taking(item).begins_character}
        step = self._join([self._step(item, number) for item in spelling])
        return Step(step.items | (items - spelling), step.events)

    def _join(self, steps: Sequence[Step]) -> Step:
        self._work += len(steps) + sum([len(step.items) for step in steps])
        if self._work > WORK_MAX:
            raise TooLargeError("too much work to build")
        return Step(
            _NO_ITEMS.union(*(step.items for step in steps)), _NO_EVENTS.union(*(step.events for step in steps))
        )

    def _find_step(self, item: Item, number: int) -> Step:
        if isinstance(item, int):
            taking = self._graph.taking(item)
            if not taking.accepts >> self._alphabet.examples[number] & 1:
                return Step()
            reached = self._graph.reach(taking.following, self._side(item, number), None)
            return Step(reached.taking | reached.waiting, frozenset(map(at_once, reached.events)))
        place, before = item
        reached = self._graph.reach(place, before, self._side(place, number))
        step = self._join([self._step(taking, number) for taking in reached.taking])
        return Step(step.items, step.events.union(map(afterwards, reached.events)))

    def _find_touched(self, item: Item) -> frozenset[int]:
        """The classes of bytes with which a place leads anywhere."""
        if isinstance(item, int):
            accepts = self._graph.taking(item).accepts
            return frozenset(number for number, byte in enumerate(self._alphabet.examples) if accepts >> byte & 1)
        return frozenset(number for number in self._every_class if self._step(item, number) != Step())

    def _find_fresh(self, last: Last) -> frozenset[Item]:
        """Where patterns begin that begin now."""
        items = _NO_ITEMS
        for start in self._graph.starts:
            reached = self._graph.reach(start, self._side_before(start, last), None)
            items |= reached.taking | reached.waiting
        return items

    def _find_fresh_waiting(self, last: Last) -> frozenset[Item]:
        return frozenset(item for item in self._fresh(last) if not isinstance(item, int))

    def _find_broad_step(self, broad: frozenset[Item], last: Last, number: int) -> Step:
        """What begins now and what is under way and goes on with most bytes: few combinations, over and over."""
        items = broad | self._fresh(last)
        return self._join([self._step(item, number) for item in items])

    def _find_ends(self, key: _Key) -> frozenset[int]:
        items, last, _ = key
        waiting = [item for item in items | self._fresh_waiting(last) if not isinstance(item, int)]
        return _NO_EVENTS.union(
            *(map(afterwards, self._graph.reach(place, before, Side.EDGE).events) for place, before in waiting)
        )

    def _last_of(self, byte: int) -> Last:
        if byte in WORD_BYTES:
            return Last.WORD
        return {0: Last.END_OF_ARGUMENT, 10: Last.NEWLINE}.get(byte, Last.OTHER)

    def _side(self, place: int, number: int) -> Side:
        """What this byte is to a place before or behind it."""
        return self._side_before(place, self._lasts[number])

    def _side_before(self, place: int, last: Last) -> Side:
        match last:
            case Last.NOTHING:
                return Side.EDGE
            case Last.END_OF_ARGUMENT:
                return Side.EDGE if self._graph.views[place] is View.ARGUMENT else Side.OTHER
            case Last.WORD:
                return Side.WORD
            case Last.NEWLINE:
                return Side.NEWLINE
        return Side.OTHER
