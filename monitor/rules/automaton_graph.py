"""Turn trees into one graph of places (Thompson's construction), and say what can follow a place without a character.

What is looked at is either the command line, where the NUL between two arguments
counts as the space that joins them, or each argument by itself, where it ends
one text and begins the next. Both run over the same bytes at the same time.
"""

import enum
from collections.abc import Iterable
from functools import cache
from typing import Final

from msgspec import Struct

from monitor.rules.automaton_tree import Alt, Anchor, Bytes, Cat, Chars, Repeat, Tree, UnsupportedError

PLACES_MAX: Final = 100_000
"""Of one graph: a repetition counts as often as it is repeated."""
PATTERN_PLACES_MAX: Final = 2_000
"""Of one pattern. What is reached from each of them is bounded by its square."""
BEYOND_ASCII: Final = ((1 << 128) - 1) << 128
_SPACE_BIT = 1 << 32
WORD_BYTES: Final = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")


class TooLargeError(ValueError):
    """All patterns together are more than the kernel's automaton can tell; the text says of what there is too much."""


class View(enum.IntEnum):
    """What a pattern is looked for in."""

    LINE = 0
    """The arguments, joined by single spaces."""
    ARGUMENT = 1
    """Each argument."""


class Side(enum.IntEnum):
    """What stands on one side of a place between characters."""

    EDGE = 0
    """The text begins or ends here."""
    WORD = 1
    NEWLINE = 2
    OTHER = 3


class Pattern(Struct, frozen=True):
    """What is looked for, anywhere in the text."""

    view: View
    tree: Tree
    event: int
    """What is reported when it is found."""


class Taking(Struct, frozen=True, gc=False):
    """A place that goes on with one byte of a set."""

    accepts: int
    """Bit N: the byte N. Of what is beyond ASCII either the first byte of a whole character, or one byte of many."""
    following: int
    begins_character: bool
    """Not: within a character that is spelt out."""


class _Fork(Struct, frozen=True, gc=False):
    ways: tuple[int, ...]


class _Guard(Struct, frozen=True, gc=False):
    anchor: Anchor
    following: int


class _Found(Struct, frozen=True, gc=False):
    event: int


class Reached(Struct, frozen=True):
    """What is reached from a place without a character."""

    taking: frozenset[int] = frozenset()
    """Places that go on with a byte."""
    waiting: frozenset[tuple[int, Side]] = frozenset()
    """Places that depend on what comes, each with what was before it."""
    events: frozenset[int] = frozenset()


class Graph:
    """The places of all patterns.

    Raises:
        UnsupportedError: one pattern is too large.
        TooLargeError: all of them are.
    """

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._places: list[Taking | _Fork | _Guard | _Found] = []
        self.views: list[View] = []
        """Of each place."""
        self.starts: list[int] = []
        """The first place of each pattern."""
        for pattern in patterns:
            self._view, self._room = pattern.view, PATTERN_PLACES_MAX
            self.starts.append(self._add_tree(pattern.tree, self._add(_Found(pattern.event))))
        self.reach = cache(self._reach)
        """:meth:`_reach`, remembered."""

    def taking(self, place: int) -> Taking:
        """A place out of :attr:`Reached.taking`."""
        found = self._places[place]
        assert isinstance(found, Taking)
        return found

    @property
    def sets(self) -> set[int]:
        """All sets of bytes that some place goes on with."""
        return {place.accepts for place in self._places if isinstance(place, Taking)}

    def _add(self, place: Taking | _Fork | _Guard | _Found) -> int:
        self._room -= 1
        if self._room < 0:
            raise UnsupportedError("it is too large for the kernel's automaton: repeat less")
        if len(self._places) >= PLACES_MAX:
            raise TooLargeError(f"more than {PLACES_MAX:,} characters and repetitions")
        self._places.append(place)
        self.views.append(self._view)
        return len(self._places) - 1

    def _add_tree(self, tree: Tree, following: int) -> int:
        """The place before the tree; behind it comes ``following``."""
        match tree:
            case Chars(ascii=members, beyond=beyond):
                return self._add(Taking(self._members(members, beyond=beyond), following, begins_character=True))
            case Bytes(encoded):
                for at in range(len(encoded) - 1, -1, -1):
                    following = self._add(Taking(1 << encoded[at], following, begins_character=at == 0))
                return following
            case Cat(parts):
                for part in reversed(parts):
                    following = self._add_tree(part, following)
                return following
            case Alt(parts):
                return self._add(_Fork(tuple(self._add_tree(part, following) for part in parts)))
            case Anchor():
                return self._add(_Guard(tree, following))
            case Repeat():
                return self._add_repeat(tree, following)

    def _add_repeat(self, tree: Repeat, following: int) -> int:
        if tree.most is None:
            loop = self._add(_Fork(()))
            self._places[loop] = _Fork((self._add_tree(tree.part, loop), following))
            following = loop
        else:
            after = following
            for _ in range(tree.most - tree.least):
                following = self._add(_Fork((self._add_tree(tree.part, following), after)))
        for _ in range(tree.least):
            following = self._add_tree(tree.part, following)
        return following

    def _members(self, members: int, *, beyond: bool) -> int:
        members &= ~1
        if self._view is View.LINE and members & _SPACE_BIT:
            members |= 1
        return members | (BEYOND_ASCII if beyond else 0)

    def _reach(self, place: int, before: Side, after: Side | None) -> Reached:
        """What follows a place between these two; ``after`` is None when it is not known yet.

        No pattern is found in a text of no characters: what is absent matches nothing.
        """
        taking: set[int] = set()
        waiting: set[tuple[int, Side]] = set()
        events: set[int] = set()
        todo, done = [place], set[int]()
        while todo:
            at = todo.pop()
            if at in done:
                continue
            done.add(at)
            match self._places[at]:
                case Taking():
                    taking.add(at)
                case _Fork(ways):
                    todo += ways
                case _Guard(anchor, following):
                    holds = _holds(anchor, before, after)
                    if holds:
                        todo.append(following)
                    elif holds is None:
                        waiting.add((at, before))
                case _Found(event):
                    if before is not Side.EDGE or after not in {None, Side.EDGE}:
                        events.add(event)
                    elif after is None:
                        waiting.add((at, before))
        return Reached(frozenset(taking), frozenset(waiting), frozenset(events))


def _holds(anchor: Anchor, before: Side, after: Side | None) -> bool | None:
    """None: that depends on what comes."""
    match anchor.kind:
        case "begin":
            return before is Side.EDGE
        case "line begin":
            return before in {Side.EDGE, Side.NEWLINE}
    if after is None:
        return None
    match anchor.kind:
        case "end":
            return after is Side.EDGE
        case "line end":
            return after in {Side.EDGE, Side.NEWLINE}
        case _:
            return (before is Side.WORD) is not (after is Side.WORD)
