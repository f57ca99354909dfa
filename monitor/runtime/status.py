"""Fill the status document from the running service."""

import os
import time
from collections import Counter
from typing import Final

from monitor import __version__
from monitor.bpf.change_source import CALLS_TRACEPOINTS, HOOK_PROGRAMS, SOURCE_TEXTS
from monitor.bpf.sensors import (
    ACCESS_TRACEPOINTS,
    CGROUP_PROGRAMS,
    CONNECT_TRACEPOINTS,
    FAILED_EXEC_PROGRAMS,
    OPEN_TRACEPOINTS,
    OPEN_VARIANT_TEXTS,
    PROCESS_PROGRAMS,
)
from monitor.host.own_memory import read_own_memory
from monitor.model.events import Tick
from monitor.model.rule import Rule
from monitor.runtime.denial_status import build_denial_status, list_denial_notes
from monitor.runtime.service import FOREIGN_PIDS, Service
from monitor.sinks.console import ConsoleSink
from monitor.sinks.ecs_fill import KINDS
from monitor.sinks.status import (
    ContainerStatus,
    DroppedStatus,
    GuardsStatus,
    InactiveRule,
    LostStatus,
    RateMeter,
    RulesStatus,
    SelfStatus,
    SensorStatus,
    Status,
    StreamStatus,
    build_container,
    build_subject,
)
from monitor.sinks.stream import EventStream

SUBJECTS_SHOWN: Final = 10
CGROUPS_SHOWN: Final = 20
SAMPLE_EVERY_TICKS: Final = 2
LIMITED: Final = "limited"


_NOT_ASKED_FOR: Final = "no rule asks for it"


class StatusBuilder:
    """Takes samples for the rates, and builds the document when asked."""

    def __init__(self, service: Service, stream: EventStream, console: ConsoleSink | None) -> None:
        self._service = service
        self._stream = stream
        self._console = console
        self._meter = RateMeter()
        self._started_s = time.monotonic()
        self._ticks = 0
        self._cpu_sample = (self._started_s, time.process_time())
        self._cpu_percent = 0.0

    def on_tick(self) -> None:
        """Take a sample."""
        self._ticks += 1
        if self._ticks % SAMPLE_EVERY_TICKS:
            return
        now = time.monotonic()
        self._meter.observe(now, self._counts())
        if now - self._cpu_sample[0] > 5:
            used = time.process_time()
            self._cpu_percent = 100 * (used - self._cpu_sample[1]) / (now - self._cpu_sample[0])
            self._cpu_sample = (now, used)

    def build(self) -> dict[str, object]:
        """The document (docs/events.md)."""
        service, now = self._service, time.monotonic()
        parts, stats = service.parts, self._stream.stats()
        return Status(
            version=__version__,
            uptime_s=round(now - self._started_s, 1),
            kernel=os.uname().release,
            host_name=parts.origin.host_name,
            boot_id=parts.origin.boot_id,
            tier=service.denying.tier,
            guards=GuardsStatus(service.guarding.is_on, service.guarding.refused),
            mode=parts.settings.mode,
            hierarchy=f"{service.tagging.hierarchy.name} at {service.tagging.hierarchy.mount}",
            sensors=self._sensors(),
            rules=_rules_status(parts.authored.rules.rules, service.engine.disabled_rules),
            events=self._meter.rates(now, self._counts()),
            lost=self._lost(limited=False),
            limited=self._lost(limited=True),
            dropped=DroppedStatus(subscribers=stats.dropped, console=self._console.dropped if self._console else 0),
            stream=StreamStatus(stats.subscribers, stats.published, stats.history_records),
            engine=self._engine_counters(),
            subjects=tuple(build_subject(risk) for risk in service.engine.subjects(SUBJECTS_SHOWN)),
            containers=self._containers(),
            frozen=service.responses.list_frozen(),
            denial=build_denial_status(service.denying),
            own=SelfStatus(os.getpid(), *read_own_memory(), round(self._cpu_percent, 2)),
            notes=self._notes(),
        ).to_document()

    def _counts(self) -> dict[str, int]:
        events = self._service.pipeline.event_counts()
        counts = {KINDS[kind].action: count for kind, count in events.items() if kind is not Tick}
        counts["alert"] = int(self._service.engine.stats().get("alerts", 0))
        return counts

    def _engine_counters(self) -> dict[str, int | float]:
        counters = self._service.pipeline.counters
        return self._service.engine.stats() | {
            "own_events": self._service.sensors.read_own_events(),
            "hidden_opens": counters.hidden_opens,
            "decode_errors": counters.decode_errors,
            "sink_failures": counters.sink_failures,
            "tag_failures": counters.tag_failures,
        }

    def _sensors(self) -> dict[str, SensorStatus]:
        sensors = self._service.sensors
        attached = set(sensors.object.attached)
        opens = tuple(tracepoint for tracepoint in OPEN_TRACEPOINTS if tracepoint in attached)
        changes = tuple(link for link in (*HOOK_PROGRAMS, *CALLS_TRACEPOINTS) if link in attached)
        variant = sensors.file_variant
        return {
            "process": _sensor(PROCESS_PROGRAMS, attached),
            "cgroup": _sensor(CGROUP_PROGRAMS, attached),
            "failed_exec": _sensor(FAILED_EXEC_PROGRAMS, attached),
            "file_open": SensorStatus(bool(opens), opens, OPEN_VARIANT_TEXTS[variant] if opens else _NOT_ASKED_FOR),
            "file_change": SensorStatus(
                bool(changes), changes, SOURCE_TEXTS[sensors.change_source] if changes else _NOT_ASKED_FOR
            ),
            "process_access": _optional_sensor(ACCESS_TRACEPOINTS, attached),
            "connection": _optional_sensor(CONNECT_TRACEPOINTS, attached),
        }

    def _containers(self) -> tuple[ContainerStatus, ...]:
        engine = self._service.engine
        return tuple(build_container(container, is_gone=engine.is_gone(container)) for container in engine.containers())

    def _lost(self, *, limited: bool) -> LostStatus:
        by_type: Counter[str] = Counter()
        by_cgroup: Counter[str] = Counter()
        for (event_type, cgroup_id, reason), count in self._service.lost.items():
            if (reason == LIMITED) is limited:
                by_type[event_type] += count
                by_cgroup[self._service.loss_sources[cgroup_id]] += count
        return LostStatus(by_type.total(), dict(by_type), dict(by_cgroup.most_common(CGROUPS_SHOWN)))

    def _notes(self) -> tuple[str, ...]:
        service = self._service
        notes = list(list_denial_notes(service.denying))
        if service.silent_cpus:
            cpus = ", ".join(map(str, sorted(service.silent_cpus)))
            notes.append(f"CPU {cpus} delivers no events: restart the service")
        if service.guarding.obstacle:
            notes.append(f"{service.guarding.obstacle}: this service is not guarded")
        if missing := service.list_missing_sensors():
            notes.append(f"rules ask for what only a restart attaches: the sensors {', '.join(missing)}")
        if service.responses.save_error:
            notes.append(f"{service.responses.save_error}: after a crash what is frozen now stays frozen")
        if not service.sees_whole_host:
            notes.append(FOREIGN_PIDS)
        tagging = service.tagging
        if not tagging.hierarchy.is_whole:
            notes.append("only a part of the cgroup tree is visible: containers outside it show as the host")
        if tagging.replaced is not None:
            now, before = tagging.hierarchy.name, tagging.replaced.name
            notes.append(f"containers have cgroups of their own in {now}, not in {before}: seen when one ran")
        return tuple(notes)


def _optional_sensor(tracepoints: tuple[str, ...], attached: set[str]) -> SensorStatus:
    hooks = tuple(tracepoint for tracepoint in tracepoints if tracepoint in attached)
    return SensorStatus(bool(hooks), hooks, "" if hooks else _NOT_ASKED_FOR)


def _sensor(programs: tuple[str, ...], attached: set[str]) -> SensorStatus:
    hooks = tuple(name for name in programs if name in attached)
    return SensorStatus(len(hooks) == len(programs), hooks, "" if hooks else "no rule asks for it")


def _rules_status(rules: tuple[Rule, ...], disabled: dict[str, str]) -> RulesStatus:
    active = [rule for rule in rules if not rule.inactive_reason]
    names = {rule.id: rule.name for rule in rules}
    return RulesStatus(
        active=len(active),
        inactive=len(rules) - len(active),
        by_status=dict(Counter(rule.status for rule in active)),
        inactive_rules=tuple(InactiveRule(rule.name, rule.inactive_reason) for rule in rules if rule.inactive_reason),
        disabled=tuple(InactiveRule(names.get(rule_id, rule_id), reason) for rule_id, reason in disabled.items()),
    )
