"""Rules that cannot fire here load, and say why."""

from pathlib import Path

import pytest

from tests.support.rule_texts import IDS, load_text, rule_text

CORRELATION = f"""\
title: Many
id: {IDS[90]}
level: high
correlation:
  type: event_count
  rules: [rule_0]
  timespan: 1m
  condition: {{gte: 5}}
"""


def reason(folder: Path, *texts: str, which: int = 0) -> str:
    return load_text(folder, *texts).rules[which].inactive_reason


def test_a_rule_of_another_system_is_not_judged_by_its_fields(tmp_path: Path) -> None:
    text = rule_text("sel: {Whatever|endswith: x}\ncondition: sel").replace("linux", "windows")

    assert reason(tmp_path, text) == "it is for product windows"


def test_expressions_of_another_system_need_not_be_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = rule_text("sel: {CommandLine|re: '(?=x)(?!y)'}\ncondition: sel").replace("linux", "windows")

    assert reason(tmp_path, text) == "it is for product windows"
    assert capfd.readouterr() == ("", ""), "RE2 logs what it refuses"


@pytest.mark.parametrize(
    ("logsource", "why"),
    [
        ("{product: linux, service: auditd}", "it is for service auditd: logs of services are not read"),
        ("{product: linux}", "its logsource names no category"),
        ("{category: dns_query}", "category dns_query: no DNS sensor"),
        ("{category: ps_script}", "category ps_script: no sensor delivers this category on Linux"),
        (
            "{product: linux, category: network_connection}",
            "category network_connection: no network sensor yet; Unix sockets are meant by network.transport: unix",
        ),
    ],
)
def test_log_sources_without_a_sensor(tmp_path: Path, logsource: str, why: str) -> None:
    text = rule_text("sel: {Image: x}\ncondition: sel")

    assert reason(tmp_path, text.replace("{product: linux, category: process_creation}", logsource)) == why


@pytest.mark.parametrize("item", ["network.transport: unix", "destination.address|endswith: /docker.sock"])
def test_a_rule_that_speaks_of_unix_sockets_is_active(tmp_path: Path, item: str) -> None:
    text = rule_text(f"sel: {{Image: x, {item}}}\ncondition: sel", category="network_connection")

    assert reason(tmp_path, text) == ""


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("DestinationIp: 10.0.0.1", "field DestinationIp: no network sensor yet"),
        ("process.hash.sha256: abc", "field process.hash.sha256: files are not hashed when they run"),
        ("'@timestamp|hour': 3", "field @timestamp: rules see no wall clock"),
        ("user.id|hour: 3", "rules see no wall clock"),
        ("IntegrityLevel: High", "field IntegrityLevel: a Windows field"),
    ],
)
def test_fields_without_a_sensor(tmp_path: Path, item: str, why: str) -> None:
    rules = load_text(tmp_path, rule_text(f"sel: {{{item}}}\ncondition: sel"))

    assert rules.rules[0].inactive_reason.startswith(why)
    assert rules.enabled == ()
    assert rules.needed_events == frozenset()


def test_a_correlation_of_an_inactive_rule_is_inactive(tmp_path: Path) -> None:
    base = rule_text("sel: {DestinationIp: 10.0.0.1}\ncondition: sel")

    rules = load_text(tmp_path, base, CORRELATION)

    assert rules.rules[1].inactive_reason == "rule rule_0 is inactive: field DestinationIp: no network sensor yet"
    assert rules.correlations == ()


def test_the_base_of_a_correlation_is_silent_unless_it_generates(tmp_path: Path) -> None:
    base = rule_text("sel: {Image: /x}\ncondition: sel")
    silent = load_text(tmp_path, base, CORRELATION)
    generating = load_text(tmp_path, base, CORRELATION.replace("  timespan", "  generate: true\n  timespan"))

    assert [rule.generates_alert for rule in silent.rules] == [False, True]
    assert [rule.generates_alert for rule in generating.rules] == [True, True]


def test_facts_of_a_rule(tmp_path: Path) -> None:
    extra = """\
    name: known
    status: stable
    tags: [attack.execution, attack.t1059]
    description: What it is.
    falsepositives: [Some.]
    stockade: {response: kill, mode: enforce, score: 7, on_truncated: alert}
    """
    rules = load_text(tmp_path, rule_text("sel: {Image: /x}\ncondition: sel", extra=extra))
    rule = rules.rules[0]

    assert (rule.name, rule.severity.label, rule.status, rule.score) == ("known", "high", "stable", 7)
    assert (rule.response, rule.mode, rule.on_truncated) == ("kill", "enforce", "alert")
    assert rule.tags == ("attack.execution", "attack.t1059")
    assert rule.false_positives == ("Some.",)
    assert rule.location == (str(tmp_path / "rule_0.yml"), 1, 1)


def test_a_missing_level_and_an_unused_selection_are_warned_of(tmp_path: Path) -> None:
    text = rule_text("sel: {Image: /x}\nother: {Image: /y}\ncondition: sel").replace("level: high\n", "")

    rules = load_text(tmp_path, text)

    assert [warning.message for warning in rules.warnings] == [
        "the rule has no level: medium is taken",
        "selection 'other' is not used in the condition",
    ]
    assert rules.rules[0].score == 30


def test_several_documents_in_a_file_have_names_of_their_own(tmp_path: Path) -> None:
    one = rule_text("sel: {Image: /x}\ncondition: sel")

    rules = load_text(tmp_path, one + "---\n" + one.replace(IDS[0], IDS[1]))

    assert [rule.name for rule in rules.rules] == ["rule_0", "rule_0_2"]


def test_files_that_are_no_rules_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "response.yml").write_text("- a list\n")
    (tmp_path / ".hidden.yml").write_text("- a list\n")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "rule.yaml").write_text(rule_text("sel: {Image: /x}\ncondition: sel"))

    assert [rule.name for rule in load_text(tmp_path).rules] == ["rule"]


def test_a_correlation_of_another_systems_rules_is_inactive_as_they_are(tmp_path: Path) -> None:
    base = f"""\
title: Failed logon
id: {IDS[1]}
level: low
logsource: {{product: linux, service: sshd}}
detection:
  keywords: [failed password]
  selection: {{user_name|contains: root, client_ip|exists: true}}
  private: {{client_ip|cidr: [10.0.0.0/8, 'fc00::/7']}}
  condition: keywords and selection and not private
"""
    correlation = f"""\
title: Brute force
id: {IDS[2]}
level: medium
correlation:
  type: event_count
  rules: [{IDS[1]}]
  group-by: [client_ip, host]
  timespan: 15m
  condition: {{gte: 50}}
"""
    why = "it is for service sshd: logs of services are not read"

    assert reason(tmp_path, base, correlation) == why
    assert reason(tmp_path, base, correlation, which=1) == f"rule rule_0 is inactive: {why}"


@pytest.mark.parametrize(
    ("detection", "scope", "warned"),
    [
        ("sel: {container.id|exists: true}\ncondition: sel", "host", True),
        ("sel: {container.name: web}\ncondition: sel", "host", True),
        ("sel: {container.name: web}\ncondition: not sel", "host", False),
        ("sel: {Image|endswith: /sh}\ncondition: sel and not sel", "any", True),
        ("sel: {Image|endswith: /sh}\ncondition: sel", "host", False),
        ("sel: {container.name: web}\ncondition: sel", "container", False),
    ],
)
def test_a_rule_that_can_never_match_is_warned_of(tmp_path: Path, detection: str, scope: str, warned: bool) -> None:
    rules = load_text(tmp_path, rule_text(detection, extra=f"stockade: {{scope: {scope}}}\n"))

    assert ["never both hold" in warning.message for warning in rules.warnings] == [True] * warned
