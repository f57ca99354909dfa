"""Whatever a rule matches, the kernel's open filter lets through."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.model.events import BulkEvent, FileChange, FileOpen
from monitor.model.interest import PatternKind
from monitor.model.process import Context
from monitor.rules.categories import CATEGORIES, GUARDS
from monitor.rules.ir import AnyNode, Exists
from monitor.rules.open_filter import build_open_patterns, passes
from monitor.rules.regex_bank import compile_regex
from monitor.rules.regex_literals import find_literal_prefix
from tests.support.rule_trees import (
    ACCESSES,
    CONNECTIONS,
    FILE_FIELDS,
    FILE_OTHERS,
    FILE_TREES,
    FILES,
    OPENS,
    PROCESS_TREES,
    every_leaf,
    trees,
    walk,
)


@settings(deadline=None)
@given(FILE_TREES, st.sampled_from(sorted(GUARDS)))
def test_patterns_pass_what_the_rule_matches(tree: AnyNode, category: str) -> None:
    check_patterns(tree, category)


@pytest.mark.parametrize("category", sorted(GUARDS))
def test_patterns_of_each_test_by_itself(category: str) -> None:
    for leaf in every_leaf(FILE_FIELDS, FILE_OTHERS):
        check_patterns(leaf, category)
        check_bounds(leaf, category)


CONNECTION_TREES = trees(["destination.address", "process.executable"], [Exists("container.id")])


@settings(deadline=None)
@given(CONNECTION_TREES)
def test_patterns_pass_the_connections_that_a_rule_matches(tree: AnyNode) -> None:
    check_others(tree, "network_connection", CONNECTIONS)


@settings(deadline=None)
@given(PROCESS_TREES)
def test_patterns_pass_the_accesses_that_a_rule_matches(tree: AnyNode) -> None:
    check_others(tree, "process_access", ACCESSES)


def check_others(tree: AnyNode, category: str, contexts: tuple[Context, ...]) -> None:
    patterns = build_open_patterns(tree, CATEGORIES[category], "rule")
    assert not any(pattern.asks_opens or pattern.asks_changes for pattern in patterns)
    for context in contexts:
        event = context.event
        assert isinstance(event, BulkEvent)
        if not any(passes(pattern, event, in_container=context.container is not None) for pattern in patterns):
            assert not walk(tree, context)


def check_patterns(tree: AnyNode, category: str) -> None:
    patterns = build_open_patterns(tree, CATEGORIES[category], "rule")
    for context in FILES:
        event = context.event
        assert isinstance(event, FileOpen | FileChange)
        if not any(passes(pattern, event, in_container=context.container is not None) for pattern in patterns):
            assert not (GUARDS[category](context) and walk(tree, context))


@given(FILE_TREES, st.sampled_from(sorted(GUARDS)), st.sampled_from(OPENS))
def test_opens_that_fail_and_those_that_succeed_are_asked_for_apart(
    tree: AnyNode, category: str, context: Context
) -> None:
    event = context.event
    assert isinstance(event, FileOpen)

    for pattern in build_open_patterns(tree, CATEGORIES[category], "rule"):
        assert not (pattern.failed and (pattern.reads or pattern.writes or pattern.asks_changes))
        assert pattern.asks_opens or pattern.asks_changes
        if passes(pattern, event, in_container=context.container is not None):
            assert CATEGORIES[category].failed is bool(event.errno)


@given(FILE_TREES, st.sampled_from(sorted(GUARDS)))
def test_patterns_fit_the_kernels_bounds(tree: AnyNode, category: str) -> None:
    check_bounds(tree, category)


def check_bounds(tree: AnyNode, category: str) -> None:
    for pattern in build_open_patterns(tree, CATEGORIES[category], "rule"):
        size = len(pattern.text.encode())
        match pattern.kind:
            case PatternKind.PREFIX:
                assert 1 <= size <= 255
            case PatternKind.SUFFIX:
                assert 2 <= size <= 255
            case PatternKind.ANY:
                assert size == 0
            case PatternKind.EXACT:
                assert size > 0


EXPRESSIONS = st.text(alphabet="ab/.\\^$*+?(){}[]|,0123kK", max_size=12)


@given(EXPRESSIONS.map(lambda text: "^" + text), st.text(alphabet="abk/.K0", max_size=8), st.sampled_from(["", "i"]))
def test_a_literal_prefix_is_in_all_that_matches(pattern: str, text: str, flags: str) -> None:
    try:
        search = compile_regex(pattern, flags)
    except ValueError:
        return

    if search(text):
        assert text.lower().startswith(find_literal_prefix(pattern, flags).lower())
