"""The engine as a whole: one event in, effects out."""

import pytest

from monitor.engine.engine import Engine
from monitor.engine.parked import PARKED_MAX
from monitor.model.effects import DisableRule, EmitAlert, EmitEvent, TagCgroup
from monitor.model.events import (
    ContainerResolved,
    FileOpen,
    ProcessExec,
    ProcessExit,
    ServiceFailure,
)
from monitor.model.process import Context
from monitor.model.rule import Severity
from monitor.rules.ruleset import RuleSet
from tests.support import make

A = make.CONTAINER_ID
SHADOW = make.rule("shadow_read", severity=Severity.HIGH)
RULES = make.rule_set([(SHADOW, FileOpen, make.is_file("/shadow"))])


@pytest.fixture
def engine() -> Engine:
    made = make.engine(RULES)
    made.handle(make.cgroup_create(f"/docker/{A}", 50))
    made.handle(make.exec("/bin/cat", cgroup_id=50))
    made.handle(make.exec("/bin/cat", tgid=1_001))
    return made


def test_shadow_read_inside_a_container_is_detected(engine: Engine) -> None:
    effects = engine.handle(make.file_open("/etc/shadow", cgroup_id=50))

    assert [type(effect) for effect in effects] == [EmitEvent, EmitAlert]
    (alert,) = make.alerts(effects)
    assert [detection.rule for detection in alert.detections] == [SHADOW]
    assert alert.context.container is not None
    assert alert.context.container.id == A
    assert alert.context.image.name == "cat"
    assert alert.context.parent_image is not None
    assert alert.ancestors == ("/usr/bin/bash",)
    assert [(risk.subject, round(risk.score)) for risk in alert.risks] == [("container", 60), ("lineage", 60)]
    assert alert.repeats == 0


def test_every_matching_rule_is_in_the_alert() -> None:
    other = make.rule("other", severity=Severity.LOW, score=10)
    engine = make.engine(make.rule_set([(SHADOW, ProcessExec, lambda _: True), (other, ProcessExec, lambda _: True)]))
    (alert,) = make.alerts(engine.handle(make.exec()))

    assert [detection.rule.name for detection in alert.detections] == ["shadow_read", "other"]


def test_events_without_a_detection_are_streamed_only(engine: Engine) -> None:
    for event in (
        make.fork(tgid=1_002),
        make.exec(tgid=1_002),
        make.exec_failed(tgid=1_002),
        make.file_open(tgid=1_001),
        make.exit(tgid=1_002),
    ):
        assert [type(effect) for effect in engine.handle(event)] == [EmitEvent]


def test_the_walk_at_start_is_neither_streamed_nor_judged() -> None:
    engine = make.engine(make.rule_set([(SHADOW, ProcessExec, lambda _: True)]))
    assert engine.handle(make.exec(from_proc=True)) == []


def test_repeats_are_counted_and_told_with_the_next_alert(engine: Engine) -> None:
    shown = []
    for second in range(100, 171, 10):
        shown += make.alerts(engine.handle(make.file_open("/etc/shadow", cgroup_id=50, ktime_ns=second * make.SECOND)))

    assert [alert.repeats for alert in shown] == [0, 5]
    assert engine.stats()["suppressed"] == 6


def test_another_container_program_or_file_is_a_first_alert(engine: Engine) -> None:
    engine.handle(make.file_open("/etc/shadow", tgid=1_001))
    assert make.alerts(engine.handle(make.file_open("/etc/shadow", cgroup_id=50)))
    assert make.alerts(engine.handle(make.file_open("/backup/etc/shadow", tgid=1_001)))
    assert not make.alerts(engine.handle(make.file_open("/etc/shadow", tgid=1_001)))


def test_risk_that_crosses_the_threshold_is_told_once_until_it_has_fallen() -> None:
    rules = [make.rule(f"r{number}", score=50) for number in range(4)]
    engine = make.engine(make.rule_set([(rule, FileOpen, make.is_file(f"/{rule.name}")) for rule in rules]))
    engine.handle(make.exec("/bin/cat"))

    def names(*steps: tuple[str, float]) -> list[str]:
        return [
            name
            for path, second in steps
            for name in make.names(make.alerts(engine.handle(make.file_open(path, ktime_ns=int(second * make.SECOND)))))
        ]

    assert names(("/r0", 100), ("/r1", 101), ("/r2", 102), ("/r3", 103)) == ["r0", "r1", "r2", "risk_threshold", "r3"]
    assert names(("/r0", 100_000), ("/r1", 100_001), ("/r2", 100_002)) == ["r0", "r1", "r2", "risk_threshold"]


def test_a_rule_that_raises_is_disabled_once_and_told_once() -> None:
    def broken(context: Context) -> bool:
        raise ZeroDivisionError("oh")

    engine = make.engine(
        make.rule_set([(make.rule("broken"), ProcessExec, broken), (SHADOW, ProcessExec, lambda _: True)])
    )
    first = engine.handle(make.exec())
    second = engine.handle(make.exec(exec_id=3))

    assert [effect for effect in first if isinstance(effect, DisableRule)] == [
        DisableRule("id-of-broken", "ZeroDivisionError: oh")
    ]
    assert make.names(make.alerts(first)) == ["shadow_read", "service_failure"]
    assert [type(effect) for effect in second] == [EmitEvent]
    assert engine.stats()["rules.disabled"] == 1
    assert engine.disabled_rules == {"id-of-broken": "ZeroDivisionError: oh"}

    engine.replace_rules(RULES)
    assert engine.disabled_rules == {}


def test_a_correlation_is_told_about_the_event_that_completed_it() -> None:
    silent = make.rule("silent", generates_alert=False)
    many = make.correlation("event_count", silent, count=3)
    engine = make.engine(make.rule_set([(silent, FileOpen, make.is_file("/x"))], [many]))
    engine.handle(make.exec("/bin/cat"))
    found = [make.alerts(engine.handle(make.file_open("/x", ktime_ns=n * make.SECOND))) for n in range(101, 104)]

    assert [make.names(one) for one in found] == [[], [], ["event_count"]]
    assert found[2][0].detections[0].reason == "3 events within 60 s"


def test_two_groups_of_a_correlation_are_two_first_alerts() -> None:
    base = make.rule("base", generates_alert=False)
    many = make.correlation("event_count", base, count=2, group_by=(lambda c: c.event.path,))  # type: ignore[union-attr]
    engine = make.engine(make.rule_set([(base, FileOpen, lambda _: True)], [many]))
    engine.handle(make.exec("/bin/cat"))
    found = []
    for path in ("/a", "/b", "/a", "/b"):
        found += make.alerts(engine.handle(make.file_open(path)))

    assert make.names(found) == ["event_count", "event_count"]


def test_a_window_that_only_time_closes_alerts_at_a_tick() -> None:
    base = make.rule("base", generates_alert=False)
    few = make.correlation("event_count", base, count=2, operator="lt", seconds=10)
    engine = make.engine(make.rule_set([(base, ProcessExec, lambda _: True)], [few]))
    assert not make.alerts(engine.handle(make.exec()))

    assert make.names(make.alerts(engine.handle(make.tick(200 * make.SECOND)))) == ["event_count"]


def test_runtime_set_up_steps_neither_alert_nor_score() -> None:
    engine = make.engine(make.rule_set([(SHADOW, FileOpen, lambda _: True)]))
    engine.handle(make.cgroup_create(f"/docker/{A}", 50))
    engine.handle(make.exec("/usr/sbin/runc"))
    engine.handle(make.fork(tgid=1_001, parent_tgid=1_000, parent_start_boottime_ns=10_000, exec_id=2, cgroup_id=50))
    effects = engine.handle(make.file_open(tgid=1_001, cgroup_id=50))

    assert [type(effect) for effect in effects] == [EmitEvent]
    assert make.contexts(effects)[0].is_runtime_init
    assert engine.subjects(10) == []


# --- order of the rings -----------------------------------------------------------------------


def test_an_open_that_is_read_before_its_processs_exec_waits_for_it(engine: Engine) -> None:
    story = make.Story()
    cat = story.run(story.actor(), "/bin/cat")
    story.open(cat, "/etc/shadow")
    opened = story.events.pop()
    story.tick()

    assert engine.handle(opened) == []
    effects = make.play(engine, story.events)
    (alert,) = make.alerts(effects)
    assert alert.context.image.executable == "/bin/cat"
    assert alert.context.event == opened


def test_an_open_whose_exec_never_comes_is_judged_when_time_has_passed(engine: Engine) -> None:
    opened = make.file_open("/etc/shadow", tgid=7_777, ktime_ns=200 * make.SECOND)

    assert engine.handle(opened) == []
    assert engine.stats()["events.parked"] == 1
    effects = engine.handle(make.tick(201 * make.SECOND))
    assert make.names(make.alerts(effects)) == ["shadow_read"]
    assert make.alerts(effects)[0].context.image.executable == ""


def test_waiting_opens_are_bounded_and_none_is_dropped(engine: Engine) -> None:
    total = PARKED_MAX + 100
    effects = make.play(
        engine, (make.file_open("/x", tgid=7_777, ktime_ns=200 * make.SECOND + n) for n in range(total))
    )
    assert len(make.contexts(effects)) == 100
    effects = engine.handle(make.tick(300 * make.SECOND))
    assert len(make.contexts(effects)) == PARKED_MAX
    assert engine.stats()["events.parked_hurried"] == 100


# --- cgroups, ourselves -----------------------------------------------------------------------


def test_cgroups_are_tagged_and_containers_listed(engine: Engine) -> None:
    effects = engine.handle(make.cgroup_create("/system.slice/x.service", 60))
    assert effects == [TagCgroup(60, False)]  # type: ignore[arg-type]
    engine.handle(ContainerResolved(1, A, "web", "nginx", ()))
    assert [(one.id, one.name, one.pending) for one in engine.containers()] == [(A, "web", False)]


def test_a_loss_is_told_once_a_minute_for_each_cgroup_and_reason(engine: Engine) -> None:
    found = []
    for second in (100, 110, 120, 165):
        found += make.alerts(engine.handle(make.loss(5, ktime_ns=second * make.SECOND)))
    found += make.alerts(engine.handle(make.loss(7, ktime_ns=166 * make.SECOND, cgroup_id=50, reason="limited")))

    assert make.names(found) == ["events_lost"] * 3
    assert [alert.detections[0].reason for alert in found] == [
        "5 process_exec: the ring was full (host cgroup /)",
        "15 process_exec: the ring was full (host cgroup /)",
        f"7 process_exec: its cgroup exceeded its rate ({A[:12]})",
    ]
    assert found[2].context.container is not None
    assert engine.stats()["losses.records"] == 27


def test_what_cannot_be_attributed_is_nobodys_loss(engine: Engine) -> None:
    engine.handle(make.cgroup_create("/" + "deep/" * 100, 61))
    found = [make.alerts(engine.handle(make.loss(cgroup_id=number)))[0] for number in (0, 999_999, 61)]

    reasons = [alert.detections[0].reason.partition(" (")[2] for alert in found]
    assert reasons[:2] == ["not attributable to a cgroup)", "unknown cgroup 999999)"]
    assert reasons[2].startswith("host cgroup ...")
    assert len(reasons[2]) < 150
    assert [alert.context.container for alert in found] == [None] * 3


def test_a_container_that_has_ended_is_known_as_gone(engine: Engine) -> None:
    (container,) = engine.containers()
    assert not engine.is_gone(container)

    engine.handle(make.cgroup_remove(f"/docker/{A}", 50, ktime_ns=100 * make.SECOND))

    assert engine.containers() == [container]
    assert engine.is_gone(container)
    engine.handle(make.tick(200 * make.SECOND))
    assert engine.containers() == []


def test_a_failed_part_is_told_once_a_minute(engine: Engine) -> None:
    found = []
    for second in (100, 110, 161):
        found += make.alerts(engine.handle(ServiceFailure(second * make.SECOND, "stream", "socket gone")))
    found += make.alerts(engine.handle(ServiceFailure(161 * make.SECOND, "journal", "disk full")))

    assert [(alert.detections[0].reason, alert.repeats) for alert in found] == [
        ("stream: socket gone", 0),
        ("stream: socket gone", 1),
        ("journal: disk full", 0),
    ]


def test_a_failure_without_a_time_happens_now(engine: Engine) -> None:
    engine.handle(make.tick(500 * make.SECOND))
    (alert,) = make.alerts(engine.handle(ServiceFailure(0, "stream", "socket gone")))
    assert alert.ktime_ns == 500 * make.SECOND


def test_a_reload_keeps_tables_and_scores(engine: Engine) -> None:
    engine.handle(make.file_open("/etc/shadow", cgroup_id=50))
    before = [(risk.subject_id, risk.score) for risk in engine.subjects(5)]
    engine.replace_rules(RuleSet())

    assert [(risk.subject_id, risk.score) for risk in engine.subjects(5)] == before
    assert [one.id for one in engine.containers()] == [A]
    assert not make.alerts(engine.handle(make.file_open("/etc/shadow", cgroup_id=50)))


def test_ticks_expire_what_has_ended(engine: Engine) -> None:
    engine.handle(make.exit())
    key = make.exec().key
    assert not engine.process_exists(key)
    engine.handle(make.tick(131 * make.SECOND))
    assert engine.stats()["processes"] == 2


def test_exit_events_are_judged() -> None:
    engine = make.engine(make.rule_set([(SHADOW, ProcessExit, lambda c: c.event.signal == 11)]))  # type: ignore[union-attr]
    engine.handle(make.exec("/bin/cat"))
    assert make.names(make.alerts(engine.handle(make.exit(signal=11)))) == ["shadow_read"]


def test_the_same_events_give_the_same_effects() -> None:
    def run() -> list[object]:
        made = make.engine(RULES)
        story = make.Story()
        story.cgroup(f"/docker/{A}", 50)
        for _ in range(20):
            actor = story.exec(story.fork(story.actor(), cgroup_id=50), "/bin/cat")
            story.open(actor, "/etc/shadow")
            story.exit(actor)
        return [repr(effect) for effect in make.play(made, story.events)]

    assert run() == run()
