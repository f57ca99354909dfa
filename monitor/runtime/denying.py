"""What the service does about rules that deny: plan their tiers, load what denies, keep it up to date.

Nothing is loaded while no rule denies anything. A kernel that refuses is no reason
not to start: the rules then only tell, and status says why.
"""

import logging
import operator
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from msgspec import structs

from monitor.bpf.enforcement import Enforcement, EnforcementPlan
from monitor.bpf.features import find_lsm_obstacle
from monitor.bpf.libbpf import LibbpfError
from monitor.bpf.pins import find_pin_obstacle
from monitor.bpf.ring import Ring
from monitor.config.settings import Settings
from monitor.host.cgroups import TagHierarchy
from monitor.host.protected_files import find_runtime_paths
from monitor.model.container import Container
from monitor.model.events import AnyEvent, LossReport, PolicyChange
from monitor.model.ids import CgroupId, FileIdentity
from monitor.rules.denials import DenyRule, build_deny_policy, denies
from monitor.rules.kernel_policy import KernelPolicy, PolicyError
from monitor.rules.ruleset import RuleSet
from monitor.rules.tiers import (
    KILL,
    LSM,
    OBSERVE,
    HostTiers,
    PlannedDenial,
    asks_arguments,
    list_refusals,
    plan_denials,
)
from monitor.runtime.denial_canary import DenialCanary
from monitor.runtime.enforcement import Enforcer
from monitor.runtime.pinned import Pinned
from monitor.runtime.policy_book import PolicyBook
from monitor.shipped import get_enforcement_object

_LOG: Final = logging.getLogger(__name__)
AUTO: Final = "auto"
KEEP: Final = "keep"
NOT_ASKED: Final = "settings: enforcement.tier"


class TierRefused(ValueError):
    """Rules ask for a tier that this host does not give them."""


class Neighbours(Protocol):
    """What this needs of the service."""

    def find_container_of(self, cgroup_id: CgroupId) -> Container | None:
        """The container of a cgroup."""

    def feed_event(self, event: AnyEvent) -> None:
        """Take an event that user space made."""

    def feed_record(self, data: memoryview, offset: int, length: int) -> None:
        """Take a record of a ring."""

    def identify_files(self, paths: Iterable[Path]) -> dict[Path, FileIdentity]:
        """What programs see of files."""

    def read_later(self, ring: Ring) -> None:
        """Read this ring too."""

    def list_cgroups(self) -> Iterator[tuple[CgroupId, bool]]:
        """All cgroups that are known, and whether each is a container's."""


class Denying:
    """Owns the enforcement object, once there is one."""

    def __init__(self, settings: Settings, hierarchy: TagHierarchy, neighbours: Neighbours, boot_id: str) -> None:
        self._settings = settings
        self._hierarchy = hierarchy.controller, hierarchy.hierarchy_id
        self._neighbours = neighbours
        self._enforcement: Enforcement | None = None
        self._enforcer: Enforcer | None = None
        self._pinned = Pinned(settings.pin_dir)
        self._book = PolicyBook(settings.state_dir, boot_id)
        self._canary = DenialCanary()
        self._host: HostTiers | None = None
        self._built: tuple[tuple[DenyRule, ...], KernelPolicy] | None = None
        """The last policy, and what it was built of."""
        self._is_ours = False
        """A policy of ours is in force, not only that of an earlier service."""
        self.planned: tuple[PlannedDenial, ...] = ()

    @property
    def host(self) -> HostTiers:
        """What this host can do; found out when first asked."""
        if self._host is None:
            self._host = find_host_tiers(self._settings.enforcement.tier)
        return self._host

    @property
    def tier(self) -> str:
        """What denies now; ``observe`` while nothing does."""
        return OBSERVE if self._enforcement is None else self._enforcement.tier

    @property
    def pin_obstacle(self) -> str:
        """Why denial ends with the service, or would; empty when it does not."""
        if self._enforcement is None:
            return find_pin_obstacle(self._settings.pin_dir)
        return self._pinned.obstacle

    @property
    def in_force(self) -> tuple[PlannedDenial, ...]:
        """The rules that the kernel denies by, where their mode is enforce."""
        return tuple(each for each in self.planned if each.tier == self.tier != OBSERVE)

    def describe(self) -> str:
        """What is denied here, for people."""
        deny = [each for each in self.planned if each.tier != OBSERVE]
        rules = f"{len(deny)} rule{'' if len(deny) == 1 else 's'}"
        if not self.planned:
            return f"{OBSERVE} (no rule denies)"
        if not deny:
            return f"{OBSERVE} (nothing can be denied here: {self.planned[0].reason})"
        if self._enforcement is None:
            return f"{OBSERVE} ({rules} would deny, in tier {deny[0].tier})"
        told = len(self.planned) - len(deny)
        parts = [f"{rules} in the kernel", *([f"{told} only tell"] if told else [])]
        if self._enforcement.is_adopted:
            parts.append("taken over from an earlier run")
        return f"{self.tier} ({', '.join(parts)})"

    def replace_rules(self, rules: RuleSet) -> None:
        """Deny by these rules; the old ones stay when anything fails.

        Raises:
            ValueError: they do not fit, or ask for a tier that they cannot have.
        """
        planned = plan_denials(rules.denials, self.host) if rules.denials else ()
        if self._enforcement is None and any(denies(each.rule, self._settings.mode) for each in _decidable(planned)):
            planned = self._start(planned)
        elif self._enforcement is not None:
            _check(planned)
            self._apply(_decidable(planned))
        _check(planned)
        self._pinned.retire(self._neighbours.feed_record)
        self.planned, self._is_ours = planned, True

    def _start(self, planned: tuple[PlannedDenial, ...]) -> tuple[PlannedDenial, ...]:
        """Load what denies, and prove it; answers the plan with the tier that holds."""
        while (tier := self.host.best) != OBSERVE:
            _check(planned)
            obstacle = self._load(_decidable(planned))
            if not obstacle:
                return self._prove_arguments(planned)
            _LOG.warning("tier %s cannot be had: %s (run `stockade doctor`)", tier, obstacle)
            self._host = self._without(tier, obstacle)
            planned = plan_denials([each.deny for each in planned], self._host)
        return planned

    def _prove_arguments(self, planned: tuple[PlannedDenial, ...]) -> tuple[PlannedDenial, ...]:
        """The plan with what holds of rules that ask for arguments."""
        assert self._enforcement is not None
        wanted = _decidable(planned)
        if any(map(asks_arguments, wanted)) and (obstacle := _ask_canary(self._canary.are_arguments_decided)):
            reason = f"this kernel's arguments cannot be read before a program runs ({obstacle})"
            _LOG.warning("%s: rules that ask for them only tell", reason)
            self._host = structs.replace(self.host, arguments=reason)
            planned = plan_denials([each.deny for each in planned], self._host)
            _check(planned)
            self._apply(_decidable(planned))
        self._neighbours.read_later(self._enforcement.ring)
        self._enforcement.mark_own_process()
        return planned

    def _without(self, tier: str, obstacle: str) -> HostTiers:
        """What is left of this host when a tier has turned out not to work."""
        if tier != LSM:
            return HostTiers(self.host.lsm, obstacle)
        return HostTiers(obstacle, "" if self._settings.enforcement.tier == AUTO else NOT_ASKED)

    def _load(self, wanted: tuple[DenyRule, ...]) -> str:
        """Load, attach and prove, or take over; answers why it is no use, if it is none."""
        plan = EnforcementPlan(self.host.best, *self._hierarchy, self._settings.limiter)
        try:
            self._enforcement = self._pinned.start(get_enforcement_object(), plan)
        except (LibbpfError, FileNotFoundError) as error:
            return f"the kernel refuses it: {error.strerror or error}"
        self._enforcement.policy.continue_from(self._book.last_generation)
        for change in self._book.list_changes(time.monotonic_ns()):
            self._neighbours.feed_event(change)
        self._enforcer = Enforcer(self._enforcement, self._settings, self._neighbours.find_container_of, self._tell)
        self._enforcement.set_runtimes(self._neighbours.identify_files(find_runtime_paths()).values())
        for cgroup_id, is_container in self._neighbours.list_cgroups():
            self._enforcer.tag_cgroup(cgroup_id, is_container=is_container)
        self._apply(wanted)
        if obstacle := _ask_canary(self._canary.is_refused):
            self._give_up()
        return obstacle

    def _give_up(self) -> None:
        assert self._enforcement is not None
        self._pinned.remove()
        self._enforcement.close()
        self._enforcement = self._enforcer = None

    def _tell(self, generation: int, rule_ids: tuple[str, ...]) -> None:
        self._book.write(generation, rule_ids)
        self._neighbours.feed_event(PolicyChange(time.monotonic_ns(), generation, rule_ids))

    def _apply(self, wanted: tuple[DenyRule, ...]) -> None:
        assert self._enforcer is not None
        try:
            self._enforcer.apply(self._build(wanted))
        except OSError as error:
            raise ValueError(f"the kernel refuses the deny policy: {error.strerror}; the old one stays") from error

    def prepare(self, rules: RuleSet) -> None:
        """Build the policy of these rules beforehand, in a thread: expressions over arguments take a second or two.

        Raises:
            ValueError: they do not fit.
        """
        if rules.denials and self._enforcement is not None:
            self._build(_decidable(plan_denials(rules.denials, self.host)))

    def _build(self, wanted: tuple[DenyRule, ...]) -> KernelPolicy:
        built = self._built
        if built is not None and len(built[0]) == len(wanted) and all(map(operator.is_, built[0], wanted)):
            return built[1]
        try:
            policy = build_deny_policy((*self._list_canaries(wanted), *wanted))
        except PolicyError as error:
            raise ValueError(str(error)) from error
        self._built = wanted, policy
        return policy

    def _list_canaries(self, wanted: tuple[DenyRule, ...]) -> tuple[DenyRule, ...]:
        if any(map(asks_arguments, wanted)):
            return self._canary.rule, self._canary.rule_of_arguments
        return (self._canary.rule,)

    # --- what the service tells ----------------------------------------------------------------

    def tag_cgroup(self, cgroup_id: CgroupId, *, is_container: bool) -> None:
        """Say what a cgroup is."""
        if self._enforcer is not None:
            self._enforcer.tag_cgroup(cgroup_id, is_container=is_container)

    def untag_cgroup(self, cgroup_id: CgroupId) -> None:
        """Forget a cgroup that is gone."""
        if self._enforcer is not None:
            self._enforcer.untag_cgroup(cgroup_id)

    def on_tick(self) -> None:
        """Time has passed."""
        if self._enforcer is not None:
            self._enforcer.on_tick()

    def set_tag_hierarchy(self, controller: str, hierarchy_id: int) -> None:
        """Tell containers apart by another hierarchy."""
        self._hierarchy = (controller, hierarchy_id)
        if self._enforcement is not None:
            self._enforcement.set_tag_hierarchy(controller, hierarchy_id)

    def set_reader_sleeps(self, *, sleeps: bool) -> None:
        """Say whether the reader waits."""
        if self._enforcement is not None:
            self._enforcement.set_reader_sleeps(sleeps=sleeps)

    def read_losses(self, ktime_ns: int) -> Iterator[LossReport]:
        """Denials that could not be told."""
        return iter(()) if self._enforcement is None else self._enforcement.read_losses(ktime_ns)

    def stop(self) -> None:
        """Deny no more, unless that is to go on; the ring can still be read."""
        if self._enforcement is None or (self._pinned.is_pinned and self._goes_on(self._enforcement)):
            return
        self._pinned.remove()
        self._enforcement.detach()

    def _goes_on(self, enforcement: Enforcement) -> bool:
        """What was taken over and got no policy of ours is left as it was."""
        return self._settings.enforcement.on_exit == KEEP if self._is_ours else enforcement.is_adopted

    def close(self) -> None:
        """Free all that is not pinned."""
        if self._enforcement is not None:
            self._enforcement.close()
        self._enforcement, self._enforcer = None, None
        self._pinned.close()


def _ask_canary(is_proved: Callable[[], bool]) -> str:
    """Why it proved nothing, if it did not."""
    try:
        return "" if is_proved() else "a program that had to be refused ran"
    except OSError as error:
        return f"the program that proves it cannot be executed here: {error.strerror}"


def _check(planned: Iterable[PlannedDenial]) -> None:
    """Raise :class:`TierRefused` when a rule asks for a tier that it does not get."""
    if refusals := list_refusals(planned):
        raise TierRefused("; ".join(refusals))


def _decidable(planned: Iterable[PlannedDenial]) -> tuple[DenyRule, ...]:
    """What the kernel gets, the rules that are only told of among them."""
    return tuple(each.deny for each in planned if each.tier != OBSERVE)


def find_host_tiers(asked: str, find_obstacle: Callable[[], str] = find_lsm_obstacle) -> HostTiers:
    """What this host can do, no more than the settings ask for."""
    if asked == "none":
        return HostTiers(NOT_ASKED, NOT_ASKED)
    if asked == KILL:
        return HostTiers(lsm=NOT_ASKED)
    obstacle = find_obstacle()
    return HostTiers(obstacle, NOT_ASKED if asked == LSM and obstacle else "")
