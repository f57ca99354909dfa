"""The engine: enrich, detect, score, decide. ``handle(event)`` gives what the runtime is to do.

Pure and deterministic: the same events give the same effects. Time is the events'
(``Tick`` when nothing else happens); text is never trusted; every table is bounded.
Each step is a module of its own; here is only their order, the alerts that they
lead to, and the counters.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from msgspec.structs import replace

from monitor.config.settings import EngineSettings
from monitor.engine.alerts import AlertWriter
from monitor.engine.builtin_rules import CONTAINER_LEFT, EVENTS_LOST, GUARD_REFUSED, RESPONSE_FAILED, SERVICE_FAILURE
from monitor.engine.containers import ContainerTable
from monitor.engine.correlate import Correlated, Correlator
from monitor.engine.decide import Decider
from monitor.engine.denied import KILL, Policies, index_rules
from monitor.engine.detect import Detector
from monitor.engine.enrich import Enricher
from monitor.engine.guardrails import GuardrailFacts
from monitor.engine.images import EMPTY_IMAGE
from monitor.engine.kinship import find_born_of, find_lineage_members, find_strays
from monitor.engine.losses import LossLedger, name_source
from monitor.engine.parked import SLACK_NS, Parked
from monitor.engine.processes import ProcessTable, Row
from monitor.engine.score import Scores
from monitor.engine.suppress import Suppressor
from monitor.model.alert import Detection, Risk
from monitor.model.container import Container
from monitor.model.effects import DisableRule, Effect, EmitEvent
from monitor.model.events import (
    AnyEvent,
    AnyResponse,
    BulkEvent,
    CgroupAttach,
    CgroupCreate,
    CgroupRemove,
    ContainerFrozen,
    ContainerKilled,
    ContainerResolved,
    ContainerThawed,
    Denial,
    Event,
    FileChange,
    FileOpen,
    GuardRefused,
    LossReport,
    NetworkConnection,
    PolicyChange,
    ProcessAccess,
    ProcessesKilled,
    ProcessExec,
    ProcessExecFailed,
    ProcessExit,
    ProcessFork,
    ResponseFailed,
    ServiceFailure,
    Tick,
)
from monitor.model.ids import CgroupId, ProcessKey, Tgid
from monitor.model.process import Context, Process
from monitor.model.rule import Rule
from monitor.rules.response import ResponsePolicy
from monitor.rules.ruleset import RuleSet

EXPIRE_BUDGET: Final = 1_024
"""Rows of each table that one tick may forget: a tick never takes long."""
_NS: Final = 1_000_000_000
_BULK_EVENTS: Final = frozenset({FileOpen, FileChange, ProcessAccess, NetworkConnection})
_NOBODY: Final = Row(ProcessKey(Tgid(0), 0), EMPTY_IMAGE, 0, CgroupId(0), None, None)
"""Whom an event without a task is about."""


class Engine:
    """See the module. ``mode`` is ``audit`` or ``enforce``; ``boot_id`` goes into entity ids."""

    def __init__(
        self,
        rules: RuleSet,
        settings: EngineSettings,
        *,
        mode: str,
        responses: ResponsePolicy,
        boot_id: str,
        facts: GuardrailFacts | None = None,
    ) -> None:
        keep_ns = int(settings.exited_keep_s * _NS)
        self._processes = ProcessTable(settings.processes_max, settings.earlier_images_bytes, keep_ns)
        self._containers = ContainerTable(settings.containers_max, keep_ns)
        self._enricher = Enricher(self._processes, self._containers, facts or GuardrailFacts(), boot_id=boot_id)
        self._detector = Detector(rules)
        self._correlator = Correlator(rules, settings)
        self._scores = Scores(settings)
        self._decider = Decider(responses, mode)
        self._suppressor = Suppressor(int(settings.suppress_s * _NS), settings.suppress_max)
        self._alerts = AlertWriter(
            enricher=self._enricher,
            containers=self._containers,
            scores=self._scores,
            decider=self._decider,
            suppressor=self._suppressor,
            settings=settings,
            boot_id=boot_id,
        )
        self._policies = Policies()
        self._rules = index_rules(rules.rules)
        self._losses = LossLedger()
        self._parked = Parked()
        self._now_ns = 0
        self._urgent_ns = 0
        self._counts: dict[type[Event], int] = dict.fromkeys(self._build_handlers(), 0)
        self._handlers = self._build_handlers()
        self._detections = 0
        self._rules_disabled = 0
        self._service_events = 0

    def _build_handlers(self) -> dict[type[Event], Callable[[Any, list[Effect]], None]]:
        return {
            ProcessFork: self._on_fork,
            ProcessExec: self._on_exec,
            ProcessExecFailed: self._on_exec_failed,
            ProcessExit: self._on_exit,
            FileOpen: self._on_bulk,
            FileChange: self._on_bulk,
            ProcessAccess: self._on_bulk,
            NetworkConnection: self._on_bulk,
            Denial: self._on_denial,
            PolicyChange: self._on_policy_change,
            CgroupCreate: self._on_cgroup_create,
            CgroupRemove: self._on_cgroup_remove,
            CgroupAttach: self._on_cgroup_attach,
            ContainerResolved: self._on_container_resolved,
            LossReport: self._on_loss,
            ServiceFailure: self._on_service_failure,
            GuardRefused: self._on_guard_refused,
            ContainerFrozen: self._on_response,
            ContainerThawed: self._on_response,
            ContainerKilled: self._on_response,
            ProcessesKilled: self._on_response,
            ResponseFailed: self._on_response_failed,
            Tick: self._on_tick,
        }

    # --- what the runtime calls ---------------------------------------------------------------

    def handle(self, event: AnyEvent) -> list[Effect]:
        """Take in one event; what is to be done about it, in order. Never raises for what an event contains."""
        effects: list[Effect] = []
        kind = type(event)
        self._counts[kind] += 1
        ktime_ns = event.ktime_ns
        if ktime_ns > self._now_ns:  # noqa: PLR1730  # max() costs four times as much, on every event
            self._now_ns = ktime_ns
        self._handlers[kind](event, effects)
        if kind not in _BULK_EVENTS and ktime_ns > self._urgent_ns:
            self._urgent_ns = ktime_ns
            if ktime_ns >= self._parked.due_ktime_ns:
                self._release(effects)
        return effects

    def replace_rules(self, rules: RuleSet) -> None:
        """Use another load of rules from now on. Tables, scores and unchanged correlations keep what they have."""
        self._detector = Detector(rules)
        self._rules = index_rules(rules.rules)
        self._correlator.replace_rules(rules)

    def replace_responses(self, responses: ResponsePolicy) -> None:
        """Use another response policy from now on."""
        self._decider.policy = responses

    def replace_facts(self, facts: GuardrailFacts) -> None:
        """Take what the host found out; tasks of ours that are in the table already are marked too."""
        self._enricher.facts = facts
        for key in facts.service_keys:
            if (row := self._processes.find(*key)) is not None:
                row.is_service = True

    def stats(self) -> dict[str, int | float]:
        """Counters since the start, and sizes of the tables now."""
        stats: dict[str, int | float] = {f"events.{kind.__name__}": count for kind, count in self._counts.items()}
        stats["events.total"] = sum(self._counts.values())
        stats |= {
            "detections": self._detections,
            "alerts": self._alerts.shown,
            "alerts.risk": self._alerts.risk_alerts,
            "verdicts": self._alerts.verdicts,
            "verdicts.weakened": self._decider.weakened,
            "suppressed": self._suppressor.held,
            "suppressed.untold": self._suppressor.untold,
            "rules.disabled": self._rules_disabled,
            "events.own": self._service_events,
            "events.parked": len(self._parked),
            "events.parked_hurried": self._parked.hurried,
            "events.unknown_cgroup": self._enricher.unknown_cgroups,
            "losses.records": self._losses.records,
        }
        return stats | self._table_stats()

    def _table_stats(self) -> dict[str, int | float]:
        return {
            "processes": len(self._processes),
            "processes.evicted": self._processes.evicted,
            "processes.exited_early": self._processes.exited_early,
            "processes.exits_lost": self._processes.exits_lost,
            "processes.placeholders": self._processes.placeholders,
            "processes.images_cut": self._processes.images_cut,
            "processes.images_forgotten": self._processes.images_forgotten,
            "cgroups": len(self._containers),
            "cgroups.evicted": self._containers.cgroups_evicted,
            "containers": self._containers.container_count,
            "containers.evicted": self._containers.containers_evicted,
            "subjects": len(self._scores),
            "subjects.evicted": self._scores.evicted,
            "contributions.evicted": self._scores.hits_evicted,
            "suppressions": len(self._suppressor),
            "suppressions.evicted": self._suppressor.evicted,
            "correlation_groups": self._correlator.group_count,
            "correlation_groups.evicted": self._correlator.groups_evicted,
            "correlation_events.evicted": self._correlator.events_evicted,
            "cooldowns": len(self._decider),
            "cooldowns.evicted": self._decider.evicted,
            "losses": len(self._losses),
        }

    def subjects(self, limit: int) -> list[Risk]:
        """The containers and lineages with most risk now, highest first."""
        return self._scores.top(limit, self._now_ns)

    def containers(self) -> list[Container]:
        """Containers known now, those that ended within the last seconds too."""
        return self._containers.containers()

    def find_container(self, container_id: str) -> Container | None:
        """Look up a container by its full id."""
        return self._containers.find_container(container_id)

    def find_container_of(self, cgroup_id: CgroupId) -> Container | None:
        """The container that a cgroup belongs to, as far as it is known."""
        cgroup = self._containers.find_cgroup(cgroup_id)
        return None if cgroup is None else cgroup.container

    def list_cgroups(self) -> Iterator[tuple[CgroupId, bool]]:
        """All cgroups that are known, and whether each is a container's."""
        return self._containers.list_cgroups()

    def is_gone(self, container: Container) -> bool:
        """Whether a container that is still known has ended."""
        return self._containers.is_gone(container)

    def find_lineage_members(self, context: Context) -> list[ProcessKey]:
        """The processes that answer together with this one: where killing its lineage begins."""
        return find_lineage_members(self._processes, context.process)

    def find_strays(self, container: Container) -> list[ProcessKey]:
        """Processes of a container that have left its cgroup."""
        return find_strays(self._processes, self._containers, container)

    def find_born_of(self, keys: Iterable[ProcessKey]) -> list[tuple[ProcessKey, ProcessKey]]:
        """Processes that live and descend from these, each with the one of these that it descends from."""
        return find_born_of(self._processes, keys)

    def name_loss_source(self, cgroup_id: CgroupId) -> str:
        """Whose records were lost, as far as it is known now. Hostile text."""
        return name_source(cgroup_id, self._containers.find_cgroup(cgroup_id))

    def is_host_cgroup(self, cgroup_id: CgroupId) -> bool:
        """Whether no container is known for this cgroup."""
        cgroup = self._containers.find_cgroup(cgroup_id)
        return cgroup is None or cgroup.container is None

    def process_exists(self, key: ProcessKey) -> bool:
        """Whether this life of this pid is known and has not ended."""
        row = self._processes.find(key.tgid, key.start_boottime_ns)
        return row is not None and not row.exited_ktime_ns

    def find_process(self, tgid: int, start_boottime_ns: int, within_ns: int) -> Process | None:
        """The life of a pid that began then or within that time after it, as exactly as ``/proc`` says."""
        return self._processes.find_around(tgid, start_boottime_ns, within_ns)

    def find_cgroup_id(self, path: str) -> CgroupId | None:
        """The cgroup at a path below its hierarchy's root."""
        return self._containers.find_cgroup_id(path)

    @property
    def disabled_rules(self) -> dict[str, str]:
        """Rules that raised since the last load: id -> why."""
        return self._detector.disabled | self._correlator.disabled

    # --- tasks --------------------------------------------------------------------------------

    def _on_fork(self, event: ProcessFork, effects: list[Effect]) -> None:
        context = self._enricher.fork(event, effects)
        if context.process.is_service:
            self._service_events += 1
            return
        effects.append(EmitEvent(context))

    def _on_exec(self, event: ProcessExec, effects: list[Effect]) -> None:
        context = self._enricher.exec(event, effects)
        if not event.from_proc:
            self._judge(context, effects)

    def _on_exec_failed(self, event: ProcessExecFailed, effects: list[Effect]) -> None:
        self._judge(self._enricher.attempt(event), effects)

    def _on_exit(self, event: ProcessExit, effects: list[Effect]) -> None:
        self._judge(self._enricher.exit(event), effects)

    def _on_bulk(self, event: BulkEvent, effects: list[Effect]) -> None:
        context = self._enricher.bulk(event, is_last_call=event.ktime_ns + SLACK_NS <= self._urgent_ns)
        if context is not None:
            self._judge(context, effects)
        elif (hurried := self._parked.add(event)) is not None:
            self._judge_late(hurried, effects)

    def _release(self, effects: list[Effect]) -> None:
        while (event := self._parked.take(self._urgent_ns)) is not None:
            self._judge_late(event, effects)

    def _judge_late(self, event: BulkEvent, effects: list[Effect]) -> None:
        context = self._enricher.bulk(event, is_last_call=True)
        if context is not None:
            self._judge(context, effects)

    def _judge(self, context: Context, effects: list[Effect]) -> None:
        """Show the event and ask the rules about it, unless it is our own or a runtime's set-up step."""
        if context.process.is_service:
            self._service_events += 1
            return
        effects.append(EmitEvent(context))
        if context.is_runtime_init:
            return
        failures: list[tuple[Rule, str]] = []
        detections = self._detector.detect(context, failures)
        if detections:
            self._conclude(context, detections, failures, effects)
        if failures:
            self._disable(failures, context.event.ktime_ns, effects)

    def _conclude(
        self, context: Context, detections: Sequence[Detection], failures: list[tuple[Rule, str]], effects: list[Effect]
    ) -> None:
        correlated = self._correlator.feed(detections, failures)
        self._detections += len(detections) + len(correlated)
        self._alerts.write(context, detections, correlated, self._now_ns, effects)

    def _disable(self, failures: list[tuple[Rule, str]], ktime_ns: int, effects: list[Effect]) -> None:
        for rule, reason in failures:
            self._rules_disabled += 1
            effects.append(DisableRule(rule.id, reason))
            failure = ServiceFailure(ktime_ns, f"rule {rule.name}", f"disabled until the next reload: {reason}")
            self._on_service_failure(failure, effects)

    # --- denials ------------------------------------------------------------------------------

    def _on_denial(self, event: Denial, effects: list[Effect]) -> None:
        rules = self._policies.find_rules(event, self._rules.get)
        if not rules:
            self._service_events += 1
            return
        context = self._enricher.attempt(replace(event, rules=tuple(rule.name for rule in rules)))
        effects.append(EmitEvent(context))
        if event.tier != KILL or event.is_known_file:  # else its exec was seen, and is judged
            self._conclude(context, [Detection(rule, context) for rule in rules], [], effects)

    def _on_policy_change(self, event: PolicyChange, effects: list[Effect]) -> None:
        self._policies.change(event)

    # --- cgroups and containers ---------------------------------------------------------------

    def _on_cgroup_create(self, event: CgroupCreate, effects: list[Effect]) -> None:
        self._containers.create(event.cgroup_id, event.path, effects)

    def _on_cgroup_remove(self, event: CgroupRemove, effects: list[Effect]) -> None:
        self._containers.remove(event.cgroup_id, event.ktime_ns, effects)

    def _on_cgroup_attach(self, event: CgroupAttach, effects: list[Effect]) -> None:
        context = self._enricher.attach(event, effects)
        if context is not None and not context.process.is_service:
            reason = f"moved to {event.path}"
            self._detections += 1
            self._alerts.write(context, [Detection(CONTAINER_LEFT, context, reason)], [], self._now_ns, effects)

    def _on_container_resolved(self, event: ContainerResolved, effects: list[Effect]) -> None:
        self._containers.resolve(event)

    # --- ourselves ----------------------------------------------------------------------------

    def _on_loss(self, event: LossReport, effects: list[Effect]) -> None:
        reason = self._losses.count(event)
        if reason:
            cgroup = self._containers.find_cgroup(event.cgroup_id)
            container = None if cgroup is None else cgroup.container
            context = Context(event, _NOBODY, EMPTY_IMAGE, None, container)
            whose = name_source(event.cgroup_id, cgroup)
            self._alerts.write_notice(Detection(EVENTS_LOST, context, f"{reason} ({whose})"), effects)

    def _on_service_failure(self, event: ServiceFailure, effects: list[Effect]) -> None:
        if not event.ktime_ns:  # whoever failed had no clock at hand
            event = replace(event, ktime_ns=self._now_ns)
        context = Context(event, _NOBODY, EMPTY_IMAGE, None, None)
        detection = Detection(SERVICE_FAILURE, context, f"{event.part}: {event.text}")
        self._alerts.write_notice(detection, effects, about=event.part)

    def _on_guard_refused(self, event: GuardRefused, effects: list[Effect]) -> None:
        event = replace(event, ktime_ns=self._now_ns)
        context = Context(event, _NOBODY, EMPTY_IMAGE, None, None)
        effects.append(EmitEvent(context))
        detection = Detection(GUARD_REFUSED, context, f"{event.count} attempts at our {event.aimed_at} were refused")
        self._alerts.write_notice(detection, effects, about=event.aimed_at)

    def _on_response(self, event: AnyResponse, effects: list[Effect]) -> None:
        effects.append(EmitEvent(self._build_response_context(event)))

    def _on_response_failed(self, event: ResponseFailed, effects: list[Effect]) -> None:
        context = self._build_response_context(event)
        effects.append(EmitEvent(context))
        if not event.is_needless:
            detection = Detection(RESPONSE_FAILED, context, f"{event.action} of {event.subject}: {event.error}")
            self._alerts.write_notice(detection, effects, about=f"{event.action} {event.subject_id}")

    def _build_response_context(self, event: AnyResponse) -> Context:
        container = self._containers.find_container(event.container_id) if event.container_id else None
        return Context(event, _NOBODY, EMPTY_IMAGE, None, container)

    def _on_tick(self, event: Tick, effects: list[Effect]) -> None:
        now_ns = self._now_ns
        self._processes.expire(now_ns, EXPIRE_BUDGET)
        self._containers.expire(now_ns, EXPIRE_BUDGET)
        self._scores.expire(now_ns, EXPIRE_BUDGET)
        self._suppressor.expire(now_ns, EXPIRE_BUDGET)
        self._write_closed(self._correlator.expire(now_ns, EXPIRE_BUDGET), effects)

    def _write_closed(self, closed: list[Correlated], effects: list[Effect]) -> None:
        """Windows whose end was waited for: each is an alert of its own."""
        self._detections += len(closed)
        for correlated in closed:
            self._alerts.write(correlated.detection.context, [], [correlated], self._now_ns, effects)
