"""The terms of a rule, looked up as the kernel does, match what the rule matches: neither less nor more."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.model.process import Context
from monitor.model.rule import Rule, Severity
from monitor.rules.categories import GUARDS
from monitor.rules.ir import And, AnyNode, Exists, Flag, Not, Number, Or, Text
from monitor.rules.kernel_policy import PolicyTerm, build_policy, build_rule_terms
from monitor.rules.kernel_terms import NotDecidable
from tests.support.kernel_matcher import match
from tests.support.rule_trees import ACCESSES, CONNECTIONS, EXECS, OPENS, every_leaf, walk

FIELDS = [
    *("process.executable", "process.name", "process.parent.executable", "process.parent.name"),
    *("process.script", "process.script_name"),
]
PROCESS_LEAVES: list[AnyNode] = [
    *(Text(field, how, ("sh", "/usr/bin/bash", "/tmp")) for field in FIELDS for how in ("exact", "prefix", "suffix")),
    Text("process.command_line", "contains", ("x", "a")),
    Text("process.args", "exact", ("sh",)),
    Exists("container.id"),
    Text("container.name", "exact", ("x",)),
    Number("user.id", "eq", 1),
    Number("user.id", "neq", 0),
    Flag("process.flags.memfd", value=False),
    Flag("process.flags.upper_layer", value=True),
    Flag("process.flags.upper_layer", value=False),
    Flag("container.runtime_init", value=False),
]  # fmt: skip
FILE_LEAVES: list[AnyNode] = [
    *(Text("file.path", match, ("/etc/shadow", "/x", "/etc/")) for match in ("exact", "prefix", "suffix")),
    Text("file.name", "exact", ("shadow", "x")),
    Text("file.name", "suffix", (".sh", "x")),
    Text("file.access", "exact", ("read",)),
    Text("file.access", "exact", ("write", "create")),
    Flag("file.created", value=True),
    Flag("file.created", value=False),
    Text("process.executable", "suffix", ("/cat",)),
    Exists("container.id"),
]
TARGET_LEAVES: list[AnyNode] = [
    *(
        Text("target.process.executable", match, ("/bin/sh", "/usr/bin/bash", "/tmp/"))
        for match in ("exact", "prefix", "suffix")
    ),
    Text("target.process.name", "exact", ("sh", "x")),
    Text("process.executable", "suffix", ("/cat",)),
    Number("user.id", "eq", 1),
    Exists("container.id"),
]  # fmt: skip
ADDRESSES = ("/etc/shadow", "/x", "/etc/", "@")
ADDRESS_LEAVES: list[AnyNode] = [
    *(Text("destination.address", match, ADDRESSES) for match in ("exact", "prefix", "suffix")),
    Text("network.transport", "exact", ("unix", "tcp")),
    Text("network.transport", "exact", ("tcp",)),
    Text("process.executable", "suffix", ("/cat",)),
    Exists("container.id"),
]  # fmt: skip


def trees_of(leaves: list[AnyNode]) -> st.SearchStrategy[AnyNode]:
    """Trees of tests that the kernel has lookups for."""
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map(lambda nodes: And(tuple(nodes))),
            st.lists(inner, max_size=4).map(lambda nodes: Or(tuple(nodes))),
            inner.map(Not),
        ),
        max_leaves=10,
    )


PROCESS_TREES = trees_of(PROCESS_LEAVES)
FILE_TREES = trees_of(FILE_LEAVES)


def rule(number: int) -> Rule:
    return Rule(id=str(number), name=f"rule_{number}", title="", severity=Severity.HIGH)


def terms_of(number: int, category: str, tree: AnyNode) -> tuple[PolicyTerm, ...] | None:
    """Its terms, or None where the kernel cannot decide it."""
    try:
        return build_rule_terms(rule(number), category, tree)
    except NotDecidable:
        return None


def check(trees: Sequence[tuple[str, AnyNode]], contexts: Sequence[Context]) -> int:
    """All trees in one policy, on every context; answers how many the kernel decides."""
    decided = [
        (number, category, tree, terms)
        for number, (category, tree) in enumerate(trees)
        if (terms := terms_of(number, category, tree)) is not None
    ]
    policy = build_policy([term for *_, terms in decided for term in terms])
    for context in contexts:
        matched = match(policy, context)
        names = {term.rule.name for bit, term in enumerate(policy.terms) if matched >> bit & 1}
        for number, category, tree, _ in decided:
            guard = GUARDS.get(category)
            expected = (guard is None or guard(context)) and walk(tree, context)
            assert (rule(number).name in names) is expected, (tree, context)
    return len(decided)


OPENED = [context for context in OPENS if GUARDS["file_access"](context)]


@settings(deadline=None)
@given(st.lists(PROCESS_TREES, min_size=1, max_size=6))
def test_execs(trees: list[AnyNode]) -> None:
    check([("process_creation", tree) for tree in trees], EXECS)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["file_access", "file_event"]), FILE_TREES), min_size=1, max_size=6))
def test_opens(trees: list[tuple[str, AnyNode]]) -> None:
    check(trees, OPENED)


@settings(deadline=None)
@given(st.lists(trees_of(TARGET_LEAVES), min_size=1, max_size=6))
def test_accesses(trees: list[AnyNode]) -> None:
    check([("process_access", tree) for tree in trees], ACCESSES)


@settings(deadline=None)
@given(st.lists(trees_of(ADDRESS_LEAVES), min_size=1, max_size=6))
def test_connections(trees: list[AnyNode]) -> None:
    check([("network_connection", tree) for tree in trees], CONNECTIONS)


@pytest.mark.parametrize("field", FIELDS)
def test_each_test_of_a_program_by_itself(field: str) -> None:
    leaves = every_leaf([field], PROCESS_LEAVES)

    assert check([("process_creation", leaf) for leaf in leaves], EXECS) >= len(leaves) // 3


@pytest.mark.parametrize("field", ["file.path", "file.name"])
def test_each_test_of_a_file_by_itself(field: str) -> None:
    leaves = every_leaf([field], FILE_LEAVES)

    assert check([("file_access", leaf) for leaf in leaves], OPENED) >= len(leaves) // 3


def test_each_test_of_an_address_by_itself() -> None:
    leaves = every_leaf(["destination.address"], ADDRESS_LEAVES)

    assert check([("network_connection", leaf) for leaf in leaves], CONNECTIONS) >= len(leaves) // 3
