"""The rules that come with Stockade: well-formed, documented, tested by samples, cheap enough."""

import subprocess
import sys
from pathlib import Path

import pytest

from monitor.config.settings import PREVENTIONS
from monitor.model.interest import PatternKind
from monitor.model.kernel_policy import Dimension
from monitor.model.rule import Rule
from monitor.rules.denials import build_deny_policy
from monitor.rules.loader import load_rules
from monitor.rules.preventions import PreventionChoice
from monitor.rules.ruleset import RuleSet
from monitor.rules.samples import build_context, read_samples
from monitor.runtime.rule_tests import RuleReport, SamplesReport, run_samples
from monitor.shipped import get_shipped_rules

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = REPOSITORY / "tests" / "rules"

TACTICS = {
    "reconnaissance",
    "resource-development",
    "initial-access",
    "execution",
    "persistence",
    "privilege-escalation",
    "defense-evasion",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "command-and-control",
    "exfiltration",
    "impact",
}
"""Tactics of ATT&CK for enterprises, as Sigma writes them in tags."""

EVERY_EXEC_MAX = 14
"""Rules that cannot be found by the program's name are asked about every exec: keep them few."""

RULE_SET = load_rules([get_shipped_rules()])
ALL_ON = load_rules([get_shipped_rules()], preventions={name: PreventionChoice() for name in PREVENTIONS})
NAMES = [rule.name for rule in RULE_SET.rules]


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return RULE_SET


@pytest.fixture(scope="module")
def report() -> SamplesReport:
    return run_samples(ALL_ON, [SAMPLES])


def find_rule(name: str) -> Rule:
    return next(rule for rule in ALL_ON.rules if rule.name == name)


def test_there_are_forty_or_more(rules: RuleSet) -> None:
    assert len(rules.rules) >= 40
    assert len(rules.correlations) >= 3


def test_they_load_without_a_warning(rules: RuleSet) -> None:
    assert [f"{warning.location}: {warning.message}" for warning in rules.warnings] == []


def test_all_of_them_are_active(rules: RuleSet) -> None:
    assert {rule.name: rule.inactive_reason for rule in rules.rules if rule.inactive_reason} == {}


def test_names_are_unique(rules: RuleSet) -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_says_what_an_admin_needs(name: str) -> None:
    rule = find_rule(name)

    assert len(rule.description.split()) >= 12, "a description says why it matters"
    assert rule.status in ("stable", "test")
    assert rule.response == "alert", "what a shipped rule does to a process is the host's own decision"
    assert rule.false_positives or not rule.generates_alert or rule.severity.label == "informational"


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_lies_in_the_folder_of_one_of_its_tactics(name: str) -> None:
    rule = find_rule(name)
    tags = {tag.removeprefix("attack.") for tag in rule.tags if tag.startswith("attack.")}
    tactics, techniques = tags & TACTICS, {tag for tag in tags if tag.startswith("t")}

    assert tags == tactics | techniques, "a tag is a tactic or a technique"
    assert Path(rule.location.file).parent.name in tactics
    assert techniques


@pytest.mark.parametrize("name", [*NAMES, *PREVENTIONS])
def test_a_rule_has_samples_and_they_behave(name: str, report: SamplesReport) -> None:
    own: RuleReport = next(own for own in report.rules if own.rule.name == name)

    assert [str(failure) for failure in own.failures] == []
    assert own.missing == ()


@pytest.mark.parametrize("name", [*NAMES, *PREVENTIONS])
def test_a_rule_has_at_least_two_samples_that_it_ignores(name: str) -> None:
    lines = (SAMPLES / name / "ignore.jsonl").read_text().splitlines()

    assert len(lines) >= 2


def test_no_samples_are_left_of_a_rule_that_is_gone(report: SamplesReport) -> None:
    assert [str(stray) for stray in report.strays] == []


def test_the_preventions_are_those_that_can_be_switched_on() -> None:
    assert {rule.name for rule in ALL_ON.rules if rule.is_prevention} == set(PREVENTIONS)
    assert {path.stem for path in (get_shipped_rules() / "prevention").iterdir()} == set(PREVENTIONS)


@pytest.mark.parametrize("name", PREVENTIONS)
def test_a_prevention_denies_in_containers_and_nowhere_else(name: str) -> None:
    rule = find_rule(name)
    (deny,) = (each for each in ALL_ON.denials if each.rule.name == name)

    assert (rule.status, rule.response, rule.mode) == ("stable", "deny", "")
    assert len(rule.description.split()) >= 12
    assert rule.false_positives
    assert {tag.removeprefix("attack.") for tag in rule.tags} & TACTICS
    assert not deny.not_decidable
    assert all(Dimension.CONTAINER in term.asks for term in deny.terms)


def test_all_preventions_together_fit_the_kernel() -> None:
    assert build_deny_policy(ALL_ON.denials).terms


def test_no_rule_makes_the_kernel_send_every_open(rules: RuleSet) -> None:
    costly = {pattern.wanted_by for pattern in rules.open_patterns if pattern.kind is PatternKind.ANY}

    assert costly == set()


def test_few_rules_are_asked_about_every_exec(rules: RuleSet) -> None:
    samples, _ = read_samples("inline", b'{"event": "process_exec", "process.executable": "/usr/bin/unheard-of"}')
    asked = [candidate.rule.name for candidate in rules.candidates(build_context(samples[0].events[0]))]

    assert len(asked) <= EVERY_EXEC_MAX, asked


def test_the_page_about_them_is_up_to_date() -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "gen_rule_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
