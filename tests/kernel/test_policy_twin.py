"""The kernel's matcher finds the terms that the rules' closures say, for any rules and any event.

A term at a time, because what cannot be read is decided a dimension at a time; and all at once, as
:mod:`tests.support.kernel_matcher` looks up the same tables.
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

from monitor.bpf.policy_packing import NUMBERS
from monitor.model.capabilities import CAPABILITY_NAMES
from monitor.model.kernel_policy import PREFIX_BYTES_MAX, SUBJECTS, ContainerTerms, Dimension
from monitor.model.process import Context
from monitor.model.rule import Rule, Severity
from monitor.rules.compiler import compile_predicate
from monitor.rules.denials import build_deny_policy, select_terms
from monitor.rules.field import fold_ascii
from monitor.rules.fields import find_field
from monitor.rules.ir import And, AnyNode, Flag, Not, Number, Text
from monitor.rules.kernel_policy import KernelPolicy, PolicyError, PolicyTerm, build_policy, build_rule_terms
from monitor.rules.kernel_terms import NotDecidable, holds
from monitor.rules.kernel_terms import tests_of as list_tests
from monitor.wire import _layout as layout
from tests.property import test_argument_automaton as arguments
from tests.property.test_kernel_policy import FILE_LEAVES, PROCESS_LEAVES, trees_of
from tests.support import policy_twin, rule_texts
from tests.support.kernel_matcher import match
from tests.support.policy_twin import (
    BY_ADDRESS,
    BY_PAGE_TABLES,
    EXECUTABLE,
    FILE,
    PARENT,
    SCRIPT,
    Facts,
    PolicyTwin,
    lie,
)

pytestmark = pytest.mark.kernel

LONGEST = "/" + "k" * (PREFIX_BYTES_MAX - 1)
CAPABILITIES = [
    f"CAP_{name}" for name in ("CHOWN", "KILL", "SETUID", "NET_RAW", "SYS_ADMIN", "SYSLOG", "BPF", "FOWNER")
]
"""As many as a policy may name."""
PROGRAMS = ["process.executable", "process.parent.executable", "process.script"]
HOSTILE: list[AnyNode] = [
    *(Text(field, how, (LONGEST,)) for field in PROGRAMS for how in ("exact", "prefix", "suffix")),
    *(Text(field, how, ("€", "/€/sh", "/\x01", "\n")) for field in PROGRAMS for how in ("prefix", "suffix")),
    *(Text("process.thread.capabilities.effective", "exact", (name.lower(),)) for name in CAPABILITIES),
    Number("user.id", "eq", (1 << 32) - 2),
]
HOSTILE_FILES: list[AnyNode] = [
    *(Text("file.path", how, (LONGEST, "ä", "/€", "\n")) for how in ("exact", "prefix", "suffix")),
    Text("file.name", "exact", ("k" * (PREFIX_BYTES_MAX - 1), "Ä".lower())),
]
ARGUMENTS = st.one_of(arguments.text_tests(), arguments.glob_tests())
EXEC_TREES = st.one_of(
    trees_of(PROCESS_LEAVES + HOSTILE),
    st.tuples(trees_of(PROCESS_LEAVES + HOSTILE), ARGUMENTS).map(And),
    ARGUMENTS,
)
OPEN_TREES = trees_of(FILE_LEAVES + HOSTILE_FILES + HOSTILE)
RULES = st.lists(
    st.one_of(
        st.tuples(st.just("process_creation"), EXEC_TREES),
        st.tuples(st.sampled_from(["file_access", "file_event"]), OPEN_TREES),
    ),
    min_size=1,
    max_size=6,
)
WORDS = [
    *(b"/", b"/etc/", b"/etc/shadow", b"SHADOW", b"/x", b"x", b"sh", b"/bin/", b"/usr/bin/bash", b"/cat", b".sh"),
    *("€".encode(), "Ä".encode(), "ä".encode(), b"\xff", b"\xe2\x82", b"\xc0\xaf", b"\n", b"\x01", b"@", b"[", b"`"),
    *(LONGEST.encode(), LONGEST.encode()[:-1], LONGEST.upper().encode(), b"k", b"y" * 300, b"z" * 3500),
]  # fmt: skip
PATHS = st.lists(st.sampled_from(WORDS), max_size=4).map(lambda words: b"".join(words)[: policy_twin.PATH_BYTES_MAX])
ARGVS = st.lists(st.one_of(st.sampled_from([b"", b"q" * 5000]), arguments.argvs.map(b"".join)), max_size=5)
CONTAINERS: dict[int, dict[str, object]] = {
    layout.POLICY_HOST: {},
    layout.POLICY_FIRST_CONTAINER: {"container__id": "ab"},
    layout.POLICY_CONTAINERS - 1: {"container__id": "ab", "container__name": "x"},
}
"""By slot: what is known of it."""
FLAGS = {
    "memfd": layout.FILE_MEMFD,
    "deleted": layout.FILE_DELETED,
    "tmpfs": layout.FILE_TMPFS,
    "32bit": layout.POLICY_FLAG_32BIT,
}
UNREADABLE = frozenset({NUMBERS[each] for each in (Dimension.ARGUMENTS, Dimension.FLAGS)})
NAMING: list[tuple[str, AnyNode]] = [
    ("process_creation", Text("process.executable", "exact", ("/usr/bin/bash", "/x"))),
    ("process_creation", Text("process.parent.executable", "exact", ("/usr/bin/bash",))),
    ("process_creation", Text("process.script", "exact", ("/usr/bin/bash", "/x"))),
    ("file_access", And((Text("file.path", "exact", ("/etc/shadow",)), Not(Text("file.path", "suffix", ("/x",)))))),
]
"""Rules about exact paths, so that there is a file to be known."""
PATH_DIMENSIONS = {
    EXECUTABLE: frozenset({layout.POLICY_EXECUTABLE, layout.POLICY_EXECUTABLE_END}),
    PARENT: frozenset({layout.POLICY_PARENT, layout.POLICY_PARENT_END}),
    FILE: frozenset({layout.POLICY_FILE, layout.POLICY_FILE_END}),
    SCRIPT: frozenset({layout.POLICY_SCRIPT, layout.POLICY_SCRIPT_END}),
}
SOURCES = [BY_ADDRESS, BY_PAGE_TABLES] if " page_offset_base\n" in Path("/proc/kallsyms").read_text() else [BY_ADDRESS]
"""Where the kernel does not tell where it maps all memory, argv is read by address alone, as by the product."""


class Event(Struct, frozen=True):
    """What happened, as the kernel sees it and as rules see it."""

    facts: Facts
    context: Context
    unread: frozenset[int]
    """Dimensions of which the kernel sees nothing."""


class Condition(Struct, frozen=True):
    """A rule that the kernel can decide."""

    rule: Rule
    category: str
    tree: AnyNode
    terms: tuple[PolicyTerm, ...]


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyTwin]:
    with PolicyTwin(tmp_path_factory.mktemp("twin")) as loaded:
        loaded.litter(b"A")
        yield loaded


def text_of(path: bytes) -> str:
    """As user space shows it, but that what is not UTF-8 is a character no rule names, not the escape of its bytes."""
    return path.decode("utf-8", "replace")


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Everything read, most of the time."""
    is_exec, slot, argv = draw(st.booleans()), draw(st.sampled_from(sorted(CONTAINERS))), draw(ARGVS)
    paths = draw(PATHS), draw(PATHS), draw(PATHS.filter(bool)), draw(PATHS)
    flags = draw(st.sets(st.sampled_from(sorted(FLAGS))))
    upper, runtime_init = draw(st.sampled_from([None, False, True])), draw(st.booleans())
    capabilities = draw(st.sets(st.sampled_from([*CAPABILITIES, "CAP_SYS_TIME"])))
    user = draw(st.sampled_from([0, 1, 2, (1 << 32) - 2]))
    access = draw(st.sets(st.sampled_from(["read", "write", "create"]), min_size=1))
    context = rule_texts.event(
        **{} if is_exec else {"file__path": text_of(paths[FILE]), "file__access": sorted(access)},
        process__executable=text_of(paths[EXECUTABLE]),
        process__script=text_of(paths[SCRIPT]),
        **{"process__parent__executable": text_of(paths[PARENT])} if paths[PARENT] else {},
        process__args=[text_of(argument) for argument in argv],
        process__thread__capabilities__effective=sorted(capabilities),
        user__id=user,
        **{f"process__flags__{name}": name in flags for name in FLAGS},
        **{} if upper is None else {"process__flags__upper_layer": upper},
        **CONTAINERS[slot],
    )
    runtime_init = runtime_init and context.container is not None  # nothing is set up outside of one
    context = structs.replace(context, is_runtime_init=runtime_init)
    facts = Facts(
        event=layout.POLICY_EXEC if is_exec else layout.POLICY_OPEN,
        paths=paths,
        access=sum(ACCESS[name] for name in access),
        flags=sum(FLAGS[name] for name in flags) | UPPER[upper] | layout.POLICY_FLAG_RUNTIME_INIT * runtime_init,
        capabilities=context.image.exec.cap_effective,
        user=user,
        container=slot,
        args=lie(argv),
        args_count=len(argv),
        args_at=draw(st.sampled_from([0, 1, 4090, 4095])),
        args_source=draw(st.sampled_from(SOURCES)),
    )
    return Event(*draw(st.one_of(st.just((facts, context, frozenset[int]())), obscured(facts, context))))


ACCESS = {"read": layout.OPEN_READ, "write": layout.OPEN_WRITE, "create": layout.OPEN_CREATED}
UPPER = {None: layout.FILE_UPPER_UNKNOWN, True: layout.FILE_UPPER_LAYER, False: 0}


@st.composite
def obscured(draw: st.DrawFn, facts: Facts, context: Context) -> tuple[Facts, Context, frozenset[int]]:
    """The same with some of it unread: heads of paths, whole paths, flags, argv."""
    truncated = draw(st.frozensets(st.sampled_from(sorted(PATH_DIMENSIONS))))
    lost = draw(st.frozensets(st.sampled_from(sorted(PATH_DIMENSIONS))))
    others = draw(st.frozensets(st.sampled_from(sorted(UNREADABLE))))
    if facts.event == layout.POLICY_OPEN:
        others -= {layout.POLICY_ARGUMENTS}
    unread = others.union(*(PATH_DIMENSIONS[path] for path in lost))
    if layout.POLICY_ARGUMENTS in others:  # one string more than there is: the scan ends at a page that is not there
        facts = structs.replace(facts, args_count=facts.args_count + 1, args=facts.args or b"x", args_at=-1)
    facts = structs.replace(facts, unread=unread, truncated=truncated)
    return facts, context, unread.union(path * 2 for path in truncated)


@st.composite
def policies(draw: st.DrawFn, *more: tuple[str, AnyNode]) -> tuple[KernelPolicy, list[Condition]]:
    """Rules that the kernel can decide, in one policy."""
    found = []
    for number, (category, tree) in enumerate([*more, *draw(RULES)]):
        rule = Rule(
            id=str(number),
            name=f"rule_{number}",
            title="",
            severity=Severity.HIGH,
            status=draw(st.sampled_from(["stable", "test"])),
            on_truncated=draw(st.sampled_from(["deny", "alert"])),
        )
        try:
            found.append(Condition(rule, category, tree, build_rule_terms(rule, category, tree)))
        except NotDecidable:
            continue
    assume(found)
    try:
        return build_policy([term for condition in found for term in condition.terms]), found
    except PolicyError:
        assume(False)
        raise


def is_true(context: Context, test: AnyNode) -> bool:
    """What the closure of one test says."""
    match test:
        case Flag("runtime_init", value):
            return context.is_runtime_init is value
    return compile_predicate(test)(context)


def fulfils(term: PolicyTerm, happened: Event) -> bool:
    """What the closures say of one term; where they are told nothing, what the rule says of that."""
    if term.event != ("exec" if happened.facts.event == layout.POLICY_EXEC else "open"):
        return False
    return all(
        term.rule.on_truncated == "deny"
        if NUMBERS[dimension] in happened.unread
        else holds(expression, functools.partial(is_true, happened.context))
        for dimension, expression in term.asks.items()
    )


def put_in_force(twin: PolicyTwin, policy: KernelPolicy) -> dict[int, ContainerTerms]:
    """The policy, with what it is for each container."""
    containers = {}
    for slot, known in CONTAINERS.items():
        context = rule_texts.event(**known)
        containers[slot] = select_terms(policy, functools.partial(is_true, context), "enforce")
    twin.policy.apply(policy.tables, containers)
    return containers


def is_called(path: str, test: AnyNode) -> bool:
    """A test of the path that a file was found at."""
    assert isinstance(test, Text)
    text = path.rpartition("/")[2] if test.field.endswith(".name") else path
    values = [fold_ascii(value) for value in test.values]
    match test.match:
        case "exact":
            return text in values
        case "prefix":
            return text.startswith(tuple(values))
    return text.endswith(tuple(values))


def names(term: PolicyTerm, beginning: Dimension, path: str) -> bool:
    """Whether one of its tests is the whole path."""
    tests = list_tests(term.asks[beginning]) if beginning in term.asks else []
    return any(isinstance(test, Text) and test.match == "exact" and is_called(path, test) for test in tests)


def fulfils_with(term: PolicyTerm, happened: Event, known: Sequence[str]) -> bool:
    """The same as :func:`fulfils`, of files that are known: each by its name or for what it is."""
    rest = dict(term.asks)
    for path, pair in zip(known, SUBJECTS, strict=True):
        if path and names(term, pair[0], path):
            is_file = functools.partial(is_called, path)
            if all(holds(rest[dimension], is_file) for dimension in pair if dimension in rest):
                rest = {dimension: expression for dimension, expression in rest.items() if dimension not in pair}
    return fulfils(structs.replace(term, asks=rest), happened)


def check(twin: PolicyTwin, policy: KernelPolicy, conditions: Sequence[Condition], happened: Sequence[Event]) -> None:
    """Every event under one policy, as the kernel, the closures and the packed tables have it."""
    containers = put_in_force(twin, policy)
    for each in happened:
        expected = sum(1 << number for number, term in enumerate(policy.terms) if fulfils(term, each))
        enforced = containers[each.facts.container].enforced
        terms, denied = twin.judge(each.facts)
        assert denied is bool(expected & enforced), each
        if denied:  # else it ends as soon as nothing is left that denies
            assert terms == expected, each
        if each.unread:
            continue
        assert match(policy, each.context) == expected, each
        names = {term.rule.name for number, term in enumerate(policy.terms) if expected >> number & 1}
        kinds = {"process_creation"} if each.facts.event == layout.POLICY_EXEC else {"file_access", "file_event"}
        for condition in conditions:
            if condition.category == "file_event" and not writes(each.context):
                continue
            is_meant = condition.category in kinds and compile_predicate(condition.tree)(each.context)
            assert (condition.rule.name in names) is is_meant, (condition.tree, each)


def writes(context: Context) -> bool:
    field = find_field("file.access")
    assert field is not None
    return not {"write", "create"}.isdisjoint(field.get(context) or ())  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(policies(), st.lists(events(), min_size=5, max_size=25))
def test_any_rules_on_any_events(
    twin: PolicyTwin, made: tuple[KernelPolicy, list[Condition]], happened: list[Event]
) -> None:
    event(f"asks arguments: {made[0].arguments is not None}")
    check(twin, *made, happened)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(policies(*NAMING), st.lists(events(), min_size=5, max_size=15), st.data())
def test_files_that_lie_at_exact_paths(
    twin: PolicyTwin, made: tuple[KernelPolicy, list[Condition]], happened: list[Event], data: st.DataObject
) -> None:
    policy, _ = made
    containers = put_in_force(twin, policy)
    for each in happened:
        known = [data.draw(st.sampled_from(["", *policy.known])) for _ in SUBJECTS]
        numbers = [twin.know(each.facts.container, path) if path else 0 for path in known]
        known = ["" if NUMBERS[pair[1]] in each.unread else path for path, pair in zip(known, SUBJECTS, strict=True)]
        terms, denied = twin.judge(structs.replace(each.facts, known=tuple(numbers)))
        expected = sum(1 << number for number, term in enumerate(policy.terms) if fulfils_with(term, each, known))
        assert denied is bool(expected & containers[each.facts.container].enforced), (each, known)
        if denied:
            assert terms == expected, (each, known)


def policy_of(tree: AnyNode, *, category: str = "process_creation", on_truncated: str = "alert") -> KernelPolicy:
    rule = Rule(
        id="0", name="rule", title="", severity=Severity.HIGH, status="stable", on_truncated=on_truncated
    )  # fmt: skip
    return build_policy(build_rule_terms(rule, category, tree))


@pytest.mark.parametrize("length", [254, 255, 256, 257, 4094, 4095])
def test_a_path_begins_where_it_begins_however_long_it_is(twin: PolicyTwin, length: int) -> None:
    put_in_force(twin, policy_of(Text("process.executable", "prefix", ("/tmp/",))))

    for path in (b"/tmp/".ljust(length, b"x"), b"/TMP/".ljust(length, b"x")):
        assert twin.judge(Facts(paths=(path,))) == (1, True)
    assert twin.judge(Facts(paths=(b"/tmq/".ljust(length, b"x"),))) == (0, False)


@pytest.mark.parametrize("how", ["exact", "prefix", "suffix"])
def test_the_longest_key(twin: PolicyTwin, how: str) -> None:
    put_in_force(twin, policy_of(Text("process.executable", how, (LONGEST,))))  # type: ignore[arg-type]

    path, more = LONGEST.encode(), b"/k"
    assert twin.judge(Facts(paths=(path,))) == (1, True)
    assert twin.judge(Facts(paths=(path[:-1],))) == (0, False)
    assert twin.judge(Facts(paths=(path + more,)))[1] is (how == "prefix")
    assert twin.judge(Facts(paths=(more + path,)))[1] is (how == "suffix")


@pytest.mark.parametrize("on_truncated", ["alert", "deny"])
@pytest.mark.parametrize("source", SOURCES)
def test_how_far_argv_is_read(twin: PolicyTwin, on_truncated: str, source: int) -> None:
    put_in_force(twin, policy_of(Text("process.args", "exact", ("-e",)), on_truncated=on_truncated))

    for bytes_more, expected in ((0, True), (16, on_truncated == "deny")):
        argv = [b"x" * (policy_twin.ARGS_BYTES_READ_MAX - 4 + bytes_more), b"-e"]
        facts = Facts(args=lie(argv), args_count=2, args_at=4000, args_source=source)
        assert twin.judge(facts)[1] is expected


def test_a_file_that_an_open_makes_is_written(twin: PolicyTwin) -> None:
    """Events say so of it too, whatever it was opened for."""
    put_in_force(twin, policy_of(Text("file.access", "exact", ("write",)), category="file_access"))

    made = Facts(event=layout.POLICY_OPEN, paths=(b"/x", b"/x", b"/x"), access=layout.OPEN_READ | layout.OPEN_CREATED)
    assert twin.judge(made) == (1, True)
    assert twin.judge(structs.replace(made, access=layout.OPEN_READ)) == (0, False)


def test_a_capability_is_known_by_its_name(twin: PolicyTwin, tmp_path: Path) -> None:
    text = "{s: {process.thread.capabilities.effective: CAP_SYS_ADMIN}, condition: s}"
    rules = rule_texts.load_text(tmp_path, rule_texts.rule_text(text, extra=rule_texts.DENY))
    put_in_force(twin, build_deny_policy(rules.denials))

    assert twin.judge(Facts(capabilities=1 << CAPABILITY_NAMES.index("CAP_SYS_ADMIN"))) == (1, True)
    assert twin.judge(Facts(capabilities=1 << CAPABILITY_NAMES.index("CAP_SYSLOG"))) == (0, False)


def test_unread_and_negated_the_rule_says_what_happens(twin: PolicyTwin) -> None:
    tree = Not(Text("process.executable", "prefix", ("/usr/",)))
    for on_truncated in ("alert", "deny"):
        put_in_force(twin, policy_of(tree, on_truncated=on_truncated))
        facts = Facts(paths=(b"r/bin/sh",), truncated=frozenset({EXECUTABLE}))
        assert twin.judge(facts)[1] is (on_truncated == "deny")
