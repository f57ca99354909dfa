"""Boolean conditions of correlations: what the bound form says is what the tree says."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rules.compiler import CompileError
from monitor.rules.expressions import bind_ordered, bind_unordered
from monitor.rules.ir import And, AnyNode, Exists, Or

RULES = ["a", "b", "c", "d"]
leaves: st.SearchStrategy[AnyNode] = st.sampled_from([Exists(name) for name in RULES])
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda parts: st.sampled_from([And(tuple(parts)), Or(tuple(parts))])
    ),
    max_leaves=6,
)
sightings = st.lists(st.sampled_from(RULES), max_size=8)


def holds(node: AnyNode, seen: set[str]) -> bool:
    match node:
        case Exists(name):
            return name in seen
        case And(parts):
            return all(holds(part, seen) for part in parts)
        case Or(parts):
            return any(holds(part, seen) for part in parts)
        case _:
            raise AssertionError(node)


def rises(names: tuple[str, ...]) -> bool:
    return all(RULES.index(one) < RULES.index(next_) for one, next_ in pairwise(names))


@given(trees, sightings)
def test_in_any_order(tree: AnyNode, seen: list[str]) -> None:
    assert bind_unordered(tree)(seen) == holds(tree, set(seen))


@given(trees, sightings)
def test_in_the_order_of_the_file(tree: AnyNode, seen: list[str]) -> None:
    parts = (part for length in range(len(RULES) + 1) for part in combinations(seen, length))

    assert bind_ordered(tree, RULES)(seen) == any(rises(part) and holds(tree, set(part)) for part in parts)


def test_what_could_be_fulfilled_in_too_many_ways_is_refused() -> None:
    pairs = And(tuple(Or((Exists(f"a{number}"), Exists(f"b{number}"))) for number in range(9)))

    with pytest.raises(CompileError, match="more than 256 ways"):
        bind_unordered(pairs)
