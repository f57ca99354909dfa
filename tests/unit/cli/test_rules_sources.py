"""``stockade rules`` without a folder reads what the service reads, and says where that is."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from monitor.cli.rules import rules_group
from monitor.config.load import load_settings
from monitor.runtime.rule_sources import load_rule_set
from monitor.shipped import get_shipped_rules
from tests.support.rule_texts import IDS, rule_text

OWN = rule_text("sel: {Image|endswith: /own}\ncondition: sel")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings that name a folder with one rule, beside the shipped ones."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own_rule.yml").write_text(OWN)
    file = tmp_path / "stockade.yml"
    file.write_text(f"rules: [{tmp_path}/own]\nresponse: {get_shipped_rules()}/response.yml\n")
    return file


def call(*arguments: object, **environment: object) -> Result:
    isolated = {"STOCKADE_CONFIG": None, **{name: str(value) for name, value in environment.items()}}
    return CliRunner().invoke(rules_group, [str(argument) for argument in arguments], env=isolated)


def test_the_same_rules_as_the_service(config: Path, tmp_path: Path) -> None:
    listed = json.loads(call("list", "--config", config, "-o", "json").stdout)
    service = load_rule_set(load_settings(config, {}, {"state_dir": tmp_path / "state"}))

    in_force = {row["id"] for row in listed["rules"] if not row["state"].startswith("off")}
    assert in_force == {rule.id for rule in service.rules}
    assert listed["sources"] == [str(get_shipped_rules()), f"{config.parent}/own"]


def test_a_prevention_is_off_until_the_settings_name_it(config: Path) -> None:
    def find_state() -> str:
        (row,) = (
            row
            for row in json.loads(call("list", "--config", config, "-o", "json").stdout)["rules"]
            if row["name"] == "no_drift"
        )
        return str(row["state"])

    assert find_state() == "off: `enforcement.prevent` in stockade.yml switches it on"
    config.write_text(config.read_text() + "enforcement: {prevent: [no_drift]}\n")
    assert find_state() == "active"
    assert "inactive:" not in call("explain", "no_drift", "--config", config).stdout


@pytest.mark.parametrize("command", [["check"], ["list"], ["explain", "own_rule"]])
def test_it_says_where_and_by_which_settings(config: Path, command: list[str]) -> None:
    named, by_environment = call(*command, "--config", config), call(*command, STOCKADE_CONFIG=config)

    for result in (named, by_environment):
        assert result.exit_code == 0
        assert result.stderr == f"rules of {get_shipped_rules()}, {config.parent}/own (by {config})\n"
        assert "rules of" not in result.stdout


def test_without_shipped_rules(config: Path) -> None:
    config.write_text(config.read_text() + "shipped_rules: false\n")

    assert "1 rule is right" in call("check", "--config", config).stdout


def test_wrong_settings_are_usage_errors(config: Path) -> None:
    config.write_text("rulez: []\nmode: 5\n")

    result = call("check", "--config", config)

    assert result.exit_code == 2
    assert f"{config}:1:1: unknown setting" in result.stderr
    assert f"{config}:2:7:" in result.stderr
    assert result.stderr.endswith("stockade: the settings are wrong: no rules were read\n")


def test_a_named_folder_that_is_missing_is_a_wrong_setting_as_for_the_service(config: Path) -> None:
    config.write_text("rules: [/nowhere/at/all]\n")

    result = call("check", "--config", config)

    assert result.exit_code == 2
    assert f"{config}:1:9: '/nowhere/at/all' is not there" in result.stderr


def test_the_services_response_policy_is_checked_with_its_rules(config: Path, tmp_path: Path) -> None:
    response = tmp_path / "response.yml"
    response.write_text("- {when: {risk: 5}, then: nothing}\n")
    (tmp_path / "own" / "own_rule.yml").write_text(OWN.replace(IDS[0], "1"))
    config.write_text(f"rules: [{tmp_path}/own]\nresponse: {response}\n")

    result = call("check", "--config", config)

    assert result.exit_code == 1
    assert f"{tmp_path}/own/own_rule.yml:2:5: must be text; quote it" in result.stdout
    assert f"{response}:1:17: " in result.stdout
    assert f"{response}:1:27: " in result.stdout
    assert "3 mistakes: nothing is loaded until they are mended" in result.stderr


def test_a_response_policy_that_is_no_file(config: Path, tmp_path: Path) -> None:
    config.write_text(f"response: {tmp_path}\n")

    result = call("check", "--config", config)

    assert result.exit_code == 1
    assert f"{tmp_path}:1:1: not a file: a folder, pipe or device" in result.stdout


def test_a_folder_and_settings_contradict_each_other(config: Path) -> None:
    result = call("check", config.parent / "own", "--config", config)

    assert result.exit_code == 2
    assert "name DIR or --config, not both" in result.stderr


def test_a_named_folder_is_read_alone_and_nothing_is_said_of_it(config: Path) -> None:
    result = call("check", config.parent / "own", STOCKADE_CONFIG=config)

    assert "1 rule is right" in result.stdout
    assert result.stderr == ""


def test_a_rule_of_ones_own_that_calls_itself_ready_made_is_warned_of(config: Path) -> None:
    (config.parent / "own" / "own_rule.yml").write_text(OWN + "stockade: {prevention: true}\n")

    assert "rule own_rule has no effect: `prevention:` is for" in call("check", "--config", config).stdout
