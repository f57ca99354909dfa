"""Closures, index and simplification mean what the tree means."""

import itertools
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.model.process import Context
from monitor.model.rule import Rule, Severity
from monitor.rules.binding import bind_rules
from monitor.rules.categories import GUARDS
from monitor.rules.compiler import compile_predicate
from monitor.rules.implication import implies
from monitor.rules.ir import AnyNode, Or, RuleBook, RuleIR, Text
from monitor.rules.ruleset import RuleSet
from monitor.rules.trees import any_of
from tests.support.rule_trees import (
    EXECS,
    FILE_FIELDS,
    FILE_OTHERS,
    FILE_TREES,
    FILES,
    PIECES,
    PROCESS_FIELDS,
    PROCESS_OTHERS,
    PROCESS_TREES,
    every_leaf,
    walk,
)

TODAY = date(2026, 11, 23)


def bind(trees: list[tuple[AnyNode, str]]) -> RuleBook:
    """A book with a rule of each tree and category."""
    rules = [
        RuleIR(Rule(id=str(number), name=f"r{number}", title="t", severity=Severity.LOW), category, tree)
        for number, (tree, category) in enumerate(trees)
    ]
    return RuleBook(tuple(rules), (), ())


@settings(deadline=None)
@given(PROCESS_TREES)
def test_closures_of_execs_mean_what_the_tree_means(tree: AnyNode) -> None:
    matches = compile_predicate(tree)

    assert [context for context in EXECS if matches(context) is not walk(tree, context)] == []


@settings(deadline=None)
@given(FILE_TREES)
def test_closures_of_files_mean_what_the_tree_means(tree: AnyNode) -> None:
    matches = compile_predicate(tree)

    assert [context for context in FILES if matches(context) is not walk(tree, context)] == []


def chosen(rules: RuleSet, context: Context) -> set[str]:
    """What the engine would find."""
    return {candidate.rule.id for candidate in rules.candidates(context) if candidate.matches(context)}


@settings(deadline=None)
@given(st.lists(PROCESS_TREES, min_size=1, max_size=3))
def test_the_index_of_execs_loses_and_adds_no_match(trees: list[AnyNode]) -> None:
    rules = bind_rules(bind([(tree, "process_creation") for tree in trees]), TODAY)
    for context in EXECS:
        assert chosen(rules, context) == {rule.rule.id for rule in rules.enabled if rule.matches(context)}


@settings(deadline=None)
@given(st.lists(st.tuples(FILE_TREES, st.sampled_from(sorted(GUARDS))), min_size=1, max_size=3))
def test_the_index_of_files_loses_and_adds_no_match(trees: list[tuple[AnyNode, str]]) -> None:
    rules = bind_rules(bind(trees), TODAY)
    for context in FILES:
        assert chosen(rules, context) == {rule.rule.id for rule in rules.enabled if rule.matches(context)}


@pytest.mark.parametrize(
    ("leaves", "category", "events"),
    [
        (every_leaf(PROCESS_FIELDS, PROCESS_OTHERS), "process_creation", EXECS),
        *((every_leaf(FILE_FIELDS, FILE_OTHERS), category, FILES) for category in sorted(GUARDS)),
    ],
    ids=["process_creation", *sorted(GUARDS)],
)
def test_the_index_is_right_for_each_test_by_itself(
    leaves: list[AnyNode], category: str, events: tuple[Context, ...]
) -> None:
    rules = bind_rules(bind([(leaf, category) for leaf in leaves]), TODAY)
    for context in events:
        assert chosen(rules, context) == {rule.rule.id for rule in rules.enabled if rule.matches(context)}


def test_the_index_is_right_for_pairs_of_names() -> None:
    ends: list[AnyNode] = [Text("process.executable", "suffix", (piece,)) for piece in PIECES]
    names: list[AnyNode] = [Text("process.name", "exact", (piece,)) for piece in PIECES]
    pairs = [Or(pair) for pair in itertools.combinations(ends + names, 2)]
    rules = bind_rules(bind([(pair, "process_creation") for pair in pairs]), TODAY)
    for context in EXECS:
        assert chosen(rules, context) == {rule.rule.id for rule in rules.enabled if rule.matches(context)}


@settings(deadline=None)
@given(PROCESS_TREES, PROCESS_TREES)
def test_what_is_proved_to_follow_follows(premise: AnyNode, conclusion: AnyNode) -> None:
    for broader in (conclusion, any_of([premise, conclusion])):
        if implies(premise, broader):
            assert all(walk(broader, context) for context in EXECS if walk(premise, context))
