"""``response.yml``: what it may say, and every mistake at its place."""

from pathlib import Path

import pytest

from monitor.model.rule import Severity
from monitor.rules.errors import RuleErrors
from monitor.rules.response import load_responses, parse_responses

ROOT = Path(__file__).parents[3]


def errors(text: str) -> list[str]:
    with pytest.raises(RuleErrors) as caught:
        parse_responses(text.encode(), "r.yml")
    return [str(error) for error in caught.value.errors]


def test_the_shipped_policy_is_good_and_never_answers_a_single_medium_alert() -> None:
    policy = load_responses(ROOT / "rules" / "response.yml")

    assert policy.entries
    assert all(entry.risk is not None and entry.risk[1] >= 80 for entry in policy.entries)


def test_an_entry_says_when_then_for_and_cooldown() -> None:
    (entry,) = parse_responses(
        b"""
- when: {risk: '> 72.5', severity: '== high', rule: [a, b], subject: lineage, scope: {user.id: 0}}
  then: kill
  for: 90s
  cooldown: 2h
""",
        "r.yml",
    ).entries

    assert (entry.action, entry.subject, entry.for_s, entry.cooldown_s) == ("kill", "lineage", 90, 7_200)
    assert entry.risk == (">", 72.5)
    assert entry.severity == ("==", Severity.HIGH)
    assert entry.rules == {"a", "b"}
    assert entry.scope is not None
    assert str(entry.location) == "r.yml:2:3"


def test_a_plain_severity_means_at_least() -> None:
    (entry,) = parse_responses(b"- {when: {severity: medium}, then: kill}", "r.yml").entries

    assert [entry.is_severity_met(severity) for severity in Severity] == [False, False, True, True, True]


@pytest.mark.parametrize("text", ["", "[]", "# nothing\n"])
def test_an_empty_policy_is_good(text: str) -> None:
    assert parse_responses(text.encode(), "r.yml").entries == ()


def test_all_mistakes_are_told_at_once_with_their_places() -> None:
    found = errors(
        """
- when: {risk: ">= 800", severty: high}
  then: explode
  for: 30
- when: {subject: pod, severity: terrible}
  cooldown: 5 minutes
- then: kill
  wen: {}
- just text
"""
    )
    assert found == [
        "r.yml:2:16: '>= 800' is no condition on risk: write one such as '>= 80' (0 to 100)",
        "r.yml:2:26: unknown condition 'severty'; did you mean 'severity'?",
        "r.yml:3:9: 'explode' is none of alert, deny, kill, freeze, isolate, quarantine",
        "r.yml:4:8: '30' is no time: write a number and s, m, h or d, such as 30m",
        "r.yml:5:3: the entry lacks then",
        "r.yml:5:19: 'pod' is none of container, lineage",
        "r.yml:5:34: 'terrible' is no severity; known: informational, low, medium, high, critical",
        "r.yml:6:13: '5 minutes' is no time: write a number and s, m, h or d, such as 30m",
        "r.yml:7:3: the entry lacks when",
        "r.yml:8:3: unknown key 'wen'; did you mean 'when'?",
        "r.yml:9:3: an entry must be a map of keys and values",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "when: {risk: '>= 80'}",
        "- {when: {}, then: kill}",
        "- {when: {subject: container}, then: kill}",
        "- {when: {risk: 80}, then: kill}",
        "- {when: {risk: '>= 0'}, then: kill}",
        "- {when: {rule: []}, then: kill}",
        "- {when: {severity: high, scope: {no.such.field: 1}}, then: kill}",
        "- {when: {severity: high, scope: nowhere}, then: kill}",
        "- {when: {severity: high}, then: kill, then: alert}",
        "- [",
        "- &a [*a]",
        "\xff",
    ],
)
def test_what_is_wrong_is_told_and_not_guessed(text: str) -> None:
    assert errors(text)


def test_bytes_that_are_not_utf8_are_one_mistake() -> None:
    with pytest.raises(RuleErrors):
        parse_responses(b"\xff\xfe- ", "r.yml")
