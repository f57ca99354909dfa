"""Closures, index and simplification mean what the tree means."""

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.model.process import Context
from monitor.model.rule import Rule, Severity
from monitor.rules.binding import bind_rules
from monitor.rules.categories import CATEGORIES, GUARDS
from monitor.rules.compiler import compile_predicate
from monitor.rules.implication import implies
from monitor.rules.ir import AnyNode, RuleBook, RuleIR
from tests.support.rule_trees import FILE_TREES, PROCESS_TREES, contexts, walk

TODAY = date(2026, 11, 23)


def bind(trees: list[AnyNode], category: str) -> RuleBook:
    rules = [
        RuleIR(Rule(id=str(number), name=f"r{number}", title="t", severity=Severity.LOW), category, tree)
        for number, tree in enumerate(trees)
    ]
    return RuleBook(tuple(rules), (), ())


@given(PROCESS_TREES, contexts(is_open=False))
def test_closures_of_execs_mean_what_the_tree_means(tree: AnyNode, context: Context) -> None:
    assert compile_predicate(tree)(context) is walk(tree, context)


@given(FILE_TREES, contexts(is_open=True))
def test_closures_of_opens_mean_what_the_tree_means(tree: AnyNode, context: Context) -> None:
    assert compile_predicate(tree)(context) is walk(tree, context)


@given(st.lists(PROCESS_TREES, max_size=4), st.lists(contexts(is_open=False), min_size=1, max_size=4))
def test_the_index_of_execs_loses_and_adds_no_match(trees: list[AnyNode], several: list[Context]) -> None:
    rules = bind_rules(bind(trees, "process_creation"), TODAY)
    for context in several:
        found = {candidate.rule.id for candidate in rules.candidates(context) if candidate.matches(context)}
        assert found == {str(number) for number, tree in enumerate(trees) if walk(tree, context)}


@settings(deadline=None)
@given(
    st.lists(st.tuples(FILE_TREES, st.sampled_from(sorted(GUARDS))), max_size=4),
    st.lists(contexts(is_open=True), min_size=1, max_size=4),
)
def test_the_index_of_opens_loses_and_adds_no_match(several: list[tuple[AnyNode, str]], events: list[Context]) -> None:
    book = RuleBook(
        tuple(
            RuleIR(Rule(id=str(number), name="r", title="t", severity=Severity.LOW), category, tree)
            for number, (tree, category) in enumerate(several)
        ),
        (),
        (),
    )
    rules = bind_rules(book, TODAY)
    for context in events:
        found = {candidate.rule.id for candidate in rules.candidates(context) if candidate.matches(context)}
        wanted = {
            str(n) for n, (tree, category) in enumerate(several) if GUARDS[category](context) and walk(tree, context)
        }
        whole = {rule.rule.id for rule in rules.enabled if rule.matches(context)}
        assert found == wanted == whole


@given(PROCESS_TREES, PROCESS_TREES, contexts(is_open=False))
def test_what_is_proved_to_follow_follows(premise: AnyNode, conclusion: AnyNode, context: Context) -> None:
    if implies(premise, conclusion) and walk(premise, context):
        assert walk(conclusion, context)


def test_every_category_is_about_an_event_that_has_shapes() -> None:
    for category in CATEGORIES.values():
        assert bind_rules(bind([], category.name), TODAY).needed_events == frozenset()
