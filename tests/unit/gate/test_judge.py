"""The gate's lookups give what the kernel's give, on random rules; and what it lets the kernel forget matches never."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.gate.judge import judge, may_ever_match
from monitor.gate.policy import EXEC, OPEN, LoadedPolicy, LoadedScope
from monitor.gate.wire import decode_policy, encode
from monitor.model.events import FileOpen
from monitor.model.kernel_policy import Dimension, Key
from monitor.model.process import Context
from monitor.rules.field import fold_ascii
from monitor.rules.fields import find_field
from monitor.rules.hold_terms import find_hold_obstacle
from monitor.rules.ir import And, AnyNode, Exists, Flag, Not, Number, Or, Text
from monitor.rules.kernel_policy import KernelPolicy, PolicyTerm, build_policy, build_rule_terms
from monitor.rules.kernel_terms import NotDecidable
from tests.support.gate import hold_policy, policy_of
from tests.support.kernel_matcher import match
from tests.support.make.rules import rule
from tests.support.rule_trees import EXECS, OPENS, walk

PATHS = ["process.executable", "process.name", "process.parent.executable", "process.parent.name"]
EXEC_LEAVES: list[AnyNode] = [
    *(
        Text(field, how, ("sh", "/usr/bin/bash", "/tmp", ""))
        for field in PATHS
        for how in ("exact", "prefix", "suffix")
    ),
    Number("user.id", "eq", 1),
    Number("user.id", "neq", 0),
    Exists("container.id"),
    Text("container.name", "exact", ("x",)),
    Flag("process.flags.deleted", value=True),
    Flag("process.flags.tmpfs", value=False),
    Flag("container.runtime_init", value=False),
]
OPEN_LEAVES: list[AnyNode] = [
    *(Text("file.path", how, ("/etc/shadow", "/x", "/etc/")) for how in ("exact", "prefix", "suffix")),
    Text("file.name", "suffix", (".sh", "x")),
    Text("process.executable", "suffix", ("/cat",)),
    Flag("process.flags.memfd", value=False),
    Exists("container.id"),
]


def trees_of(leaves: list[AnyNode]) -> st.SearchStrategy[AnyNode]:
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map(lambda nodes: And(tuple(nodes))),
            st.lists(inner, max_size=4).map(lambda nodes: Or(tuple(nodes))),
            inner.map(Not),
        ),
        max_leaves=8,
    )


RULES = st.lists(
    st.one_of(
        st.tuples(st.just("process_creation"), trees_of(EXEC_LEAVES)),
        st.tuples(st.just("file_access"), trees_of(OPEN_LEAVES)),
    ),
    max_size=6,
)
NAMES = {
    Dimension.EXECUTABLE: "process.executable",
    Dimension.EXECUTABLE_END: "process.executable",
    Dimension.PARENT: "process.parent.executable",
    Dimension.PARENT_END: "process.parent.executable",
    Dimension.FILE: "file.path",
    Dimension.FILE_END: "file.path",
    Dimension.SYSTEM_FILE: "file.system_path",
}


class ContextFacts:
    """The facts of an event that is known already."""

    def __init__(self, policy: KernelPolicy, context: Context) -> None:
        self.event = OPEN if isinstance(context.event, FileOpen) else EXEC
        self._policy = policy
        self._context = context

    def value(self, dimension: Dimension) -> Key | None:
        match dimension:
            case Dimension.EVENT:
                return frozenset({self.event})
            case Dimension.USER:
                found = value_of("user.id", self._context)
                assert isinstance(found, int)
                return found
            case Dimension.FLAGS:
                names = ("deleted", "tmpfs", "memfd", "32bit")
                is_set = {name: value_of(f"process.flags.{name}", self._context) for name in names}
                is_set["runtime_init"] = value_of("container.runtime_init", self._context)
                return frozenset(name for name, value in is_set.items() if value)
        return fold_ascii(str(value_of(NAMES[dimension], self._context) or ""))

    def find_scope(self, policy: LoadedPolicy) -> LoadedScope:
        applies = self._policy.select(Dimension.CONTAINER, lambda test: walk(test, self._context))
        return LoadedScope(0, applies, applies)


def value_of(name: str, context: Context) -> object:
    field = find_field(name)
    assert field is not None
    return field.get(context)


def terms_of(rules: list[tuple[str, AnyNode]]) -> list[PolicyTerm]:
    found: list[PolicyTerm] = []
    for number, (category, tree) in enumerate(rules):
        try:
            terms = build_rule_terms(rule(f"rule_{number}"), category, tree)
        except NotDecidable:
            continue
        if not find_hold_obstacle(terms):
            found += terms
    return found


@settings(max_examples=80, deadline=None)
@given(RULES)
def test_the_gate_matches_what_the_kernel_matches(rules: list[tuple[str, AnyNode]]) -> None:
    policy = build_policy(terms_of(rules))
    loaded = LoadedPolicy(decode_policy(encode(hold_policy(policy))))

    for context in (*EXECS, *OPENS):
        facts = ContextFacts(policy, context)
        terms, _ = judge(loaded, facts)
        assert terms == match(policy, context)
        name = facts.value(Dimension.EXECUTABLE if facts.event == EXEC else Dimension.FILE)
        if terms:
            assert may_ever_match(loaded, facts.event, str(name), policy.everything)


@pytest.mark.parametrize("on_truncated, vector", [("deny", 1), ("alert", 0)])
def test_of_a_value_that_is_not_to_be_had_the_rule_says_what_then(on_truncated: str, vector: int) -> None:
    tree = Text("process.name", "exact", ("x",))
    terms = build_rule_terms(rule(on_truncated=on_truncated), "process_creation", tree)
    table = LoadedPolicy(hold_policy(build_policy(terms))).tables[Dimension.EXECUTABLE_END]

    assert table.find(None) == vector
    assert (table.find("/tmp/x"), table.find("/tmp/y"), table.any) == (1, 0, 1)


def test_a_file_is_forgotten_only_by_rules_about_its_name() -> None:
    by_name = policy_of(("process_creation", And((Text("process.name", "exact", ("x",)), Number("user.id", "eq", 5)))))
    by_user = policy_of(("process_creation", Number("user.id", "eq", 5)))
    name, user = LoadedPolicy(hold_policy(by_name)), LoadedPolicy(hold_policy(by_user))

    assert not may_ever_match(name, EXEC, "/tmp/y", 1)
    assert may_ever_match(name, EXEC, "/merged/x", 1)
    assert not may_ever_match(name, EXEC, "/merged/x", 0)
    assert may_ever_match(user, EXEC, "/tmp/y", 1)
    assert not may_ever_match(user, OPEN, "/tmp/y", 1)


@pytest.mark.parametrize(
    "category, tree, why",
    [
        ("process_creation", Text("process.command_line", "contains", ("x",)), "arguments"),
        ("process_creation", Flag("process.flags.memfd", value=True), "in memory"),
        ("process_creation", Flag("process.flags.upper_layer", value=True), "since the image"),
        ("file_event", Text("file.path", "exact", ("/x",)), "reading or writing"),
        ("file_access", Flag("process.flags.tmpfs", value=True), "only its path"),
    ],
)
def test_what_hold_cannot_decide_is_said(category: str, tree: AnyNode, why: str) -> None:
    terms = build_rule_terms(rule(), category, tree)

    assert why in find_hold_obstacle(terms)
    if "flags" not in getattr(tree, "field", ""):
        with pytest.raises(ValueError, match="tier hold cannot decide by"):
            hold_policy(build_policy(terms))
