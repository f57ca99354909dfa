"""Whatever the events say: no exception, no table beyond its bound."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.engine.guardrails import GuardrailFacts
from monitor.model.events import (
    AnyEvent,
    CgroupAttach,
    ContainerResolved,
    FileOpen,
    ProcessExec,
    ResponseFailed,
    ServiceFailure,
)
from monitor.model.ids import ProcessKey, Tgid
from monitor.rules.ruleset import RuleSet
from tests.support import make

SMALL = {
    "processes_max": 12,
    "earlier_images_bytes": 6_000,
    "containers_max": 4,
    "subjects_max": 5,
    "contributions_max": 4,
    "suppress_max": 6,
    "correlation_groups_max": 3,
    "correlation_events_max": 8,
}
IDS = ["a1" * 32, "b2" * 32, "c3" * 32]
PATHS = [
    "/",
    "",
    "/system.slice/cron.service",
    "/web",
    "/web/sub",
    "/a/web",
    *(f"/docker/{one}" for one in IDS),
    f"/docker/{IDS[0]}/docker/{IDS[1]}",
    f"/kubepods/pod{'0' * 32}/{IDS[2]}",
]
PROGRAMS = ["/usr/sbin/runc", "/bin/sh", "/memfd:x", "", "/bad", "/BAD/Two", "x" * 2_000, "\\xff\n\x1b[31m", "\udcff"]

small = st.integers(0, 6)
times = st.integers(0, 120).map(lambda s: s * make.SECOND)


def build_failure(facts: dict[str, Any], text: str, path: str, flag: bool) -> AnyEvent:
    if not flag:
        return ServiceFailure(facts["ktime_ns"], text, path)
    place = IDS[facts["cpu"] % 3]
    return ResponseFailed(facts["ktime_ns"], text, place, place, text, text, action=text, error=path)


def build(kind: str, facts: dict[str, Any], text: str, path: str, flag: bool) -> AnyEvent:
    tasks = {**facts, "start_boottime_ns": facts["start_boottime_ns"] % 4}
    parent = {"parent_tgid": facts["uid"], "parent_start_boottime_ns": facts["sequence"] % 4}
    match kind:
        case "fork":
            return make.fork(**tasks, **parent, parent_exec_id=facts["exec_id"])
        case "exec":
            return make.exec(text, **tasks, **parent, args=(text, path), is_memfd=flag, from_proc=flag, script=path)
        case "exit":
            return make.exit(**tasks)
        case "failed":
            return make.exec_failed(text, **tasks)
        case "open":
            return make.file_open(text, **tasks, is_path_claimed=flag)
        case "create":
            return make.cgroup_create(path, facts["cgroup_id"], facts["ktime_ns"])
        case "remove":
            return make.cgroup_remove(path, facts["cgroup_id"], facts["ktime_ns"])
        case "attach":
            return CgroupAttach(facts["ktime_ns"], facts["cgroup_id"], path, facts["tgid"], tasks["start_boottime_ns"])
        case "resolved":
            return ContainerResolved(facts["ktime_ns"], IDS[facts["cpu"] % 3], text, text, ((text, text),))
        case "loss":
            return make.loss(facts["cpu"], ktime_ns=facts["ktime_ns"], cgroup_id=facts["cgroup_id"], reason=text)
        case "failure":
            return build_failure(facts, text, path, flag)
        case _:
            return make.tick(facts["ktime_ns"])


KINDS = ["fork", "exec", "exit", "failed", "open", "create", "remove", "attach", "resolved", "loss", "failure", "tick"]
FACTS = st.fixed_dictionaries(
    {
        "ktime_ns": times,
        "cpu": small,
        "sequence": small,
        "cgroup_id": small,
        "tgid": st.integers(0, 30),
        "start_boottime_ns": small,
        "exec_id": small,
        "uid": st.sampled_from([0, 1, 2, 1_000]),
    }
)
EVENTS = st.builds(
    build, st.sampled_from(KINDS), FACTS, st.sampled_from(PROGRAMS), st.sampled_from(PATHS), st.booleans()
)


def rules() -> RuleSet:
    one, two = make.rule("one", response="kill"), make.rule("two", status="experimental", generates_alert=False)

    def by_tgid(context: Any) -> int:
        return int(context.event.tgid)

    def name_of(context: Any) -> str:
        return str(context.image.name)

    def raises(context: Any) -> bool:
        if context.image.name == "Two":
            raise RuntimeError
        return False

    return make.rule_set(
        [
            (one, ProcessExec, make.is_program("bad")),
            (two, FileOpen, lambda context: True),
            (make.rule("raises"), ProcessExec, raises),
        ],
        [
            make.correlation("event_count", two, one, count=2, group_by=(by_tgid,)),
            make.correlation("value_count", two, count=2, value_of=name_of, name="values"),
            make.correlation("temporal_ordered", two, one, count=2, name="ordered"),
            make.correlation("event_count", two, count=2, operator="lt", seconds=5, name="few"),
        ],
    )


POLICY = """
- {when: {risk: ">= 50", subject: container}, then: freeze, cooldown: 1m}
- {when: {severity: high}, then: kill}
"""


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EVENTS, max_size=80), st.sampled_from(["audit", "enforce"]))
def test_no_event_raises_and_no_table_grows_beyond_its_bound(events: list[AnyEvent], mode: str) -> None:
    facts = GuardrailFacts(service_keys=frozenset({ProcessKey(Tgid(7), 1)}))
    engine = make.engine(rules(), mode=mode, responses=POLICY, facts=facts, **SMALL)
    for event in events:
        engine.handle(event)
        stats = engine.stats()
        assert stats["processes"] <= 12
        assert stats["cgroups"] <= 16
        assert stats["containers"] <= 4
        assert stats["subjects"] <= 5
        assert stats["suppressions"] <= 6
        assert stats["correlation_groups"] <= 4 * 3
        assert all(len(risk.contributions) <= 4 and 0 <= risk.score <= 100 for risk in engine.subjects(10))
    assert engine.stats()["events.total"] == len(events) + 2


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_an_engine_is_deterministic(events: list[AnyEvent]) -> None:
    def run() -> list[str]:
        engine = make.engine(rules(), responses=POLICY, **SMALL)
        return [repr(effect) for event in events for effect in engine.handle(event)]

    assert run() == run()
