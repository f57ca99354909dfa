"""The running service: start in an order that misses nothing, run until told to stop, leave nothing attached.

Order: sensors that fill the tables are attached, then what runs already is walked
in, then the rings are read, so that no process falls between. READY is said after
the self test.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from monitor.bpf.libbpf import LibbpfError
from monitor.bpf.open_policy import OpenPolicy, OpenPolicyError, read_seed
from monitor.bpf.ring import Ring
from monitor.bpf.sensors import SensorPlan, Sensors
from monitor.config.settings import Observe, Settings
from monitor.engine.engine import Engine
from monitor.engine.guardrails import GuardrailFacts
from monitor.gate.wire import Denial as HeldDenial
from monitor.host.cgroups import TagHierarchy
from monitor.host.privileges import is_in_first_namespace, read_capabilities
from monitor.host.protected_files import find_protected_files, find_runtime_files
from monitor.model.container import Container
from monitor.model.events import AnyEvent, ServiceFailure, Tick
from monitor.model.ids import CgroupId, FileIdentity, ProcessKey, TaskFacts
from monitor.responders.frozen import FrozenBook
from monitor.rules.ruleset import RuleSet
from monitor.rules.tiers import KILL
from monitor.runtime.denying import Denying, TierRefused
from monitor.runtime.errors import KernelSupportError
from monitor.runtime.exec_watch import ExecWatch
from monitor.runtime.guarding import Guarding
from monitor.runtime.heartbeat import CpuHeartbeat
from monitor.runtime.hold_events import HeldTaskIds, find_task_ids
from monitor.runtime.pipeline import Pipeline, Ports
from monitor.runtime.ports import EventSink, Recorder
from monitor.runtime.reader import RingReader
from monitor.runtime.response_guard import ResponseGuard
from monitor.runtime.response_host import build_response_host
from monitor.runtime.responses import ACTIONS, ACTIONS_ELSEWHERE, Responses
from monitor.runtime.rule_sources import Authored
from monitor.runtime.self_test import Canary
from monitor.runtime.tagging import Tagging
from monitor.runtime.visibility import OpenVisibility, build_observe_pattern, check_glob
from monitor.sinks.origin import Origin

_LOG: Final = logging.getLogger(__name__)
TICK_S: Final = 0.5
LOSSES_EVERY_TICKS: Final = 2
HEARTBEAT_EVERY_TICKS: Final = 10
OBSERVES_MAX: Final = 64
FOREIGN_PIDS: Final = (
    "this is not the host's pid namespace: what runs already is unknown, and so are our own processes; "
    "run it in the host's (a container: with --pid=host)"
)
STOP_READ_S: Final = 2.0
"""At the end what the rings still hold is judged, for so long."""


class ServiceParts(Struct):
    """What the command line has prepared."""

    settings: Settings
    authored: Authored
    origin: Origin
    hierarchy: TagHierarchy
    sensors: Sensors
    sinks: tuple[EventSink, ...] = ()
    recorder: Recorder | None = None


class Readiness(Struct, frozen=True):
    """What the service watches, said once when it is ready."""

    self_test_s: float
    processes: int
    containers: int


def build_sensor_plan(settings: Settings, rules: RuleSet, hierarchy: TagHierarchy) -> SensorPlan:
    """Only what enabled rules and ``observe:`` need."""
    patterns = (*rules.open_patterns, *map(build_observe_pattern, settings.observe))
    return SensorPlan(
        failed_exec=settings.failed_exec or "ProcessExecFailed" in rules.needed_events,
        file_open=any(pattern.asks_opens for pattern in patterns),
        file_change=any(pattern.asks_changes for pattern in patterns),
        process_access=any(pattern.accessed for pattern in patterns),
        connection=any(pattern.connected for pattern in patterns),
        tag_controller=hierarchy.controller,
        tag_hierarchy_id=hierarchy.hierarchy_id,
        rings=settings.rings,
        limiter=settings.limiter,
    )


class Service:
    """Sensors, engine and sinks, bound together on one event loop."""

    def __init__(self, parts: ServiceParts) -> None:
        settings = parts.settings
        self.parts = parts
        self.sensors = parts.sensors
        self.engine = Engine(
            parts.authored.rules,
            settings.engine,
            mode=settings.mode,
            responses=parts.authored.responses,
            boot_id=parts.origin.boot_id,
        )
        self.canary = Canary()
        self.pipeline = Pipeline(
            self.engine,
            Ports(sinks=(self.canary, *parts.sinks), tags=(parts.sensors,), recorder=parts.recorder),
        )
        self.denying = Denying(settings, parts.hierarchy, self, parts.origin.boot_id)
        self.pipeline.ports.tags = (parts.sensors, self.denying)
        self.guarding = Guarding(settings, self.pipeline.feed_event)
        self.tagging = Tagging(parts.hierarchy, self, self.pipeline.feed_event, self.engine.is_host_cgroup)
        self.pipeline.ports.gate = self.tagging.admit if self.tagging.is_watching else None
        self.reader = RingReader(
            parts.sensors.urgent,
            [parts.sensors.bulk],
            self.pipeline.feed_record,
            self._set_reader_sleeps,
        )
        self.sees_whole_host = is_in_first_namespace("pid")
        """Process ids of events are then those of /proc."""
        self._guardrail_facts = GuardrailFacts(
            protected_files=find_protected_files(),
            runtime_files=find_runtime_files(),
            actions=ACTIONS if self.sees_whole_host else ACTIONS_ELSEWHERE,
        )
        self.responses = self._build_responses()
        self.pipeline.ports.responder = self.responses
        self._open_policy = OpenPolicy(read_seed(parts.sensors.object))
        self._observes: dict[int, Observe] = {}
        self._next_token = 1
        self._ticks = 0
        self._is_stopped = False
        self._heartbeat = CpuHeartbeat(parts.sensors.read_heartbeats)
        self.lost: dict[tuple[str, CgroupId, str], int] = {}
        """Records lost so far by (type, cgroup id, reason)."""
        self.loss_sources: dict[CgroupId, str] = {}
        """Whose they were, as was known when they were counted: cgroups are forgotten."""
        self.on_tick: list[Callable[[], None]] = [self.responses.on_tick]

    def _build_responses(self) -> Responses:
        parts = self.parts
        guard = ResponseGuard(self._guardrail_facts, self.engine.is_host_cgroup, lambda: self.tagging.hierarchy)
        host = build_response_host(parts.sensors.read_tasks, guard, sees_whole_host=self.sees_whole_host)
        book = FrozenBook(parts.settings.state_dir, parts.origin.boot_id)
        return Responses(self.engine, self.pipeline.feed_event, host, book)

    # -- start

    async def start(self) -> Readiness:
        """Attach, walk in what is there, read the rings, pass the self test.

        Raises:
            KernelSupportError: the kernel refuses a sensor, the canary does not come through, or a rule asks for a tier
                that this host lacks.
            ValueError: the deny rules do not fit the kernel's policy.
        """
        self.engine.replace_facts(self._guardrail_facts)
        self.apply_open_policy()
        try:
            self.sensors.attach_life()
            self.tagging.walk_in()
            self.sensors.attach_syscalls()
        except (LibbpfError, OSError) as error:
            raise KernelSupportError(
                f"a sensor cannot be attached: {error.strerror} (run `stockade doctor`)"
            ) from error
        if not self.sees_whole_host:
            _LOG.warning("%s", FOREIGN_PIDS)
        self.reader.start()
        self_test_s = await self.canary.run()
        self.pipeline.ports.sinks = (*self.parts.sinks, ExecWatch(self.denying.on_exec))
        self._know_ourselves()
        try:
            await self._deny_by(self.parts.authored.rules)
        except TierRefused as error:
            raise KernelSupportError(str(error)) from error
        self.responses.start()
        containers = sum(not self.engine.is_gone(container) for container in self.engine.containers())
        return Readiness(self_test_s, int(self.engine.stats()["processes"]), containers)

    def _know_ourselves(self) -> None:
        """From here on, what we do ourselves is counted and not streamed, and the guardrails know us."""
        self.sensors.mark_own_process()
        own = [task for task in self.sensors.read_tasks() if task.tgid == os.getpid()]
        keys = frozenset(ProcessKey(task.tgid, task.start_boottime_ns) for task in own)
        self._replace_facts(structs.replace(self._guardrail_facts, service_keys=keys))

    # -- what the filter lets through

    def apply_open_policy(self) -> None:
        """Give the kernel the patterns of the rules in force and of all observe entries.

        Raises:
            ValueError: they do not fit; the old policy stays.
        """
        observes = (*self.parts.settings.observe, *self._observes.values())
        patterns = (*self.parts.authored.rules.open_patterns, *map(build_observe_pattern, observes))
        if self.sensors.watches_files:
            try:
                self._open_policy.apply(self._open_policy.build(patterns), self.sensors.object)
            except OpenPolicyError as error:
                raise ValueError(str(error)) from error
        self.pipeline.ports.visibility = OpenVisibility(self.parts.authored.rules.open_patterns, observes)

    def add_observe(self, observe: Observe) -> int:
        """Stream these opens too, until :meth:`remove_observe`.

        Raises:
            ValueError: a bad glob, too many entries, or no room in the kernel's policy.
        """
        check_glob(observe.path)
        if self.sensors.file_variant == "none":
            raise ValueError("the file sensor is not attached: no rule and no `observe:` entry asked for it at start")
        if len(self._observes) >= OBSERVES_MAX:
            raise ValueError(f"{OBSERVES_MAX} observe entries are in force already")
        token, self._next_token = self._next_token, self._next_token + 1
        self._observes[token] = observe
        try:
            self.apply_open_policy()
        except ValueError:
            del self._observes[token]
            raise
        return token

    def remove_observe(self, token: int) -> None:
        """End one observe entry."""
        if self._observes.pop(token, None) is not None:
            self.apply_open_policy()

    async def replace_authored(self, authored: Authored) -> None:
        """Put what was read anew in force; tables and scores stay. When anything fails, all of the old stays.

        Raises:
            ValueError: its open patterns do not fit into the kernel, or its deny rules do not.
        """
        old = self.parts.authored
        self.parts.authored = authored
        try:
            self.apply_open_policy()
            await self._deny_by(authored.rules)
            self.engine.replace_rules(authored.rules)
            self.engine.replace_responses(authored.responses)
            if missing := self.list_missing_sensors():
                _LOG.warning("rules ask for what only a restart attaches: the sensors %s", ", ".join(missing))
        except Exception:
            self.parts.authored = old
            with contextlib.suppress(ValueError, OSError):
                self.apply_open_policy()
            raise

    def list_missing_sensors(self) -> list[str]:
        """Sensors that the rules in force ask for, and that nothing asked for at the start."""
        parts = self.parts
        return self.sensors.list_missing(build_sensor_plan(parts.settings, parts.authored.rules, parts.hierarchy))

    async def _deny_by(self, rules: RuleSet) -> None:
        await self.denying.replace_rules(rules)
        self.guarding.follow(self.denying.kernel.tier, is_pinned=self.denying.kernel.is_pinned)
        tiers = dict.fromkeys(self.denying.ended_in_kernel, KILL)
        self._replace_facts(structs.replace(self._guardrail_facts, deny_tiers=tiers))

    def _replace_facts(self, facts: GuardrailFacts) -> None:
        self._guardrail_facts = facts
        self.engine.replace_facts(facts)

    # -- what the parts ask of us

    def find_container_of(self, cgroup_id: CgroupId) -> Container | None:
        """The container of a cgroup."""
        return self.engine.find_container_of(cgroup_id)

    def feed_event(self, event: AnyEvent) -> None:
        """Take an event that user space made."""
        self.pipeline.feed_event(event)

    def feed_record(self, data: memoryview, offset: int, length: int) -> None:
        """Take a record of a ring."""
        self.pipeline.feed_record(data, offset, length)

    def read_tasks(self) -> list[TaskFacts]:
        """All processes, with the cgroups that they are in now."""
        return self.sensors.read_tasks()

    def set_tag_hierarchy(self, hierarchy: TagHierarchy) -> None:
        """Tag by this hierarchy from now on."""
        self.sensors.set_tag_hierarchy(hierarchy.controller, hierarchy.hierarchy_id)
        self.denying.set_tag_hierarchy(hierarchy)

    def identify_files(self, paths: Iterable[Path]) -> dict[Path, FileIdentity]:
        """What programs see of files."""
        return self.sensors.identify_files(paths)

    def read_later(self, ring: Ring) -> None:
        """Read this ring too."""
        self.reader.read_later(ring)

    def find_held_task(self, denial: HeldDenial, cgroup_path: str) -> HeldTaskIds:
        """How the sensors name the task, once what they have seen until now is read."""
        self.reader.look()
        return find_task_ids(self.engine, denial, cgroup_path)

    def forget_ring(self, ring: Ring) -> None:
        """Read this ring no more."""
        self.reader.forget(ring)

    def list_cgroups(self) -> Iterator[tuple[CgroupId, bool]]:
        """All cgroups that are known, and whether each is a container's."""
        return self.engine.list_cgroups()

    def _set_reader_sleeps(self, sleeps: bool) -> None:
        self.sensors.set_reader_sleeps(sleeps=sleeps)
        self.denying.set_reader_sleeps(sleeps=sleeps)

    # -- run

    async def run(self, stopped: asyncio.Event) -> None:
        """Tick until ``stopped``: time for the engine, losses, heartbeats."""
        while not stopped.is_set():
            try:
                await asyncio.wait_for(stopped.wait(), TICK_S)
            except TimeoutError:
                self._tick()

    def _tick(self) -> None:
        self._ticks += 1
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.reader.look()  # what was written without a wake-up
        self.pipeline.feed_event(Tick(now))
        if self.pipeline.ports.gate is not None:
            self.tagging.on_tick(now)
            if not self.tagging.is_watching:
                self.pipeline.ports.gate = None
        if self._ticks % LOSSES_EVERY_TICKS == 0:
            self.collect_losses(now)
        if self._ticks % HEARTBEAT_EVERY_TICKS == 0:
            self._check_heartbeat(now)
        self.denying.on_tick()
        self.guarding.on_tick()
        for act in self.on_tick:
            act()

    def collect_losses(self, now_ktime_ns: int) -> None:
        """Count what the kernel side lost since the last call and tell the engine."""
        for report in chain(self.sensors.read_losses(now_ktime_ns), self.denying.read_losses(now_ktime_ns)):
            key = (report.event_type, report.cgroup_id, report.reason)
            self.lost[key] = self.lost.get(key, 0) + report.count
            self.loss_sources[report.cgroup_id] = self.engine.name_loss_source(report.cgroup_id)
            self.pipeline.feed_event(report)

    def _check_heartbeat(self, now_ktime_ns: int) -> None:
        for cpu in self._heartbeat.beat():
            text = f"CPU {cpu} has fallen silent: what happens on it is not seen (restart the service)"
            self.pipeline.feed_event(ServiceFailure(now_ktime_ns, "heartbeat", text))

    @property
    def silent_cpus(self) -> frozenset[int]:
        """CPUs whose last beats did not come through."""
        return self._heartbeat.silent_cpus

    def stop(self) -> None:
        """Detach everything, read what is left. Twice is fine; what is asked of the sensors is still answered."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self.responses.stop()
        self.reader.stop()
        self.guarding.stop()
        self.denying.stop()
        self.sensors.detach()  # first: on a busy host the rings never run dry
        end = time.monotonic() + STOP_READ_S
        while self.reader.drain() and time.monotonic() < end:
            pass
        if unread := self.reader.backlog_bytes:
            _LOG.warning("%d bytes of records were not judged: after a flood the end does not wait for them", unread)
        self.collect_losses(time.clock_gettime_ns(time.CLOCK_MONOTONIC))

    def close(self) -> None:
        """Stop, and free the sensors: once nobody can ask any more, by a socket, for their counters or patterns."""
        self.stop()
        self.denying.close()
        self.sensors.close()


def require_privilege() -> None:
    """Refuse early, in one line, what would fail later in a worse place.

    Raises:
        KernelSupportError: not root, a root that may not, or a kernel without type information.
    """
    if os.geteuid() != 0:
        raise KernelSupportError("stockade needs root to load BPF programs: run it with sudo")
    if "CAP_SYS_ADMIN" not in read_capabilities():
        raise KernelSupportError(
            "root lacks CAP_SYS_ADMIN here, and no sensor can be attached: in a container, "
            "run it with --privileged --pid=host --cgroupns=host (`stockade doctor` says more)"
        )
    if not os.access("/sys/kernel/btf/vmlinux", os.R_OK):
        raise KernelSupportError(
            "this kernel has no BTF type information (/sys/kernel/btf/vmlinux): "
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, or mount sysfs on /sys"
        )
