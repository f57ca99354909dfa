"""Ready-made preventions: nothing until they are named, then as the settings say."""

from pathlib import Path

import pytest

from monitor.config.settings import PREVENTIONS
from monitor.rules.loader import load_book, load_rules
from monitor.rules.preventions import OFF, PreventionChoice, mark_off
from monitor.rules.ruleset import RuleSet
from monitor.shipped import get_shipped_rules
from tests.support.rule_texts import event, load_text, matching, mistakes, rule_text

FOLDER = get_shipped_rules() / "prevention"
CONTAINER = "3f2a" * 16


def load(**choices: PreventionChoice) -> RuleSet:
    return load_rules([FOLDER], preventions=choices)


def a_shell(container: str = CONTAINER, program: str = "/usr/bin/bash") -> list[str]:
    shell = event(process__executable=program, process__args=["bash"], container__id=container)
    return matching(load(no_shells=PreventionChoice(containers=(CONTAINER[:12],), allow=("/opt/Tools/bash",))), shell)


def test_one_that_nobody_named_is_not_even_there() -> None:
    rules = load(no_memfd=PreventionChoice())

    assert [rule.name for rule in rules.rules] == ["no_memfd"]
    assert load_rules([FOLDER]).rules == ()


@pytest.mark.parametrize("name", PREVENTIONS)
def test_the_mode_is_that_of_the_settings(name: str) -> None:
    (rule,) = load(**{name: PreventionChoice(mode="enforce")}).rules

    assert rule.mode == "enforce"


def test_it_holds_for_the_containers_that_are_named() -> None:
    assert a_shell() == ["no_shells"]
    assert a_shell(container="9" * 64) == []


def test_it_leaves_alone_what_is_allowed_by_path() -> None:
    assert a_shell(program="/opt/tools/bash") == []
    assert a_shell(program="/opt/tools/bash/sh") == ["no_shells"]


def test_a_folder_allows_what_lies_below_it() -> None:
    rules = load(no_drift=PreventionChoice(allow=("/data/plugins/",)))
    new = {"process__flags__upper_layer": True, "container__id": CONTAINER}

    assert matching(rules, event(process__executable="/data/plugins/deep/x", **new)) == []
    assert matching(rules, event(process__executable="/data/pluginsx", **new)) == ["no_drift"]


def test_the_cache_does_not_remember_choices(tmp_path: Path) -> None:
    first = load_rules([FOLDER], preventions={"no_drift": PreventionChoice()}, cache_dir=tmp_path)
    second = load_rules([FOLDER], preventions={"no_memfd": PreventionChoice(mode="audit")}, cache_dir=tmp_path)

    assert [rule.name for rule in first.rules] == ["no_drift"]
    assert [(rule.name, rule.mode) for rule in second.rules] == [("no_memfd", "audit")]


def test_lists_show_what_is_off() -> None:
    states = {
        rule.name: rule.inactive_reason
        for rule in mark_off(load_book([FOLDER]), {"no_drift": PreventionChoice()}).all_rules
    }

    assert states.pop("no_drift") == ""
    assert set(states.values()) == {OFF}


def test_the_key_is_true_or_false(tmp_path: Path) -> None:
    text = rule_text("{s: {Image: /x}, condition: s}", extra="stockade: {prevention: 3}\n")
    assert "prevention must be true or false" in mistakes(text)[0]

    ordinary = rule_text("{s: {Image: /x}, condition: s}", extra="stockade: {prevention: false}\n")
    assert len(load_text(tmp_path, ordinary).rules) == 1
