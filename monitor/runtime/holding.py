"""Tier `hold` in the service: start the gate and prove it, keep its rules and containers, take its denials.

What it says are facts about a thread; the event of it is :mod:`monitor.runtime.hold_events`'.
While no gate runs, rules and containers are only remembered.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final, Protocol

from monitor.config.settings import Settings
from monitor.gate.policy import HeldContainer, pack_policy, pack_scope
from monitor.gate.supervisor import GateError, GateSettings, GateSupervisor
from monitor.gate.wire import Denial, Report
from monitor.host.cgroups import TagHierarchy
from monitor.host.protected_files import find_runtime_paths
from monitor.model.container import Container
from monitor.model.events import AnyEvent, LossReport, PolicyChange, ServiceFailure
from monitor.model.ids import CgroupId, TaskFacts
from monitor.model.process import Context
from monitor.rules.denials import DenyRule
from monitor.rules.kernel_policy import KernelPolicy
from monitor.runtime.cgroup_names import CgroupNames
from monitor.runtime.hold_canary import TEST_GENERATION, find_hold_flaw
from monitor.runtime.hold_events import FOLD_NS, DenialFolder, HeldTaskIds, build_denial
from monitor.runtime.policy_scopes import PolicyBuilder, PolicyScopes, without_nested

_LOG: Final = logging.getLogger(__name__)
FIRST_GENERATION: Final = 1 << 32
"""Policies of the gate are numbered from here, the kernel's below."""
REPORT_EVERY_TICKS: Final = 2
LOOKS: Final = 3
"""At a container's first programs: its own tmpfs are mounted by then."""
_COUNTED: Final = ("held", "denied", "exempted", "ignored", "failed", "hurried", "dropped", "breaches")
_HEALTH: Final = ("starts", "missed_deadlines", "deaths")


class Neighbours(Protocol):
    """What this needs of the service."""

    def find_container_of(self, cgroup_id: CgroupId) -> Container | None:
        """The container of a cgroup."""

    def list_cgroups(self) -> Iterator[tuple[CgroupId, bool]]:
        """All cgroups that are known, and whether each is a container's."""

    def read_tasks(self) -> list[TaskFacts]:
        """All processes, with the cgroups that they are in now."""

    def feed_event(self, event: AnyEvent) -> None:
        """Take an event that user space made."""

    def find_held_task(self, denial: Denial, cgroup_path: str) -> HeldTaskIds:
        """How the sensors name the task, once what they have seen until now is read."""


class Holding:
    """Owns the gate, once one is needed."""

    def __init__(self, settings: Settings, hierarchy: TagHierarchy, neighbours: Neighbours) -> None:
        self._settings = settings
        self._hierarchy = hierarchy
        self._names = CgroupNames(hierarchy)
        self._neighbours = neighbours
        self._supervisor: GateSupervisor | None = None
        self._scopes = PolicyScopes(settings.mode)
        self._builder = PolicyBuilder()
        self._policy: KernelPolicy | None = None
        self._applied: tuple[DenyRule, ...] = ()
        self._generation = FIRST_GENERATION
        self._paths: dict[CgroupId, str] = {}
        """Containers that the gate knows, by their own cgroup."""
        self._looks: dict[CgroupId, int] = {}
        """Containers -> looks that are still to be taken at them."""
        self._folder = DenialFolder(neighbours.feed_event)
        self._ticks = 0
        self._polling: asyncio.Task[None] | None = None
        self._counts: Counter[str] = Counter()
        """Of gates that have ended, as far as they told."""
        self._report: Report | None = None
        self._reported_start = 0
        self._dropped_told = 0

    @property
    def is_running(self) -> bool:
        """A gate was started, and proved, and is started again whenever it ends."""
        return self._supervisor is not None

    @property
    def rule_count(self) -> int:
        """Rules that the gate denies by."""
        return len(self._applied)

    @property
    def supervisor(self) -> GateSupervisor | None:
        """The gate's, for who wants to know how it is."""
        return self._supervisor

    # --- life ----------------------------------------------------------------------------------

    async def start(self) -> str:
        """Start a gate and prove it; answers why it is no use, if it is none."""
        enforcement = self._settings.enforcement
        settings = GateSettings(
            deadline_ms=enforcement.hold_deadline_ms,
            hold_paths=enforcement.hold_paths,
            controller=self._hierarchy.controller,
            runtimes=tuple(find_runtime_paths()),
            namespace_pid=os.getpid(),
        )
        supervisor = GateSupervisor(settings, self._take, self._on_end)
        try:
            ready = await supervisor.start()
            obstacle = await find_hold_flaw(supervisor)
        except GateError as error:
            return str(error)
        if obstacle:
            await supervisor.stop()
            return obstacle
        if not ready.overlay.by_own_mark:
            why = ready.overlay.obstacle or "a mark on an overlay sees nothing"
            _LOG.warning("what containers execute may not be held: %s", why)
        self._supervisor = supervisor
        return ""

    async def settle(self) -> None:
        """End a gate that has nothing to hold; else wait until what it was told is done."""
        if self._supervisor is None:
            return
        if not self._applied:
            with contextlib.suppress(GateError):
                self._keep(await self._supervisor.report())
            supervisor, self._supervisor, self._policy = self._supervisor, None, None
            await supervisor.stop()
            self._keep_counts()
            self._counts.update({name: getattr(supervisor.health, name) for name in _HEALTH})
            return
        try:
            self._keep(await self._supervisor.report())
        except GateError as error:
            _LOG.warning("%s: nothing may be held", error)

    def stop(self) -> None:
        """End the gate: what it holds goes on. Twice is fine."""
        if self._polling is not None:
            self._polling.cancel()
        if self._supervisor is not None:
            self._supervisor.end()
            self._supervisor, self._applied = None, ()
        self._folder.tell(time.monotonic_ns() + FOLD_NS)

    def _on_end(self, why: str) -> None:
        text = f"the gate has ended, {why}: what is executed until the next one runs is not held"
        self._neighbours.feed_event(ServiceFailure(time.monotonic_ns(), "gate", text))

    # --- rules and containers ------------------------------------------------------------------

    def apply(self, wanted: tuple[DenyRule, ...]) -> None:
        """Deny by these rules; the old ones stay when anything fails.

        Raises:
            ValueError: they do not fit.
        """
        if self._supervisor is None or (wanted == self._applied and self._policy is not None):
            return
        policy = self._builder.build(wanted)
        self._generation += 1
        packed = pack_policy(
            policy.tables,
            self._generation,
            host=self._scopes.of_host(policy),
            pending=self._scopes.of_any_container(policy),
            containers=[self._hold(each, policy) for each in self._list_containers()],
        )
        rules = tuple(term.rule.id for term in policy.terms)
        self._neighbours.feed_event(PolicyChange(time.monotonic_ns(), self._generation, rules))
        self._supervisor.set_policy(packed)
        self._policy, self._applied = policy, wanted
        self._look_at_all()

    def tag_cgroup(self, cgroup_id: CgroupId, *, is_container: bool) -> None:
        """A cgroup is there; a container's own makes it known."""
        container = self._neighbours.find_container_of(cgroup_id) if is_container else None
        if container is not None and container.cgroup_id == cgroup_id:
            self._add(container, 0)

    def untag_cgroup(self, cgroup_id: CgroupId) -> None:
        """Forget a cgroup that is gone."""
        self._looks.pop(cgroup_id, None)
        path = self._paths.pop(cgroup_id, "")
        if self._supervisor is not None and path:
            self._supervisor.remove_container(path)

    def on_exec(self, context: Context) -> None:
        """A program runs: if it is one of its container's first, it shows what is mounted there."""
        container = context.container
        if self._supervisor is None or container is None or context.process.is_service:
            return
        left = self._looks.get(container.cgroup_id, LOOKS)
        if not left:
            return
        self._looks[container.cgroup_id] = left if context.process.is_runtime_init else left - 1
        if self._names.learn(container.cgroup_path, context.process.key.tgid):
            for other in self._list_containers():
                self._add(other, 0)
        self._add(container, context.process.key.tgid)

    def set_tag_hierarchy(self, hierarchy: TagHierarchy) -> None:
        """Tell containers apart by another hierarchy: they are told anew."""
        self._hierarchy, self._names = hierarchy, CgroupNames(hierarchy)
        if self._supervisor is not None:
            self._supervisor.set_controller(hierarchy.controller)

    def _add(self, container: Container, pid: int) -> None:
        if self._supervisor is not None and self._policy is not None:
            self._supervisor.add_container(self._hold(container, self._policy), pid)

    def _hold(self, container: Container, policy: KernelPolicy) -> HeldContainer:
        path = self._paths[container.cgroup_id] = self._names.show(container.cgroup_path)
        scope = pack_scope(self._scopes.of_container(policy, without_nested(container)))
        return HeldContainer(container.cgroup_id, path, scope)

    def _list_containers(self) -> list[Container]:
        found = (self._neighbours.find_container_of(each) for each, is_one in self._neighbours.list_cgroups() if is_one)
        return list({each.id: each for each in found if each is not None}.values())

    def _look_at_all(self) -> None:
        """By one process of each container."""
        pids: dict[CgroupId, int] = {}
        for task in self._neighbours.read_tasks():
            container = self._neighbours.find_container_of(task.cgroup_id)
            if container is not None and container.cgroup_id not in pids:
                pids[container.cgroup_id] = task.tgid
                self._add(container, task.tgid)

    # --- what it says --------------------------------------------------------------------------

    def _take(self, denial: Denial) -> None:
        """What would only have been denied went on: the sensors tell of it."""
        if denial.is_denied and denial.generation != TEST_GENERATION:
            ids = self._neighbours.find_held_task(denial, self._names.complete(denial.cgroup_path))
            self._folder.take(build_denial(denial, ids), denial.executable)

    def on_tick(self) -> None:
        """Time has passed."""
        self._folder.tell(time.monotonic_ns())
        self._ticks += 1
        if self._supervisor is not None and self._ticks % REPORT_EVERY_TICKS == 0 and self._polling is None:
            self._polling = asyncio.get_running_loop().create_task(self._poll(self._supervisor))

    async def _poll(self, supervisor: GateSupervisor) -> None:
        try:
            report = await supervisor.report()
            if self._supervisor is supervisor:
                self._keep(report)
        except GateError as error:
            _LOG.debug("%s", error)  # its end is told by itself
        finally:
            self._polling = None

    def _keep(self, report: Report) -> None:
        assert self._supervisor is not None
        starts = self._supervisor.health.starts
        if starts != self._reported_start:
            self._keep_counts()
        self._report, self._reported_start = report, starts

    def _keep_counts(self) -> None:
        if self._report is not None:
            self._counts.update(_count(self._report))
            self._report = None

    def read_counts(self) -> dict[str, int]:
        """What all gates have done so far, and what became of them."""
        now = _count(self._report) if self._report is not None else {}
        if self._supervisor is not None:
            now |= {name: getattr(self._supervisor.health, name) for name in _HEALTH}
        return {name: now.get(name, 0) + self._counts[name] for name in (*_COUNTED, *_HEALTH)}

    @property
    def last_report(self) -> Report | None:
        """Of the gate that runs, a moment old."""
        return self._report

    def read_losses(self, ktime_ns: int) -> Iterator[LossReport]:
        """Denials that the gate could not tell, because the service did not read."""
        dropped = self.read_counts()["dropped"]
        if lost := dropped - self._dropped_told:
            self._dropped_told = dropped
            yield LossReport(ktime_ns, -1, "denial", CgroupId(0), lost, "ring_full")


def _count(report: Report) -> dict[str, int]:
    return {name: getattr(report, name) for name in _COUNTED}
