"""What the service does about rules that deny: plan their tiers, put them in force, say what is.

Nothing is loaded and no gate runs while no rule denies anything. A kernel that refuses
is no reason not to start: the next tier is tried, and status says why.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Final, Protocol

from msgspec import structs

from monitor.config.settings import Settings
from monitor.host.cgroups import TagHierarchy
from monitor.model.events import LossReport
from monitor.model.ids import CgroupId
from monitor.model.process import Context
from monitor.rules.denials import DenyRule, denies
from monitor.rules.ruleset import RuleSet
from monitor.rules.tiers import HOLD, KILL, LSM, OBSERVE, HostTiers, PlannedDenial, list_refusals, plan_denials
from monitor.runtime import holding, kernel_denial
from monitor.runtime.holding import Holding
from monitor.runtime.host_tiers import find_hold_obstacle_here, find_host_tiers, give_up
from monitor.runtime.kernel_denial import KernelDenial

_LOG: Final = logging.getLogger(__name__)


class TierRefused(ValueError):
    """Rules ask for a tier that this host does not give them."""


class Neighbours(kernel_denial.Neighbours, holding.Neighbours, Protocol):
    """What this needs of the service."""


class Denying:
    """Owns what denies: the kernel's part and the gate."""

    def __init__(self, settings: Settings, hierarchy: TagHierarchy, neighbours: Neighbours, boot_id: str) -> None:
        self._settings = settings
        self.kernel = KernelDenial(settings, hierarchy, neighbours, boot_id)
        self.holding = Holding(settings, hierarchy, neighbours)
        self._host: HostTiers | None = None
        self._has_given_up_gate = False
        self.planned: tuple[PlannedDenial, ...] = ()

    @property
    def host(self) -> HostTiers:
        """What this host can do; found out when first asked."""
        if self._host is None:
            self._host = find_host_tiers(self._settings.enforcement.tier)
        return self._host

    @property
    def tier(self) -> str:
        """The strongest in force now; ``observe`` while nothing is denied."""
        return HOLD if self.holding.rule_count else self.kernel.tier

    @property
    def ended_in_kernel(self) -> frozenset[str]:
        """Ids of the rules that the kernel ends programs by, where their mode is enforce."""
        if not self.kernel.is_loaded:
            return frozenset()
        return frozenset(each.deny.rule.id for each in self.planned if KILL in each.tiers)

    @property
    def rule_counts(self) -> dict[str, int]:
        """Rules in force, by the tier that each has wherever it applies."""
        return dict(Counter(each.tier for each in self.planned))

    def describe(self) -> str:
        """What is denied here, for people."""
        deny = [each for each in self.planned if each.tiers]
        if not self.planned:
            return f"{OBSERVE} (no rule denies)"
        if not deny:
            return f"{OBSERVE} (nothing can be denied here: {self.planned[0].reason})"
        if self.tier == OBSERVE:
            return f"{OBSERVE} ({_count(len(deny))} would deny, in tier {_name_best(deny)})"
        told = len(self.planned) - len(deny)
        kernel = self._list_for_kernel(self.planned) if self.kernel.is_loaded else ()
        parts = [
            *([f"{_count(self.holding.rule_count)} held"] if self.holding.rule_count else []),
            *([f"{_count(len(kernel))} in the kernel"] if kernel else []),
            *([f"{told} only tell"] if told else []),
            *(["taken over from an earlier run"] if self.kernel.is_adopted else []),
        ]
        return f"{self.tier} ({', '.join(parts)})"

    # --- rules ---------------------------------------------------------------------------------

    async def replace_rules(self, rules: RuleSet) -> None:
        """Deny by these rules; the old ones stay when anything fails.

        Raises:
            ValueError: they do not fit, or ask for a tier that they cannot have.
        """
        self._try_gate_again()
        planned = plan_denials(rules.denials, self.host) if rules.denials else ()
        planned = self._start_kernel(planned)
        planned = await self._start_gate(planned)
        if self.kernel.is_loaded:
            planned = self._prove_arguments(planned)
        _check(planned)
        if self.kernel.is_loaded:
            self.kernel.apply(self._list_for_kernel(planned))
        self.holding.apply(self._list_for_gate(planned))
        self.kernel.retire_others()
        self.planned = planned
        await self.holding.settle()

    def prepare(self, rules: RuleSet) -> None:
        """Build the policy of these rules beforehand, in a thread. Raises ``ValueError``: they do not fit."""
        if rules.denials:
            self.kernel.prepare(self._list_for_kernel(plan_denials(rules.denials, self.host)))

    def _start_kernel(self, planned: tuple[PlannedDenial, ...]) -> tuple[PlannedDenial, ...]:
        """Load what denies in the kernel if it is needed, and prove it; answers the plan with the tiers that hold."""
        while not self.kernel.is_loaded and self._are_enforced(self._list_for_kernel(planned)):
            _check(planned)
            tier, wanted = self.host.kernel, self._list_for_kernel(planned)
            if obstacle := self.kernel.start(tier, wanted):
                planned = self._without(tier, obstacle, planned)
                continue
            self.kernel.settle()
        return planned

    async def _start_gate(self, planned: tuple[PlannedDenial, ...]) -> tuple[PlannedDenial, ...]:
        """Start a gate if one is needed, and prove it; else what it was to do falls to the next tier."""
        if self.holding.is_running or not self._are_enforced(self._list_for_gate(planned)):
            return planned
        _check(planned)
        if obstacle := await self.holding.start():
            self._has_given_up_gate = True
            planned = self._start_kernel(self._without(HOLD, obstacle, planned))
        return planned

    def _try_gate_again(self) -> None:
        """It was given up for what it did once; a host whose kernel has none says so again."""
        if self._has_given_up_gate:
            self._has_given_up_gate = False
            self._host = structs.replace(self.host, hold=find_hold_obstacle_here())

    def _without(self, tier: str, obstacle: str, planned: tuple[PlannedDenial, ...]) -> tuple[PlannedDenial, ...]:
        _LOG.warning("tier %s cannot be had: %s (run `stockade doctor`)", tier, obstacle)
        self._host = give_up(self.host, tier, obstacle, self._settings.enforcement.tier)
        return self._plan_again(planned)

    def _without_arguments(self, obstacle: str, planned: tuple[PlannedDenial, ...]) -> tuple[PlannedDenial, ...]:
        reason = f"nothing can be decided by arguments ({obstacle})"
        if self.kernel.tier == LSM:
            reason = f"arguments cannot be read before a program runs ({obstacle})"
        self._host = structs.replace(self.host, arguments=reason)
        planned = self._plan_again(planned)
        falls = "it is ended when it does" if any(each.is_ended for each in planned) else "such rules only tell"
        _LOG.warning("%s: %s", reason, falls)
        return planned

    def _prove_arguments(self, planned: tuple[PlannedDenial, ...]) -> tuple[PlannedDenial, ...]:
        """Rules that ask for arguments get what the kernel has proved; answers the plan with that."""
        if obstacle := self.kernel.prove_arguments(self._list_for_kernel(planned)):
            planned = self._without_arguments(obstacle, planned)
            if any(each.is_ended for each in planned):
                planned = self._end_by_arguments(planned)
        return planned

    def _end_by_arguments(self, planned: tuple[PlannedDenial, ...]) -> tuple[PlannedDenial, ...]:
        try:
            self.kernel.apply(self._list_for_kernel(planned))
        except ValueError as error:
            _LOG.warning("nor can a program be ended by its arguments: %s", error)
            self._host = structs.replace(self.host, endings=str(error))
            return self._plan_again(planned)
        return planned

    def _plan_again(self, planned: tuple[PlannedDenial, ...]) -> tuple[PlannedDenial, ...]:
        return plan_denials([each.deny for each in planned], self.host)

    def _are_enforced(self, rules: tuple[DenyRule, ...]) -> bool:
        return any(denies(each.rule, self._settings.mode) for each in rules)

    def _list_for_kernel(self, planned: tuple[PlannedDenial, ...]) -> tuple[DenyRule, ...]:
        """What the kernel gets, the rules that are only told of among them."""
        return tuple(each.for_kernel for each in planned if LSM in each.tiers or KILL in each.tiers)

    def _list_for_gate(self, planned: tuple[PlannedDenial, ...]) -> tuple[DenyRule, ...]:
        """What the gate gets: what is held costs time, so only what denies."""
        return tuple(
            each.deny for each in planned if HOLD in each.tiers and denies(each.deny.rule, self._settings.mode)
        )

    # --- what the service tells ----------------------------------------------------------------

    def tag_cgroup(self, cgroup_id: CgroupId, *, is_container: bool) -> None:
        """Say what a cgroup is. Raises ``OSError`` when the kernel's table is full."""
        self.holding.tag_cgroup(cgroup_id, is_container=is_container)
        self.kernel.tag_cgroup(cgroup_id, is_container=is_container)

    def untag_cgroup(self, cgroup_id: CgroupId) -> None:
        """Forget a cgroup that is gone."""
        self.holding.untag_cgroup(cgroup_id)
        self.kernel.untag_cgroup(cgroup_id)

    def on_exec(self, context: Context) -> None:
        """A program runs."""
        self.holding.on_exec(context)
        self.kernel.on_exec(context)

    def on_tick(self) -> None:
        """Time has passed."""
        self.holding.on_tick()
        self.kernel.on_tick()

    def set_tag_hierarchy(self, hierarchy: TagHierarchy) -> None:
        """Tell containers apart by another hierarchy."""
        self.kernel.set_tag_hierarchy(hierarchy.controller, hierarchy.hierarchy_id)
        self.holding.set_tag_hierarchy(hierarchy)

    def set_reader_sleeps(self, *, sleeps: bool) -> None:
        """Say whether the reader waits."""
        self.kernel.set_reader_sleeps(sleeps=sleeps)

    def read_losses(self, ktime_ns: int) -> Iterator[LossReport]:
        """Denials that could not be told."""
        return chain(self.kernel.read_losses(ktime_ns), self.holding.read_losses(ktime_ns))

    def stop(self) -> None:
        """Deny no more, unless that is to go on; what was denied can still be read."""
        self.holding.stop()
        self.kernel.stop()

    def close(self) -> None:
        """Free all that is not pinned."""
        self.holding.stop()
        self.kernel.close()


def _check(planned: tuple[PlannedDenial, ...]) -> None:
    """Raise :class:`TierRefused` when a rule asks for a tier that it does not get."""
    if refusals := list_refusals(planned):
        raise TierRefused("; ".join(refusals))


def _count(rules: int) -> str:
    return f"{rules} rule{'' if rules == 1 else 's'}"


def _name_best(deny: list[PlannedDenial]) -> str:
    found = {tier for each in deny for tier in each.tiers}
    return next(tier for tier in (LSM, HOLD, KILL) if tier in found)
