"""Bring what a term asks of arguments into clauses: some of these tests, none of those.

The kernel looks up each clause by itself, with marks that are there or not, so a
term is a conjunction of clauses. An OR over different clauses takes a term each.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from monitor.rules.ir import And, AnyNode, Not, Or
from monitor.rules.trees import all_of, any_of

CONJUNCTIONS_MAX: Final = 32

Tests = frozenset[AnyNode]


class Conjunction(Struct, frozen=True):
    """What one term asks."""

    some: frozenset[Tests] = frozenset()
    """Of each of these sets, one test at least is fulfilled."""
    none: Tests = frozenset()
    """None of these is."""

    def as_expression(self) -> AnyNode:
        """The same as a tree."""
        return all_of([*map(any_of, self.in_order()), *(Not(test) for test in sorted(self.none, key=repr))])

    def in_order(self) -> list[list[AnyNode]]:
        """:attr:`some`, the same in every run."""
        return sorted((sorted(tests, key=repr) for tests in self.some), key=repr)


class TooManyError(ValueError):
    """More conjunctions than a rule may have terms."""


def find_conjunctions(expression: AnyNode) -> tuple[Conjunction, ...]:
    """The expression is true when one of them is; it is never true when there is none.

    Raises:
        TooManyError: more than 32 of them.
    """
    return tuple(dict.fromkeys(_find(expression, negated=False)))


def _find(node: AnyNode, *, negated: bool) -> list[Conjunction]:
    match node:
        case Not(inner):
            return _find(inner, negated=not negated)
        case And(nodes):
            return (_any if negated else _all)([_find(part, negated=negated) for part in nodes])
        case Or(nodes):
            return (_all if negated else _any)([_find(part, negated=negated) for part in nodes])
    if negated:
        return [Conjunction(none=frozenset({node}))]
    return [Conjunction(some=frozenset({frozenset({node})}))]


def _all(parts: Sequence[list[Conjunction]]) -> list[Conjunction]:
    product = [Conjunction()]
    for part in parts:
        product = _bounded(
            [Conjunction(left.some | right.some, left.none | right.none) for left in product for right in part]
        )
    return product


def _any(parts: Sequence[list[Conjunction]]) -> list[Conjunction]:
    """Those that ask for one of some tests become one that asks for one of all of them."""
    joined: set[AnyNode] = set()
    others: list[Conjunction] = []
    for conjunction in [found for part in parts for found in part]:
        if not conjunction.none and len(conjunction.some) == 1:
            joined.update(*conjunction.some)
        else:
            others.append(conjunction)
    return _bounded([*others, *([Conjunction(some=frozenset({frozenset(joined)}))] if joined else [])])


def _bounded(conjunctions: list[Conjunction]) -> list[Conjunction]:
    if len(conjunctions) > CONJUNCTIONS_MAX:
        raise TooManyError(f"it takes more than {CONJUNCTIONS_MAX} terms of the kernel's policy: split the rule")
    return conjunctions
