"""What the automaton over argv decides, by examples; that it agrees with the closures is a property test."""

from random import Random

import pytest

from monitor.model.argument_automaton import CELLS_MAX, FIRST_BYTE_COLUMN, MARKINGS_MAX, MARKS_MAX, NO_OWNER
from monitor.model.rule import Rule, Severity
from monitor.rules import automaton_states
from monitor.rules.automaton_minimal import Table
from monitor.rules.automaton_packing import NoRoomError, pack
from monitor.rules.ir import And, AnyNode, Glob, Not, Or, Regex, Text
from monitor.rules.kernel_policy import KernelPolicy, PolicyError, build_policy, build_rule_terms
from monitor.rules.kernel_terms import NotDecidable, build_terms
from tests.support.kernel_matcher import lie_in_memory, match_arguments


def policy_of(*conditions: AnyNode) -> KernelPolicy:
    """Rules named rule_0, rule_1, ..."""
    rules = [Rule(id=str(at), name=f"rule_{at}", title="", severity=Severity.HIGH) for at in range(len(conditions))]
    return build_policy(
        [
            term
            for rule, tree in zip(rules, conditions, strict=True)
            for term in build_rule_terms(rule, "process_creation", tree)
        ]
    )


def decides(condition: AnyNode, *argv: bytes) -> bool:
    return match_arguments(policy_of(condition), lie_in_memory(argv)) != 0


def line(match: str, *values: str, cased: bool = False) -> Text:
    return Text("process.command_line", match, values, cased)  # type: ignore[arg-type]


def argument(match: str, *values: str) -> Text:
    return Text("process.args", match, values)  # type: ignore[arg-type]


def line_re(pattern: str, flags: str = "") -> Regex:
    return Regex("process.command_line", pattern, flags)


@pytest.mark.parametrize(
    ("condition", "argv"),
    [
        (line("contains", "c -e"), [b"nc", b"-e", b"sh"]),  # across the join
        (line("prefix", "nc "), [b"nc", b""]),
        (line("exact", "a b"), [b"a b"]),  # a space within an argument is a space
        (line("exact", "a b"), [b"a", b"b"]),
        (line("suffix", " "), [b"a", b""]),
        (line("contains", "/etc/shadow"), [b"cat", b"/ETC/Shadow"]),
        (line("contains", "xmrig", "minerd"), [b"x", b"minerd"]),
        (line("exact", "ß", cased=True), ["ß".encode()]),
        (line("contains", "kill"), ["\u212aILL".encode()]),  # the Kelvin sign, as Python folds it
        (argument("exact", "-e"), [b"nc", b"-E", b"x"]),
        (argument("suffix", ".sh"), [b"sh", b"a.sh", b"b"]),
        (argument("prefix", "--eval="), [b"node", b"--eval=1"]),
        (Glob("process.command_line", ("nc ", None, " -e", None)), [b"nc", b"-v", b"-e"]),
        (line_re(r"^\S*nc\s.*\s-e\b"), [b"/bin/nc", b"-v", b"-e", b"sh"]),
        (line_re(r"(?i)stratum\+(tcp|ssl)://"), [b"x", b"Stratum+SSL://y"]),
        (line_re(r"(?s)socket.*exec"), [b"python", b"-c", b"import socket\nexec(x)"]),
        (line_re(r"^.\S$"), ["é\u20ac".encode()]),
        (line_re(r"a.b"), [b"a\xffb"]),  # what is not UTF-8 is a character
        (Regex("process.args", r"^-[a-z]*e$"), [b"nc", b"-ve"]),
        (And((line("contains", "a"), Not(line("contains", "b")))), [b"a"]),
        (And((line("contains", "a"), line("contains", "b"))), [b"b", b"a"]),
        (Or((line("contains", "a"), Not(argument("exact", "b")))), [b"c"]),
    ],
)
def test_matches(condition: AnyNode, argv: list[bytes]) -> None:
    assert decides(condition, *argv)


@pytest.mark.parametrize(
    ("condition", "argv"),
    [
        (argument("exact", "a b"), [b"a", b"b"]),
        (argument("contains", "-e"), [b"x-", b"e"]),
        (argument("prefix", "-e"), [b"x -e"]),
        (line("suffix", "sh"), [b"sh", b""]),
        (line("exact", "a", cased=True), [b"A"]),
        (line_re(r"socket.*exec"), [b"socket\nexec"]),  # `.` is no newline without (?s)
        (line_re(r"\bnc\b"), [b"rsync", b"async"]),
        (line_re(r"^$"), [b""]),  # what is absent matches nothing
        (line_re(r""), []),
        (line_re(r"^..$"), ["é".encode()]),  # characters, not bytes
        (line_re(r"/.*/x"), [b"/x"]),  # both parts are there, but they overlap
        (line("contains", "ff"), [b"\xff"]),  # user space shows it as \xff
        (And((line("contains", "a"), Not(line("contains", "b")))), [b"a", b"b"]),
        (And((line("contains", "a"), line("contains", "b"))), [b"a"]),
    ],
)
def test_does_not_match(condition: AnyNode, argv: list[bytes]) -> None:
    assert not decides(condition, *argv)


def test_conditions_of_many_rules_do_not_multiply() -> None:
    """Each of these, seen or not, is one of 2^40 combinations."""
    policy = policy_of(*(line("contains", f"--option-{number:02}") for number in range(40)))
    assert policy.arguments is not None
    argv = lie_in_memory([b"x", b"--option-07", b"--option-31=1"])

    assert policy.arguments.states < 100
    assert match_arguments(policy, argv) == 1 << 7 | 1 << 31


def test_expressions_with_gaps_do_not_multiply() -> None:
    policy = policy_of(
        *(line_re(rf"(?s)\b{word}\b.*({word}1|exec)") for word in ("socket", "eval", "marshal", "popen"))
    )
    assert policy.arguments is not None

    assert policy.arguments.states < 200
    assert match_arguments(policy, lie_in_memory([b"python", b"-c", b"import socket, popen; exec()"])) == 0b1001


def test_an_or_of_different_clauses_takes_a_term_each() -> None:
    both = And((line("contains", "a"), line("contains", "b")))

    assert len(build_terms(Or((line("contains", "c"), line_re("d"))))) == 1
    assert len(build_terms(Or((line("contains", "c"), both)))) == 2
    assert len(build_terms(Not(both))) == 2
    assert len(build_terms(Not(Or((line("contains", "c"), line_re("d")))))) == 1


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (line("contains", "été"), "the kernel knows the case of A to Z alone, not of 'é'"),
        (line("contains", "\udcff"), "no argument of the kernel has half a character"),
        (line("contains", *(f"{number:05}" for number in range(2_000))), "its values have 10,000 characters"),
        (Glob("process.args", ("a", 1, "b")), "write a regular expression"),
        (line_re("é", "i"), "the kernel knows the case of A to Z alone"),
        (line_re(r"\pL"), r"the regular expression has \p (column 2)"),
        (line_re(r"a\Bb"), r"the regular expression has \B (column 3)"),
        (line_re("[^é]"), "a negated set with characters beyond ASCII"),
        (line_re("[à-ÿ]"), "a range of characters beyond ASCII"),
        (line_re("(?i)[^a-z]"), "a negated set with k or s without case"),
        (line_re("(a{1000}){1000}"), "it is too large for the kernel's automaton: repeat less"),
        (line_re("(a|b)*a(a|b){16}"), "for it alone the kernel's automaton takes more than 4,096 states"),
        (line_re("(((" * 20 + "a" + ")))" * 20), "groups nested deeper than 50"),
        (line_re("a" * 5_000), "longer than 4,096 characters"),
        (Not(And(tuple(And((line("exact", f"{at}"), line_re("b"))) for at in range(33)))), "more than 32 terms"),
    ],
)
def test_what_is_not_decided_says_why(test: AnyNode, reason: str) -> None:
    with pytest.raises(NotDecidable) as refused:
        build_terms(test)

    assert reason in str(refused.value)


def test_the_field_of_what_is_not_decided_is_named() -> None:
    with pytest.raises(NotDecidable, match=r"process\.args \(regex\): the regular expression has \\p"):
        build_terms(And((line("contains", "a"), Regex("process.args", r"\pL"))))


@pytest.mark.parametrize(
    ("conditions", "what"),
    [
        ([line("contains", f"text {number}") for number in range(MARKS_MAX + 1)], "257 different texts"),
        ([line_re(f"{letter}.{{7}}{letter}") for letter in "abcdefgh"], "more than 20,000 states"),
        ([line("exact", *(f"{number:04}{rule}" * 10 for number in range(160))) for rule in "abc"], "20,000 states"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_and_names_rules(conditions: list[AnyNode], what: str) -> None:
    with pytest.raises(PolicyError) as refused:
        policy_of(*conditions)

    assert what in str(refused.value)
    assert "of the most states are rule_" in str(refused.value)
    assert "disable rules, or look for less" in str(refused.value)


def test_work_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton_states, "WORK_MAX", 10_000)

    with pytest.raises(NotDecidable, match="for it alone the kernel's automaton takes too much work to build"):
        policy_of(line_re("(?:a?){100}x"))


def test_rows_that_have_nothing_in_common_find_no_room() -> None:
    random = Random(1)
    rows = [[random.randrange(1_500) for _ in range(100)] for _ in range(1_500)]

    with pytest.raises(NoRoomError, match="more than 65,536 cells"):
        pack(Table(bytes(256), rows, [0] * 1_500, [0] * 1_500))


def test_tables_fit_their_types() -> None:
    automaton = policy_of(
        line_re(r"(?s)a.*[b-d]+\be"), line("contains", "kill", "-9"), argument("exact", "€")
    ).arguments
    assert automaton is not None
    bounds = {*automaton.owners} - {NO_OWNER}

    assert len(automaton.classes) == 256
    assert min(automaton.classes) >= FIRST_BYTE_COLUMN
    assert len(automaton.defaults) % (max(automaton.classes) + 1) == 0
    assert max(bounds) + max(automaton.classes) < len(automaton.owners) == len(automaton.nexts) <= CELLS_MAX
    assert max(automaton.nexts) < CELLS_MAX
    assert len(automaton.markings) <= MARKINGS_MAX
    assert automaton.table_bytes < 4_096


def test_no_conditions_on_arguments_no_automaton() -> None:
    assert policy_of(Text("process.name", "exact", ("nc",))).arguments is None
