"""The automaton over argv says what the closures of the same tests say, for any rules and any bytes."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.model.process import Context
from monitor.model.rule import Rule, Severity
from monitor.rules.compiler import compile_predicate
from monitor.rules.ir import And, AnyNode, Glob, Not, Or, Regex, Text
from monitor.rules.kernel_policy import KernelPolicy, PolicyError, build_policy, build_rule_terms
from monitor.rules.kernel_terms import NotDecidable
from monitor.rules.regex_bank import RegexError, compile_regex
from tests.support.kernel_matcher import lie_in_memory, match_arguments
from tests.support.rule_texts import event

FIELDS = st.sampled_from(["process.command_line", "process.args"])
PIECES = ["a", "b", "ab", "ba", "k", "i", "1", " ", "-e", "/", "\n", "=", "é", "€", "x y"]
# Letters that fold to ASCII, and bytes that are no UTF-8: cut, overlong, surrogates, beyond the last character.
BYTES = [
    *(piece.encode() for piece in [*PIECES, "A", "K", "S", "s", "É", "\u212a", "\u017f", "\u0130", "\U0001d11e"]),
    *(b"\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5", b"\xe0\x80", b"\xf4\x90"),
]
argvs = st.lists(st.lists(st.sampled_from(BYTES), max_size=5).map(b"".join), max_size=4)
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join)


@st.composite
def text_tests(draw: st.DrawFn) -> AnyNode:
    values = draw(st.lists(texts, min_size=1, max_size=3))
    cased = draw(st.booleans()) or not "".join(values).isascii()
    match = draw(st.sampled_from(["exact", "prefix", "suffix", "contains"]))
    return Text(draw(FIELDS), match, tuple(value if cased else value.lower() for value in values), cased)


@st.composite
def glob_tests(draw: st.DrawFn) -> AnyNode:
    parts: list[str | int | None] = []
    for text in draw(st.lists(texts, min_size=1, max_size=3)):
        parts += [text, None]
    parts = ([None] if draw(st.booleans()) else []) + (parts if draw(st.booleans()) else parts[:-1])
    cased = draw(st.booleans()) or "é" in "".join(map(str, parts))
    return Glob(draw(FIELDS), tuple(parts), cased)


atoms = st.sampled_from(
    [*"abks1 /-=é", ".", r"\s", r"\S", r"\w", r"\W", r"\d", "[ab]", "[^ab]", "[a-k]", r"[^\s/]", r"\b", "^", "$", r"\A",
     r"\z", "[é€x]", r"\n", r"\x41", "(?i)b", "(?s).", r"[[:alpha:]-]", r"\.", "ab", "(?:)", ".*", ".+", r"\S*"]
)  # fmt: skip
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + "|".join(parts) + ")"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,3}", "{2,}", "{0,1}?"])).map(
            lambda parts: f"(?:{parts[0]}){parts[1]}"
        ),
    ),
    max_leaves=8,
)


@st.composite
def regex_tests(draw: st.DrawFn) -> AnyNode:
    pattern, flags = draw(expressions), draw(st.sampled_from(["", "", "i", "s", "m", "ims"]))
    try:
        compile_regex(pattern, flags)
    except RegexError:
        assume(False)
    return Regex(draw(FIELDS), pattern, flags)


GAPS = [".*", "(?s:.*)", ".+", r"\S*", "[^a]*", "[^ ]+", "(?s:.+)"]
ENDS = ["a", "b", "ab", r"\ba", r"b\b", r"\s", "1", "(a|b1)", "-e", "é", r"\bab\b", "[ab]1?", " ", "(?:a.*b|-e)", "k"]


@st.composite
def gap_tests(draw: st.DrawFn) -> AnyNode:
    """What is split into chains, where it can be."""
    parts = draw(st.lists(st.tuples(st.sampled_from(ENDS), st.sampled_from(GAPS)), min_size=1, max_size=3))
    pattern = "".join(map("".join, parts)) + draw(st.sampled_from(ENDS))
    begin, end = draw(st.sampled_from(["", "", "^"])), draw(st.sampled_from(["", "", "$"]))
    return Regex(draw(FIELDS), begin + pattern + end, draw(st.sampled_from(["", "s", "i"])))


tests = st.one_of(text_tests(), glob_tests(), regex_tests())
trees = st.recursive(
    tests,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: And(tuple(nodes))),
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: Or(tuple(nodes))),
        inner.map(Not),
    ),
    max_leaves=4,
)


def policy_of(conditions: list[AnyNode]) -> KernelPolicy:
    """All of them, as the rules 0, 1, ..."""
    terms = []
    for number, condition in enumerate(conditions):
        rule = Rule(id=str(number), name=str(number), title="", severity=Severity.HIGH)
        try:
            terms += build_rule_terms(rule, "process_creation", condition)
        except NotDecidable:
            assume(False)
    try:
        return build_policy(terms)
    except PolicyError:
        assume(False)
        raise


def context_of(argv: list[bytes]) -> Context:
    """As user space shows it, but that what is not UTF-8 is a character no rule names, not the escape of its bytes."""
    return event(process__args=[argument.decode("utf-8", "replace") for argument in argv])


def check(conditions: list[AnyNode], several: list[list[bytes]]) -> None:
    """Every condition on every argv."""
    policy = policy_of(conditions)
    predicates = [compile_predicate(condition) for condition in conditions]
    for argv in several:
        vector = match_arguments(policy, lie_in_memory(argv))
        found = {term.rule.name for number, term in enumerate(policy.terms) if vector >> number & 1}
        context = context_of(argv)
        assert found == {str(at) for at, matches in enumerate(predicates) if matches(context)}, argv


@settings(deadline=None)
@given(st.lists(text_tests(), min_size=1, max_size=6), st.lists(argvs, min_size=1, max_size=20))
def test_texts(conditions: list[AnyNode], several: list[list[bytes]]) -> None:
    check(conditions, several)


@settings(deadline=None)
@given(st.lists(glob_tests(), min_size=1, max_size=3), st.lists(argvs, min_size=1, max_size=20))
def test_texts_with_wildcards(conditions: list[AnyNode], several: list[list[bytes]]) -> None:
    check(conditions, several)


@settings(deadline=None)
@given(st.lists(regex_tests(), min_size=1, max_size=2), st.lists(argvs, min_size=1, max_size=20))
def test_regular_expressions(conditions: list[AnyNode], several: list[list[bytes]]) -> None:
    check(conditions, several)


@settings(deadline=None)
@given(st.lists(gap_tests(), min_size=1, max_size=3), st.lists(argvs, min_size=1, max_size=20))
def test_expressions_with_gaps(conditions: list[AnyNode], several: list[list[bytes]]) -> None:
    check(conditions, several)


@settings(deadline=None)
@given(st.lists(trees, min_size=1, max_size=3), st.lists(argvs, min_size=1, max_size=20))
def test_conditions_with_and_or_not(conditions: list[AnyNode], several: list[list[bytes]]) -> None:
    check(conditions, several)


@pytest.mark.parametrize("argv", [[], [b""], [b"", b""], [b"", b"a"], [b"a", b""], [b" "], [b"a b"], [b"a", b"b"]])
def test_empty_arguments_and_spaces_within(argv: list[bytes]) -> None:
    line, args = "process.command_line", "process.args"
    conditions: list[AnyNode] = [
        *(Text(field, "exact", (value,)) for field in (line, args) for value in (" ", "a", "a b", " a", "a ")),
        *(Regex(field, pattern) for field in (line, args) for pattern in ("", "^$", "^ *$", "^a?$", r"\s", "^a b$")),
        *(Not(Regex(field, "^a")) for field in (line, args)),
    ]

    check(conditions, [argv])
