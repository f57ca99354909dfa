"""Model events, rules and engines for tests of the pure parts.

The functions make one thing each with sensible facts; name what matters to the test.
A :class:`Story` makes a coherent run of events: processes that fork, execute, open
files and exit, with their keys, program numbers and times.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from monitor.config.settings import EngineSettings
from monitor.engine.engine import Engine
from monitor.engine.guardrails import GuardrailFacts
from monitor.model.alert import Alert
from monitor.model.container import Container
from monitor.model.effects import Effect, EmitAlert, EmitEvent
from monitor.model.events import (
    AnyEvent,
    CgroupAttach,
    CgroupCreate,
    CgroupRemove,
    Event,
    FileOpen,
    LossReport,
    Namespaces,
    ProcessExec,
    ProcessExecFailed,
    ProcessExit,
    ProcessFork,
    Tick,
)
from monitor.model.ids import CgroupId, ProcessKey, Tgid
from monitor.model.process import Context, Process, ProcessImage
from monitor.model.rule import Rule, Severity
from monitor.rules.response import ResponsePolicy, parse_responses
from monitor.rules.ruleset import CompiledCorrelation, CompiledRule, Getter, Predicate, RuleSet

SECOND = 1_000_000_000
HOST_CGROUP = 1
HOST_MOUNTS = 4_026_531_841
CONTAINER_ID = "c0ffee" * 10 + "beef"
CONTAINER_CGROUP = 4_242
BOOT_ID = "6b1f9d0e-0000-4000-8000-000000000000"
SHELL = ProcessKey(Tgid(900), 9_000)
"""The parent that events have unless told."""

_TASK = {
    "ktime_ns": 100 * SECOND,
    "cpu": 0,
    "sequence": 0,
    "cgroup_id": HOST_CGROUP,
    "tgid": 1_000,
    "start_boottime_ns": 10_000,
    "exec_id": 2,
    "uid": 0,
}


def _task(facts: dict[str, Any]) -> dict[str, Any]:
    merged = {**_TASK, **facts}
    return {"tid": merged["tgid"], **merged}


# --- events -------------------------------------------------------------------------------


def exec(executable: str = "/usr/bin/id", **facts: Any) -> ProcessExec:
    """A process runs a new program."""
    defaults: dict[str, Any] = {
        "executable": executable,
        "script": "",
        "args": (executable.rpartition("/")[2],),
        "args_truncated": False,
        "cwd": "/",
        "parent_tgid": SHELL.tgid,
        "parent_start_boottime_ns": SHELL.start_boottime_ns,
        "gid": 0,
        "euid": 0,
        "egid": 0,
        "login_uid": 0xFFFFFFFF,
        "session_id": 900,
        "tty": "",
        "cap_effective": 0,
        "cap_permitted": 0,
        "namespaces": Namespaces(mnt=HOST_MOUNTS, pid=4_026_531_836),
        "namespace_tgid": facts.get("tgid", _TASK["tgid"]),
        "inode": sum(map(ord, executable)) + 1,
        "device": 2_049,
        "link_count": 1,
    }
    return ProcessExec(**_task({**defaults, **facts}))


def fork(**facts: Any) -> ProcessFork:
    """A process was created; the task is the child."""
    parent = {
        "parent_tgid": SHELL.tgid,
        "parent_start_boottime_ns": SHELL.start_boottime_ns,
        "parent_exec_id": facts.get("exec_id", 1),
    }
    return ProcessFork(**_task({"exec_id": 1, **parent, **facts}))


def exit(**facts: Any) -> ProcessExit:
    """A process ended."""
    return ProcessExit(**_task({"exit_status": 0, "signal": 0, **facts}))


def exec_failed(path: str = "/usr/bin/none", errno: int = 2, **facts: Any) -> ProcessExecFailed:
    """An execve that was refused."""
    return ProcessExecFailed(**_task({"path_claimed": path, "errno": errno, **facts}))


def file_open(path: str = "/etc/passwd", **facts: Any) -> FileOpen:
    """A file was opened for reading."""
    defaults = {
        "path": path,
        "is_write": False,
        "is_read": True,
        "is_created": False,
        "flags": 0,
        "fd": 3,
        "errno": 0,
        "inode": 77,
        "device": 2_049,
        "file_mode": 0o100644,
        "link_count": 1,
    }
    return FileOpen(**_task({**defaults, **facts}))


def tick(ktime_ns: int) -> Tick:
    return Tick(ktime_ns)


def loss(count: int = 1, **facts: Any) -> LossReport:
    defaults = {
        "ktime_ns": 100 * SECOND,
        "cpu": 0,
        "event_type": "process_exec",
        "cgroup_id": HOST_CGROUP,
        "count": count,
        "reason": "ring_full",
    }
    return LossReport(**{**defaults, **facts})


def cgroup_create(path: str, cgroup_id: int, ktime_ns: int = 0) -> CgroupCreate:
    return CgroupCreate(ktime_ns, CgroupId(cgroup_id), path)


def cgroup_remove(path: str, cgroup_id: int, ktime_ns: int = 0) -> CgroupRemove:
    return CgroupRemove(ktime_ns, CgroupId(cgroup_id), path)


def cgroup_attach(path: str, cgroup_id: int, process: "Actor", ktime_ns: int = 0) -> CgroupAttach:
    return CgroupAttach(ktime_ns, CgroupId(cgroup_id), path, Tgid(process.tgid), process.start)


def container(container_id: str = CONTAINER_ID, **facts: Any) -> Container:
    """A docker container as its cgroup's path tells it."""
    defaults = {
        "runtime": "docker",
        "cgroup_id": CONTAINER_CGROUP,
        "cgroup_path": f"/docker/{container_id}",
        "pending": True,
    }
    return Container(container_id, **{**defaults, **facts})


def image(executable: str = "/usr/bin/id", **facts: Any) -> ProcessImage:
    event = exec(executable, **facts)
    line = " ".join(event.args)
    return ProcessImage(event, executable, executable.lower(), executable.rpartition("/")[2], line, line.lower())


def context(event: AnyEvent, *, container: Container | None = None, program: ProcessImage | None = None) -> Context:
    """An event with its surroundings, for what reads contexts."""
    program = program or (image(event.executable) if isinstance(event, ProcessExec) else image())
    key = ProcessKey(Tgid(getattr(event, "tgid", 0)), getattr(event, "start_boottime_ns", 0))
    process = Process(key, program, program.exec.exec_id, CgroupId(HOST_CGROUP), SHELL, None)
    return Context(event, process, program, None, container)


# --- rules --------------------------------------------------------------------------------


def rule(name: str = "test_rule", severity: Severity = Severity.HIGH, **facts: Any) -> Rule:
    """A stable rule; its id is made from its name."""
    defaults = {"id": f"id-of-{name}", "name": name, "title": name.replace("_", " "), "severity": severity}
    return Rule(**{**defaults, "status": "stable", "score": 60, **facts})


def is_program(suffix: str) -> Predicate:
    return lambda context: context.image.executable.endswith(suffix)


def is_file(suffix: str) -> Predicate:
    return lambda context: context.event.path.endswith(suffix)


def rule_set(
    rules: Iterable[tuple[Rule, type[Event], Predicate]] = (),
    correlations: Sequence[CompiledCorrelation] = (),
) -> RuleSet:
    """A set of (rule, event class, predicate)."""
    by_class: dict[type[Event], list[CompiledRule]] = {}
    listed = list(rules)
    for one, event_class, predicate in listed:
        by_class.setdefault(event_class, []).append(CompiledRule(one, predicate))
    every: dict[type[Event], Callable[[Context], Sequence[CompiledRule]]] = {
        kind: _always(found) for kind, found in by_class.items()
    }
    return RuleSet(
        tuple(one for one, _, _ in listed),
        enabled=tuple(compiled for found in by_class.values() for compiled in found),
        correlations=tuple(correlations),
        candidates=every,
    )


def _always(found: Sequence[CompiledRule]) -> Callable[[Context], Sequence[CompiledRule]]:
    return lambda _: found


def correlation(
    kind: str,
    *bases: Rule,
    seconds: float = 60,
    count: float = 3,
    operator: str = "gte",
    group_by: tuple[Getter, ...] = (),
    value_of: Getter | None = None,
    **facts: Any,
) -> CompiledCorrelation:
    own = rule(facts.pop("name", kind), is_correlation=True)
    return CompiledCorrelation(
        own,
        kind,
        tuple(base.id for base in bases),
        tuple(group_by for _ in bases),
        int(seconds * SECOND),
        operator,
        count,
        value_of,
        **facts,
    )


# --- engines ------------------------------------------------------------------------------


def engine(
    rules: RuleSet | None = None,
    *,
    mode: str = "audit",
    responses: str = "",
    facts: GuardrailFacts | None = None,
    **settings: Any,
) -> Engine:
    """An engine that knows the host's root cgroup and the parent that events have unless told."""
    policy = parse_responses(responses.encode(), "response.yml") if responses else ResponsePolicy()
    made = Engine(
        rules or RuleSet(), EngineSettings(**settings), mode=mode, responses=policy, boot_id=BOOT_ID, facts=facts
    )
    made.handle(cgroup_create("/", HOST_CGROUP))
    made.handle(
        exec("/usr/bin/bash", tgid=SHELL.tgid, start_boottime_ns=SHELL.start_boottime_ns, exec_id=1, from_proc=True)
    )
    return made


def alerts(effects: Iterable[Effect]) -> list[Alert]:
    return [effect.alert for effect in effects if isinstance(effect, EmitAlert)]


def contexts(effects: Iterable[Effect]) -> list[Context]:
    return [effect.context for effect in effects if isinstance(effect, EmitEvent)]


def names(found: Iterable[Alert]) -> list[str]:
    """The rules of alerts, leading rule of each."""
    return [alert.detections[0].rule.name for alert in found]


# --- stories ------------------------------------------------------------------------------


@dataclass
class Actor:
    """A process of a story."""

    tgid: int
    start: int
    exec_id: int
    cgroup_id: int
    uid: int = 0
    mounts: int = HOST_MOUNTS

    @property
    def key(self) -> ProcessKey:
        return ProcessKey(Tgid(self.tgid), self.start)


@dataclass
class Story:
    """Writes events down as they happen; each step takes a millisecond."""

    now_ns: int = 1_000 * SECOND
    events: list[AnyEvent] = field(default_factory=list)
    next_tgid: int = 2_000
    on_event: Callable[[AnyEvent], Any] | None = None

    def actor(self, tgid: int = SHELL.tgid, start: int = SHELL.start_boottime_ns, exec_id: int = 1) -> Actor:
        return Actor(tgid, start, exec_id, HOST_CGROUP)

    def tell(self, event: AnyEvent) -> AnyEvent:
        self.events.append(event)
        if self.on_event:
            self.on_event(event)
        return event

    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)

    def _facts(self, actor: Actor) -> dict[str, Any]:
        self.now_ns += SECOND // 1_000
        return {
            "ktime_ns": self.now_ns,
            "tgid": actor.tgid,
            "start_boottime_ns": actor.start,
            "exec_id": actor.exec_id,
            "cgroup_id": actor.cgroup_id,
            "uid": actor.uid,
        }

    def cgroup(self, path: str, cgroup_id: int) -> int:
        self.now_ns += SECOND // 1_000
        self.tell(cgroup_create(path, cgroup_id, self.now_ns))
        return cgroup_id

    def fork(self, parent: Actor, *, cgroup_id: int | None = None, tgid: int | None = None) -> Actor:
        self.next_tgid += 1
        self.now_ns += SECOND // 1_000
        child = replace_actor(parent, tgid=tgid or self.next_tgid, start=self.now_ns)
        if cgroup_id is not None:
            child.cgroup_id = cgroup_id
        facts = self._facts(child)
        self.tell(
            fork(
                **facts,
                parent_tgid=parent.tgid,
                parent_start_boottime_ns=parent.start,
                parent_exec_id=parent.exec_id,
            )
        )
        return child

    def exec(self, actor: Actor, executable: str, *args: str, **facts: Any) -> Actor:
        actor.exec_id += 1
        mounts = Namespaces(mnt=actor.mounts, pid=4_026_531_836)
        known = {**self._facts(actor), "args": (executable.rpartition("/")[2], *args), "namespaces": mounts}
        self.tell(exec(executable, **{**known, **facts}))
        return actor

    def run(self, parent: Actor, executable: str, *args: str, **facts: Any) -> Actor:
        """Fork and execute."""
        return self.exec(self.fork(parent), executable, *args, **facts)

    def move(self, actor: Actor, path: str, cgroup_id: int) -> None:
        self.now_ns += SECOND // 1_000
        actor.cgroup_id = cgroup_id
        self.tell(cgroup_attach(path, cgroup_id, actor, self.now_ns))

    def open(self, actor: Actor, path: str, **facts: Any) -> None:
        self.tell(file_open(path, **{**self._facts(actor), **facts}))

    def exit(self, actor: Actor) -> None:
        self.tell(exit(**self._facts(actor)))

    def tick(self) -> None:
        self.now_ns += SECOND // 1_000
        self.tell(tick(self.now_ns))


def replace_actor(actor: Actor, **changes: Any) -> Actor:
    known = {name: getattr(actor, name) for name in ("tgid", "start", "exec_id", "cgroup_id", "uid", "mounts")}
    return Actor(**{**known, **changes})


def play(made: Engine, events: Iterable[AnyEvent]) -> list[Effect]:
    """All effects of these events."""
    return [effect for event in events for effect in made.handle(event)]


def later(event: Any, seconds: float) -> Any:
    """The same event at another time."""
    return replace(event, ktime_ns=event.ktime_ns + int(seconds * SECOND))
