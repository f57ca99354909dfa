"""Verdicts: first match per subject, mode, what may respond, cooldown, guardrails."""

from typing import Any

import pytest

from monitor.engine.engine import Engine
from monitor.engine.guardrails import GuardrailFacts
from monitor.model.alert import Verdict
from monitor.model.effects import Effect, Respond
from monitor.model.events import ContainerResolved, FileChange, FileOpen, ProcessExec, ProcessExecFailed
from monitor.model.ids import ProcessKey, Tgid
from monitor.model.rule import Severity
from monitor.rules.response import parse_responses
from tests.support import make

A = make.CONTAINER_ID
FREEZE = '- {when: {risk: ">= 50", subject: container}, then: freeze, for: 30m, cooldown: 5m}\n'
KILL = "- {when: {severity: high, subject: lineage}, then: kill}\n"


def make_engine(responses: str, mode: str = "enforce", **facts: Any) -> Engine:
    rule_facts = {
        key: facts.pop(key) for key in ("status", "response", "score", "severity", "rule_mode") if key in facts
    }
    if "rule_mode" in rule_facts:
        rule_facts["mode"] = rule_facts.pop("rule_mode")
    rule = make.rule("bad", **rule_facts)
    rules = make.rule_set(
        [
            (rule, ProcessExec, make.is_program("/bad")),
            (rule, FileOpen, make.is_file("/bad")),
            (rule, FileChange, make.is_file("/bad")),
        ]
    )
    made = make.engine(rules, mode=mode, responses=responses, **facts)
    made.handle(make.cgroup_create(f"/docker/{A}", 50))
    return made


def verdicts(effects: list[Effect]) -> list[Verdict]:
    return [verdict for alert in make.alerts(effects) for verdict in alert.verdicts]


def responses(effects: list[Effect]) -> list[str]:
    return [effect.verdict.action for effect in effects if isinstance(effect, Respond)]


def in_container(**facts: Any) -> ProcessExec:
    return make.exec("/bad", cgroup_id=50, **facts)


def test_risk_of_a_container_is_answered_as_the_policy_says() -> None:
    effects = make_engine(FREEZE).handle(in_container())

    assert verdicts(effects) == [
        Verdict("freeze", "enforce", "container", A, "risk 60.0 >= 50; response.yml:1:3", for_s=1_800)
    ]
    assert responses(effects) == ["freeze"]


def test_audit_says_what_it_would_have_done_and_does_nothing() -> None:
    effects = make_engine(FREEZE, mode="audit").handle(in_container())

    assert responses(effects) == []
    assert [(one.mode, one.action, one.reason) for one in verdicts(effects)] == [
        ("audit", "freeze", "would freeze: risk 60.0 >= 50; response.yml:1:3")
    ]


@pytest.mark.parametrize("rule_mode", ["", "enforce"])
def test_where_nothing_carries_responses_out_enforce_says_so(rule_mode: str) -> None:
    engine = make_engine(
        FREEZE, rule_mode=rule_mode, response="kill", status="stable", facts=GuardrailFacts(actions=frozenset())
    )
    effects = engine.handle(in_container())

    assert responses(effects) == []
    assert {(one.mode, one.action) for one in verdicts(effects)} == {("audit", "freeze"), ("audit", "kill")}
    assert all("but nothing here carries that out" in one.reason for one in verdicts(effects))


def test_what_can_be_carried_out_is_asked_of_each_action() -> None:
    """Isolation is said, though freezing is done; and a process of the host is no container."""
    isolate = "- {when: {severity: high, subject: lineage}, then: isolate}\n"
    engine = make_engine(FREEZE + isolate, status="stable", facts=GuardrailFacts(actions=frozenset({"freeze", "kill"})))
    effects = engine.handle(in_container())

    assert responses(effects) == ["freeze"]
    assert [one.reason for one in verdicts(effects) if one.action == "isolate"] == [
        "would isolate, but nothing here carries that out: bad matched; response.yml:2:3"
    ]
    engine = make_engine("", response="freeze", status="stable")
    (verdict,) = verdicts(engine.handle(make.exec("/bad", cgroup_id=make.HOST_CGROUP)))
    assert verdict.mode == "audit"
    assert verdict.reason.startswith("would freeze, but that can be done to a container only, and this is a process")


@pytest.mark.parametrize("status", ["experimental", "test", "deprecated"])
def test_only_stable_rules_may_respond(status: str) -> None:
    effects = make_engine(FREEZE + KILL, status=status, response="kill").handle(in_container())

    assert responses(effects) == []
    assert {one.mode for one in verdicts(effects)} == {"audit"}


def test_risk_that_rests_on_unproven_rules_does_not_act_through_a_stable_one() -> None:
    weak, strong = make.rule("weak", status="experimental"), make.rule("strong", score=10)
    rules = make.rule_set(
        [(weak, ProcessExec, make.is_program("/weak")), (strong, ProcessExec, make.is_program("/strong"))]
    )
    engine = make.engine(rules, mode="enforce", responses=FREEZE)
    engine.handle(make.cgroup_create(f"/docker/{A}", 50))
    effects = engine.handle(make.exec("/weak", cgroup_id=50))
    assert [(one.action, one.mode) for one in verdicts(effects)] == [("freeze", "audit")]
    effects = engine.handle(make.exec("/strong", cgroup_id=50, exec_id=3, ktime_ns=420 * make.SECOND))

    assert [(one.action, one.mode) for one in verdicts(effects)] == [("freeze", "audit")]
    assert responses(effects) == []


def test_what_was_only_said_does_not_silence_what_is_to_be_done() -> None:
    weak, strong = make.rule("weak", status="experimental"), make.rule("strong")
    rules = make.rule_set(
        [(weak, ProcessExec, make.is_program("/weak")), (strong, ProcessExec, make.is_program("/strong"))]
    )
    engine = make.engine(rules, mode="enforce", responses=FREEZE)
    engine.handle(make.cgroup_create(f"/docker/{A}", 50))
    assert responses(engine.handle(make.exec("/weak", cgroup_id=50))) == []
    assert responses(engine.handle(make.exec("/strong", cgroup_id=50, exec_id=3))) == ["freeze"]


def test_a_claimed_path_raises_the_score_and_never_responds() -> None:
    engine = make_engine(FREEZE, response="kill")
    effects = engine.handle(make.file_open("/bad", cgroup_id=50, is_path_claimed=True, errno=13))
    effects += engine.handle(make.tick(101 * make.SECOND))

    assert responses(effects) == []
    assert make.alerts(effects)[0].risks[0].score == pytest.approx(60, abs=0.1)


def test_a_change_by_name_never_responds_and_one_by_descriptor_may() -> None:
    claim = make.file_change("/bad", "chmod", cgroup_id=50)
    fact = make.file_change("/bad", "chmod", cgroup_id=50, inode=7, is_path_claimed=False)

    for event, expected in ((claim, []), (fact, ["freeze"])):
        engine = make_engine(FREEZE)
        effects = engine.handle(event) + engine.handle(make.tick(101 * make.SECOND))
        assert responses(effects) == expected
        assert make.alerts(effects)[0].risks[0].score == pytest.approx(60, abs=0.1)


def test_a_failed_exec_never_responds() -> None:
    rule = make.rule("bad", response="kill")
    engine = make.engine(make.rule_set([(rule, ProcessExecFailed, lambda _: True)]), mode="enforce", responses=FREEZE)
    effects = engine.handle(make.exec_failed("/bad"))

    assert [one.action for one in verdicts(effects)] == ["kill"]
    assert responses(effects) == []


def test_the_first_entry_that_matches_decides() -> None:
    listed = "- {when: {rule: bad, subject: container}, then: alert}\n" + FREEZE
    assert verdicts(make_engine(listed).handle(in_container())) == []


def test_each_subject_is_decided_for_itself() -> None:
    effects = make_engine(FREEZE + KILL).handle(in_container())

    assert [(one.subject, one.action) for one in verdicts(effects)] == [("container", "freeze"), ("lineage", "kill")]


def test_without_a_subject_it_is_the_container_or_else_the_lineage() -> None:
    policy = "- {when: {severity: high}, then: isolate}\n"
    assert [one.subject for one in verdicts(make_engine(policy).handle(in_container()))] == ["container"]
    assert [one.subject for one in verdicts(make_engine(policy).handle(make.exec("/bad")))] == ["lineage"]


def test_an_entry_is_silent_about_a_subject_while_it_cools_down() -> None:
    engine = make_engine(FREEZE)
    times = [0, 10, 200, 301, 310]
    found = [responses(engine.handle(make.later(in_container(exec_id=2 + n), s))) for n, s in enumerate(times)]

    assert found == [["freeze"], [], [], ["freeze"], []]


def test_a_policy_that_is_read_again_knows_which_entries_cool_down() -> None:
    engine = make_engine(FREEZE)

    def answer_to(policy: str, second: int) -> list[str]:
        engine.replace_responses(parse_responses(policy.encode(), "response.yml"))
        return responses(engine.handle(make.later(in_container(exec_id=2 + second), second)))

    assert answer_to(FREEZE, 0) == ["freeze"]
    assert answer_to(f"# the same\n- {{when: {{rule: another}}, then: kill}}\n{FREEZE}", 1) == [], (
        "wherever it stands in the file"
    )
    assert answer_to(FREEZE.replace("30m", "40m"), 2) == ["freeze"], "another entry"
    assert answer_to("[]\n", 400) == []


@pytest.mark.parametrize(("scope", "matches"), [("container", True), ("host", False), ("{container.id: xyz}", False)])
def test_a_scope_limits_an_entry(scope: str, matches: bool) -> None:
    policy = f"- {{when: {{severity: high, subject: container, scope: {scope}}}, then: freeze}}\n"
    assert bool(verdicts(make_engine(policy).handle(in_container()))) is matches


@pytest.mark.parametrize(
    ("condition", "matches"),
    [("high", True), ("medium", True), ("critical", False), ("== medium", False), ("<= high", True), ("< high", False)],
)
def test_severity_compares(condition: str, matches: bool) -> None:
    policy = f"- {{when: {{severity: '{condition}'}}, then: kill}}\n"
    assert bool(verdicts(make_engine(policy).handle(make.exec("/bad")))) is matches


def test_a_rules_own_response_is_about_the_process_and_its_mode_wins() -> None:
    effects = make_engine("", mode="audit", response="kill", rule_mode="enforce").handle(make.exec("/bad"))
    assert responses(effects) == ["kill"]
    assert [one.subject for one in verdicts(effects)] == ["process"]

    effects = make_engine("", mode="enforce", response="kill", rule_mode="audit").handle(make.exec("/bad"))
    assert responses(effects) == []


@pytest.mark.parametrize(
    ("service", "label", "responds"),
    [("audit", "enforce", True), ("enforce", "audit", True), ("audit", "audit", False), ("audit", "yes", False)],
)
def test_a_containers_label_only_makes_the_mode_stricter(service: str, label: str, responds: bool) -> None:
    engine = make_engine(FREEZE, mode=service)
    engine.handle(ContainerResolved(1, A, "web", "nginx", (("stockade.mode", label),)))

    assert bool(responses(engine.handle(in_container()))) is responds


def test_freezing_by_a_rule_is_about_the_container() -> None:
    found = verdicts(make_engine("", response="freeze").handle(in_container()))
    assert [(one.subject, one.subject_id) for one in found] == [("container", A)]


# --- guardrails -------------------------------------------------------------------------------


def guarded(engine: Engine, event: ProcessExec) -> list[tuple[str, str]]:
    effects = engine.handle(event)
    assert responses(effects) == []
    return [(one.action, one.weakened_by) for one in verdicts(effects)]


def test_the_first_process_is_left_alone() -> None:
    engine = make_engine("", response="kill")
    assert guarded(engine, make.exec("/bad", tgid=1, start_boottime_ns=1)) == [("alert", "the first process")]


def test_a_protected_file_is_known_by_inode_whatever_its_name() -> None:
    facts = GuardrailFacts(protected_files={(2_049, 31_337): "the admin's login path"})
    engine = make_engine("", response="kill", facts=facts)

    assert guarded(engine, make.exec("/bad", inode=31_337)) == [("alert", "the admin's login path")]
    assert responses(engine.handle(make.exec("/usr/sbin/sshd/bad", tgid=1_001))) == ["kill"]


@pytest.mark.parametrize("unit", ["ssh.service", "docker.service", "kubelet.service", "systemd-logind.service"])
def test_protected_units_are_left_alone(unit: str) -> None:
    engine = make_engine("", response="kill")
    engine.handle(make.cgroup_create(f"/system.slice/{unit}", 90))
    engine.handle(make.cgroup_create(f"/system.slice/{unit}/below", 91))

    for number, cgroup_id in enumerate((90, 91)):
        event = make.exec("/bad", tgid=3_000 + number, cgroup_id=cgroup_id)
        assert [action for action, _ in guarded(engine, event)] == ["alert"]


def test_a_lineage_is_protected_by_its_root() -> None:
    facts = GuardrailFacts(protected_files={(2_049, 31_337): "a container runtime"})
    engine = make_engine(KILL, facts=facts)
    story = make.Story()
    daemon = story.run(story.actor(1, 1), "/usr/bin/dockerd", inode=31_337)
    story.run(daemon, "/usr/bin/bad")
    effects = make.play(engine, story.events)

    assert [one.weakened_by for one in verdicts(effects)] == ["a container runtime"]
    assert responses(effects) == []


def test_guardrails_hold_only_outside_containers() -> None:
    facts = GuardrailFacts(protected_files={(2_049, 31_337): "a container runtime"})
    effects = make_engine("", response="kill", facts=facts).handle(in_container(inode=31_337))
    assert responses(effects) == ["kill"]


def test_our_own_processes_are_no_subject() -> None:
    own = ProcessKey(Tgid(1_000), 10_000)
    engine = make_engine(KILL, facts=GuardrailFacts(service_keys=frozenset({own})), severity=Severity.CRITICAL)
    assert engine.handle(make.exec("/bad")) == []
