r"""Split expressions at their gaps (``socket.*exec`` at ``.*``), where that provably changes nothing.

An automaton has to remember every beginning that it has seen: ten expressions with
a gap are a thousand combinations of states. So the parts are looked for by
themselves, each earns a mark, and that of a later part counts where that of the
part before is there. What this cannot tell is order within an overlap (``/.*/x``
in ``/x``). Whether there is one is not reasoned about: all ways through the split
expression and the whole one are compared, and it stays whole when any differs.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from typing import Final

from msgspec import Struct

from monitor.model.argument_automaton import MARK_WORD_BITS, Marking
from monitor.rules.automaton_graph import Pattern, TooLargeError, View
from monitor.rules.automaton_states import States, build_states
from monitor.rules.automaton_tree import (
    ANY,
    ASCII,
    END,
    NOT_NEWLINE,
    Alt,
    Cat,
    Chars,
    Repeat,
    Tree,
    UnsupportedError,
    alt,
    cat,
    is_nullable,
)

CHAINS_MAX: Final = 8
"""Of one expression, when alternatives with gaps are taken apart."""
PARTS_MAX: Final = 8
CHOICES_MAX: Final = 8
"""Ways to split that are tried."""
_COMPARED_STATES_MAX: Final = 2_000
_COMPARED_MAX: Final = 100_000
"""Pairs of state and marks, by class of byte."""


class Chain(Struct, frozen=True):
    """Parts that must be found one after the other, without overlap."""

    parts: tuple[Tree, ...]
    gaps: tuple[Chars, ...] = ()
    """What may lie between a part and the next: any number of these characters."""


class Actions(Struct, frozen=True):
    """What events do to marks, by event."""

    sets: dict[int, int]
    """First parts, and what is no chain: the marks that are earned."""
    follows: dict[int, int]
    """Later parts: the marks that are earned where the one before is there."""
    breaks: dict[int, int]
    """Characters that end gaps: the marks that are lost."""

    def marking(self, events: Iterable[int]) -> Marking:
        """Of what is reported at one time.

        A part that was found one byte late ended before the byte that breaks the
        gap behind it; one that is found with that byte contains it.
        """
        early = {event >> 1 for event in events if not event & 1}
        late = {event >> 1 for event in events if event & 1}
        clears = _join(self.breaks, early | late)
        set_late = _join(self.sets, late)
        sets = _join(self.sets, early) | (set_late & ~clears) | (set_late << 1 & _join(self.follows, early))
        return Marking(
            clears & ~sets, sets, (_join(self.follows, early) | (_join(self.follows, late) & ~clears)) & ~sets
        )


def _join(marks: dict[int, int], events: Iterable[int]) -> int:
    joined = 0
    for event in events:
        joined |= marks.get(event, 0)
    return joined


class Plan:
    """Collects patterns, and numbers their events and marks."""

    def __init__(self) -> None:
        self.patterns: dict[tuple[View, Tree], int] = {}
        """The event of each."""
        self.actions = Actions({}, {}, {})
        self.marks = 0
        """How many there are."""

    def add_mark(self) -> int:
        """The bit of a new mark."""
        return 1 << self._reserve(1)

    def add_part(self, view: View, tree: Tree, mark: int) -> None:
        """Something that earns a mark when it is found."""
        self._do(self.actions.sets, view, tree, mark)

    def add_chain(self, view: View, chain: Chain) -> int:
        """The bit of the mark that the last part of a chain earns."""
        first = self._reserve(len(chain.parts))
        self.add_part(view, chain.parts[0], 1 << first)
        for at, (part, gap) in enumerate(zip(chain.parts[1:], chain.gaps, strict=True)):
            self._do(self.actions.follows, view, part, 2 << first + at)
            for breaking in _breaking(view, gap):
                self._do(self.actions.breaks, view, breaking, 1 << first + at)
        return 1 << first + len(chain.parts) - 1

    def patterns_with_events(self) -> list[Pattern]:
        """All that is to be looked for."""
        return [Pattern(view, tree, event) for (view, tree), event in self.patterns.items()]

    def _reserve(self, count: int) -> int:
        """Consecutive numbers within one word."""
        if self.marks % MARK_WORD_BITS + count > MARK_WORD_BITS:
            self.marks += -self.marks % MARK_WORD_BITS
        self.marks += count
        return self.marks - count

    def _do(self, action: dict[int, int], view: View, tree: Tree, mark: int) -> None:
        event = self.patterns.setdefault((view, tree), len(self.patterns))
        action[event] = action.get(event, 0) | mark


def _breaking(view: View, gap: Chars) -> Iterator[Tree]:
    rest = ASCII & ~gap.ascii & ~1
    if rest:
        yield Chars(rest)
    if view is View.ARGUMENT:
        yield END


@lru_cache(maxsize=4_096)
def split_chains(view: View, tree: Tree) -> tuple[Chain, ...]:
    """The chains of which any must be found; one of one part when it cannot be split."""
    ways = _ways(tree)
    split = [_split_way(view, way) for way in ways] if len(ways) <= CHAINS_MAX else []
    chains = [chain for chain in split if chain.gaps]
    if not chains:
        return (Chain((tree,)),)
    plain = [chain.parts[0] for chain in split if not chain.gaps]
    return (*chains, Chain((alt(plain),))) if plain else tuple(chains)


class _Gap(Struct, frozen=True):
    members: Chars


_Way = tuple[Tree | _Gap, ...]
_DOTS: Final = (_Gap(NOT_NEWLINE), _Gap(ANY))


def _split_way(view: View, way: _Way) -> Chain:
    """At as many of its gaps as can be."""
    whole = cat(Repeat(piece.members, 0, None) if isinstance(piece, _Gap) else piece for piece in way)
    for chosen in _choices(way):
        chain = _build_chain(way, chosen)
        if chain.gaps and len(chain.parts) <= PARTS_MAX and _is_the_same(view, whole, chain):
            return chain
    return Chain((whole,))


def _choices(way: _Way) -> Iterator[frozenset[int]]:
    """All gaps; those of ``.``; all but one; one."""
    gaps = frozenset(at for at, piece in enumerate(way) if isinstance(piece, _Gap))
    tried = [gaps, frozenset(at for at in gaps if way[at] in _DOTS), *(gaps - {at} for at in sorted(gaps))]
    tried += [frozenset({at}) for at in sorted(gaps)]
    yield from [chosen for chosen in dict.fromkeys(tried) if chosen][:CHOICES_MAX]


def _ways(tree: Tree) -> list[_Way]:
    """The ways through the alternatives that have gaps, each as parts and gaps; what has none stays one part."""
    match tree:
        case Repeat(Chars(beyond=True) as members, 0, None):
            return [(_Gap(members),)]
        case Repeat(Chars(beyond=True) as members, 1, None):
            return [(members, _Gap(members))]
        case Alt(parts) if _has_gap(tree):
            plain = [part for part in parts if not _has_gap(part)]
            ways = [way for part in parts if _has_gap(part) for way in _ways(part)]
            return [*ways, *([(alt(plain),)] if plain else [])][: CHAINS_MAX + 1]
        case Cat(parts):
            ways = [()]
            for part in parts:
                ways = [(*left, *right) for left, right in product(ways, _ways(part))][: CHAINS_MAX + 1]
            return ways
    return [(tree,)]


def _has_gap(tree: Tree) -> bool:
    match tree:
        case Cat(parts) | Alt(parts):
            return any(map(_has_gap, parts))
        case Repeat(Chars(beyond=True), 0 | 1, None):
            return True
    return False


def _build_chain(way: _Way, chosen: frozenset[int]) -> Chain:
    """A gap at one of the ends says nothing. One beside a part that may be empty stays within the part."""
    parts: list[list[Tree]] = [[]]
    gaps: list[Chars] = []
    for at, piece in enumerate(way):
        if not isinstance(piece, _Gap):
            parts[-1].append(piece)
        elif at in chosen and not is_nullable(cat(parts[-1])):
            gaps.append(piece.members)
            parts.append([])
        elif parts[-1] or gaps or at not in chosen:
            parts[-1].append(Repeat(piece.members, 0, None))
    if gaps and is_nullable(cat(parts[-1])):
        last, gap = parts.pop(), gaps.pop()
        if last:
            parts[-1] += [Repeat(gap, 0, None), *last]
    return Chain(tuple(cat(part) for part in parts), tuple(gaps))


def _is_the_same(view: View, tree: Tree, chain: Chain) -> bool:
    """Whether the chain is found in exactly the texts in which the whole is."""
    plan = Plan()
    last = plan.add_chain(view, chain)
    whole = plan.add_mark()
    plan.add_part(view, tree, whole)
    try:
        states = build_states(plan.patterns_with_events(), _COMPARED_STATES_MAX)
    except (TooLargeError, UnsupportedError):
        return False
    return _agree(states, plan.actions, last, whole)


def _agree(states: States, actions: Actions, last: int, whole: int) -> bool:
    """Walk all texts at once: at every end, one of the last parts' marks is there exactly when that of the whole is."""
    enters = [actions.marking(events) for events in states.enters]
    ends = [actions.marking(events) for events in states.ends]
    todo, known = [(0, 0)], {(0, 0)}
    while todo:
        state, marks = todo.pop()
        at_end = change(marks, ends[state])
        if bool(at_end & last) is not bool(at_end & whole):
            return False
        for target in set(states.rows[state]):
            pair = (target, change(marks, enters[target]))
            if pair not in known:
                known.add(pair)
                todo.append(pair)
        if len(known) > _COMPARED_MAX:
            return False
    return True


def change(marks: int, marking: Marking) -> int:
    """The marks after a marking."""
    return (marks & ~marking.clears) | marking.sets | (marking.follows & marks << 1)
