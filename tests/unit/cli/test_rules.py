"""``stockade rules``: exit codes and what is printed."""

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from monitor.cli.rules import rules_group
from monitor.engine.builtin_rules import BUILTIN_RULES
from monitor.model.kernel_policy import RULE_TERMS_MAX
from monitor.model.rule import Rule
from tests.support.rule_texts import DENY, IDS, rule_text

GOOD = rule_text(
    "sel: {TargetFilename: /etc/shadow, container.id|exists: true}\ncondition: sel", category="file_access"
)
INACTIVE = rule_text("sel: {DestinationIp: 10.0.0.1}\ncondition: sel", number=1)
CORRELATION = f"""\
title: Many
id: {IDS[2]}
level: high
correlation:
  {{type: value_count, rules: [good], group-by: container.id, timespan: 90s, condition: {{gte: 3, field: Image}}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yml").write_text(GOOD)
    (tmp_path / "inactive.yml").write_text(INACTIVE)
    (tmp_path / "many.yml").write_text(CORRELATION)
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(rules_group, [str(argument) for argument in arguments])


def test_check_counts_and_names_the_inactive(folder: Path) -> None:
    result = call("check", folder)

    assert result.exit_code == 0
    assert f"{folder}/inactive.yml:1:1: inactive: inactive: field DestinationIp: no network sensor yet" in result.output
    assert "3 rules are right: 1 match single events, 1 correlate, 1 inactive; 0 warnings" in result.output


def test_check_lists_every_mistake(folder: Path) -> None:
    (folder / "bad.yml").write_text(GOOD.replace("TargetFilename", '"Target\\eFilename"').replace("level", "levle"))

    result = call("check", folder)

    assert result.exit_code == 1
    assert f"{folder}/bad.yml:3:1: unknown key 'levle'; did you mean 'level'?" in result.output
    assert "\x1b" not in result.output
    assert "mistakes: nothing is loaded until they are mended" in result.output


def test_check_as_json(folder: Path) -> None:
    good = json.loads(call("check", folder, "-o", "json").output)
    (folder / "bad.yml").write_text("- x\n")
    bad = json.loads(call("check", folder, "-o", "json").stdout)

    assert (good["ok"], good["rules"], good["active"], good["open_patterns"]) == (True, 3, 2, 1)
    assert bad["ok"] is False
    assert bad["errors"][0]["line"] == 1


def test_check_of_a_folder_without_rules(tmp_path: Path) -> None:
    (tmp_path / "rule.yaml.txt").write_text(GOOD)

    result = call("check", tmp_path)

    assert (result.exit_code, result.output) == (0, "there are no rules: they are files that end in .yml or .yaml\n")


def test_mistakes_of_every_command_are_json_where_that_is_asked(folder: Path) -> None:
    (folder / "bad.yml").write_text("- x\n")

    for command in (["list"], ["explain", "good"], ["test"]):
        result = call(*command, folder, "-o", "json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["errors"][0]["file"] == f"{folder}/bad.yml"


def test_list_is_a_table(folder: Path) -> None:
    lines = call("list", folder).output.splitlines()

    assert lines[0].split() == ["NAME", "LEVEL", "STATUS", "EVENTS", "RESPONSE", "SCORE", "STATE"]
    assert lines[1].split() == ["good", "high", "experimental", "file_access", "alert", "60", "counted", "only"]
    assert "inactive: field DestinationIp" in lines[2]


def test_explain_shows_condition_and_kernel_patterns(folder: Path) -> None:
    output = call("explain", "good", folder).output

    assert "file.path is '/etc/shadow'" in output
    assert "container.id is there" in output
    assert "exact   /etc/shadow   containers   read,write" in output
    assert "counted by:      many" in output
    assert "kernel policy:   1 term over file (beginning), container (cgroup)" in output


def test_explain_says_what_the_kernel_could_not_decide(folder: Path) -> None:
    (folder / "fuzzy.yml").write_text(rule_text("sel: {Image|contains: nc}\ncondition: sel", number=3))

    output = call("explain", "fuzzy", folder).output

    assert "kernel policy:   could not decide it: the kernel has no lookup for process.executable (contains)" in output


def test_explain_says_what_arguments_take_of_the_automaton(folder: Path) -> None:
    (folder / "args.yml").write_text(rule_text("sel: {CommandLine|contains: ' -e '}\ncondition: sel", number=3))
    (folder / "names.yml").write_text(rule_text("sel: {CommandLine|re: '\\pL'}\ncondition: sel", number=4))

    simple, refused = call("explain", "args", folder).output, call("explain", "names", folder).output

    assert "kernel policy:   1 term over arguments (automaton); 5 states of the automaton by itself" in simple
    assert "could not decide it: process.command_line (regex): the regular expression has \\p (column 2)" in refused


def test_check_warns_of_rules_that_cannot_deny(folder: Path) -> None:
    deny = "stockade: {response: deny}\n"
    (folder / "names.yml").write_text(rule_text("sel: {CommandLine|re: '\\pL'}\ncondition: sel", number=3, extra=deny))

    result = call("check", folder)

    assert result.exit_code == 0
    assert "names.yml:1:1: warning: rule names cannot deny, only tell: process.command_line (regex): " in result.output
    assert json.loads(call("check", folder, "-o", "json").stdout)["warnings"][-1]["message"].startswith("rule names")


def test_a_rule_of_too_many_terms_says_that_it_only_tells(folder: Path) -> None:
    ways = "".join(f"s{way}: {{Image: /x/{way}, ParentImage: /y/{way}}}\n" for way in range(RULE_TERMS_MAX + 1))
    text = rule_text(f"{ways}condition: 1 of s*", extra=f"name: many_ways\n{DENY}", number=3)
    (folder / "many_ways.yml").write_text(text)
    reason = "it takes more than 32 terms of the kernel's policy: split the rule"
    checked, explained = call("check", folder), call("explain", "many_ways", folder)

    assert checked.exit_code == 0
    assert f"warning: rule many_ways cannot deny, only tell: {reason}" in checked.output
    assert f"tier:            observe: {reason}" in explained.output


def test_check_refuses_a_rule_that_denies_ourselves(folder: Path) -> None:
    program = os.path.realpath(sys.executable)
    text = rule_text(f"{{s: {{Image: {program}}}, condition: s}}", extra=f"name: no_python\n{DENY}", number=3)
    (folder / "no_python.yml").write_text(text)
    result = call("check", folder)

    assert result.exit_code == 1
    assert f"no_python.yml:1:1: rule no_python would deny Stockade itself: {program} executed as" in result.stdout


def test_check_warns_of_rules_that_do_not_fit_together(folder: Path) -> None:
    values = ", ".join(f"{{CommandLine|contains: text {number}, process.args: x{number}}}" for number in range(30))
    for number, identity in enumerate(f"{number:08}-0000-4000-8000-000000000000" for number in range(10)):
        whole = rule_text(f"sel: [{values.replace('text', f'text {number}')}]\ncondition: sel", number=3)
        (folder / f"many_{number}.yml").write_text(whole.replace(IDS[3], identity) + "stockade: {response: deny}\n")

    output = call("check", folder).output

    assert "all rules together: warning: the deny rules ask more of arguments than the kernel's automaton" in output


def test_explain_of_a_correlation(folder: Path) -> None:
    output = call("explain", IDS[2], folder).output

    assert "for each:        container.id" in output
    assert "within:          1m30s" in output
    assert "fires at:        gte 3 different Image" in output


def test_explain_of_what_is_not_there(folder: Path) -> None:
    result = call("explain", "goof", folder)

    assert result.exit_code == 2
    assert "no rule has the name or id 'goof'; did you mean 'good'?" in result.output


def test_test_runs_the_samples_beside_the_rules(folder: Path) -> None:
    samples = folder / "samples" / "good"
    samples.mkdir(parents=True)
    sample = {"event": "file_open", "file.path": "/etc/shadow", "container.id": "ab"}
    (samples / "match.jsonl").write_text(json.dumps(sample))
    passed = call("test", folder)
    required = call("test", folder, "--require")
    (samples / "ignore.jsonl").write_text(json.dumps(sample))
    failed = call("test", folder)

    assert (passed.exit_code, required.exit_code, failed.exit_code) == (0, 1, 1)
    assert "1 samples passed, 0 failed; 1 of 3 rules tested" in passed.output
    assert "good has no samples to ignore" in required.output
    assert "ignore.jsonl:1:1: good: must not match" in failed.output


def test_a_counted_correlation_is_tested_although_it_is_silent(folder: Path) -> None:
    outer = CORRELATION.replace("Many", "Outer").replace(IDS[2], IDS[3]).replace("[good]", "[many]")
    (folder / "outer.yml").write_text(outer.replace("value_count", "event_count").replace(", field: Image", ""))
    samples = folder / "samples" / "many"
    samples.mkdir(parents=True)
    events = [
        {"event": "file_open", "file.path": "/etc/shadow", "container.id": "ab", "Image": f"/{number}"}
        for number in range(3)
    ]
    (samples / "match.jsonl").write_text(json.dumps({"sequence": events}))
    (samples / "ignore.jsonl").write_text(json.dumps({"sequence": events[:2]}))

    assert "many" in call("explain", "many", folder).output
    assert "2 samples passed, 0 failed" in call("test", folder).output


def test_a_sample_file_with_another_name_is_not_left_out_silently(folder: Path) -> None:
    samples = folder / "samples" / "good"
    samples.mkdir(parents=True)
    (samples / "matches.jsonl").write_text("{}")
    (samples / "README.md").write_text("about these samples")

    result = call("test", folder)

    assert result.exit_code == 1
    assert f"{samples}/matches.jsonl:1:1: samples are in match.jsonl and ignore.jsonl" in result.output
    assert "README" not in result.output


def test_test_without_samples_says_where_it_looked(folder: Path) -> None:
    result = call("test", folder)

    assert result.exit_code == 2
    assert f"{folder}/samples" in result.output


@pytest.mark.parametrize("rule", BUILTIN_RULES, ids=lambda rule: rule.name)
def test_each_alert_has_a_rule_to_explain(folder: Path, rule: Rule) -> None:
    result = call("explain", rule.name, folder)

    assert result.exit_code == 0
    assert f"{rule.name}: {rule.title}" in result.output
    assert "built in\n" in result.output


def test_explain_says_how_rules_elsewhere_are_found(folder: Path) -> None:
    result = call("explain", "goud", folder)

    assert result.exit_code == 2
    assert "did you mean 'good'?" in result.output
    assert "stockade rules explain RULE DIR" in result.output


def test_check_of_one_rule(folder: Path) -> None:
    assert "1 rule is right" in call("check", folder / "good.yml").output
