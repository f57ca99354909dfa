"""Denial by the kernel alone, in tier `lsm` or `kill`: load what denies, prove it, keep its policy, let go of it."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from monitor.bpf.enforcement import Enforcement, EnforcementPlan
from monitor.bpf.features import probe_overlay_types
from monitor.bpf.inspection import FileInspector
from monitor.bpf.libbpf import LibbpfError
from monitor.bpf.pins import find_pin_obstacle
from monitor.bpf.ring import Ring
from monitor.config.settings import Settings
from monitor.host.cgroups import TagHierarchy
from monitor.host.container_roots import find_container_root
from monitor.host.privileges import is_in_first_namespace
from monitor.host.protected_files import find_runtime_helpers, find_runtime_paths
from monitor.model.container import Container
from monitor.model.events import AnyEvent, LossReport, PolicyChange
from monitor.model.ids import CgroupId, FileIdentity
from monitor.model.process import Context
from monitor.rules.denials import DenyRule
from monitor.rules.tiers import LSM, OBSERVE, asks_arguments, find_hooks
from monitor.runtime.denial_canary import DenialCanary
from monitor.runtime.enforcement import Enforcer
from monitor.runtime.pinned import OLD_RECORDS_MAX, Pinned
from monitor.runtime.policy_book import PolicyBook
from monitor.runtime.policy_scopes import PolicyBuilder
from monitor.shipped import get_enforcement_object, get_inspection_object

_LOG: Final = logging.getLogger(__name__)
KEEP: Final = "keep"


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

    def forget_ring(self, ring: Ring) -> None:
        """Read this ring no more."""

    def list_cgroups(self) -> Iterator[tuple[CgroupId, bool]]:
        """All cgroups that are known, and whether each is a container's."""


class KernelDenial:
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
        self._builder = PolicyBuilder()
        self._applied: tuple[DenyRule, ...] | None = None
        self._arguments: str | None = None
        """Why rules by arguments are not decided; None while nobody has asked what is loaded."""
        self._is_settled = False
        self._knows_pids = is_in_first_namespace("pid")
        """Process ids of events are those of /proc."""
        self._is_ours = False
        """A policy of ours is in force, not only that of an earlier service."""

    @property
    def is_loaded(self) -> bool:
        """Something denies here."""
        return self._enforcement is not None

    @property
    def tier(self) -> str:
        """What denies now; ``observe`` while nothing does."""
        return OBSERVE if self._enforcement is None else self._enforcement.tier

    @property
    def is_adopted(self) -> bool:
        """It denied before this service was started."""
        return self._enforcement is not None and self._enforcement.is_adopted

    @property
    def is_pinned(self) -> bool:
        """It outlives the service."""
        return self._pinned.is_pinned

    @property
    def pin_obstacle(self) -> str:
        """Why denial ends with the service, or would; empty when it does not."""
        if self._enforcement is None:
            return find_pin_obstacle(self._settings.pin_dir)
        return self._pinned.obstacle

    @property
    def known_files(self) -> int:
        """Files that are denied whatever they are called, on the host and in each container."""
        return 0 if self._enforcement is None else len(self._enforcement.policy.files)

    @property
    def has_unknown_files(self) -> bool:
        """Some found no room in the kernel."""
        return self._enforcement is not None and bool(self._enforcement.policy.files.without_room)

    @property
    def knows_overlay(self) -> bool:
        """Whether what denies can tell what was written since an image."""
        return self._enforcement is not None and self._enforcement.knows_overlay

    def list_plain_roots(self) -> list[str]:
        """Ids of containers whose root is no overlay: what was written since the image cannot be told there."""
        cgroups = [] if self._enforcement is None else self._enforcement.list_plain_roots()
        found = map(self._neighbours.find_container_of, cgroups)
        return sorted({container.id for container in found if container is not None})

    # --- start and policy ----------------------------------------------------------------------

    def start(self, tier: str, wanted: tuple[DenyRule, ...]) -> str:
        """Load, attach and prove a tier, or take it over; answers why it is no use, if it is none.

        What was taken over denies by these rules then, else nothing but the canary is denied until :meth:`apply`.

        Raises:
            ValueError: the rules do not fit.
        """
        return self._start(tier, wanted)

    def _start(self, tier: str, wanted: tuple[DenyRule, ...], earlier: Enforcement | None = None) -> str:
        """The same, knowing what another one knows of tasks and containers."""
        hooks = find_hooks(wanted) if tier == LSM else ()
        knows_overlay = bool(probe_overlay_types())
        plan = EnforcementPlan(tier, *self._hierarchy, self._settings.limiter, hooks, knows_overlay)
        try:
            self._enforcement = self._pinned.start(get_enforcement_object(), plan, earlier)
        except (LibbpfError, FileNotFoundError) as error:
            return f"the kernel refuses it: {error.strerror or error}"
        self._enforcement.policy.continue_from(self._book.last_generation)
        for change in self._book.list_changes(time.monotonic_ns()):
            self._neighbours.feed_event(change)
        self._enforcer = Enforcer(
            self._enforcement, self._settings, self._neighbours.find_container_of, self._tell, _load_inspector()
        )
        self._enforcement.set_runtimes(self._neighbours.identify_files(find_runtime_paths()).values())
        self._enforcement.set_runtime_helpers(self._neighbours.identify_files(find_runtime_helpers()).values())
        for cgroup_id, is_container in self._neighbours.list_cgroups():
            with contextlib.suppress(OSError):
                self._enforcer.tag_cgroup(cgroup_id, is_container=is_container)
            if is_container and (root := find_container_root(cgroup_id)) is not None:
                with contextlib.suppress(OSError):
                    self._enforcement.add_container_root(cgroup_id, root.device, is_overlay=root.is_overlay)
        self._arguments, self._is_settled = None, False
        try:
            self._put(wanted if self._enforcement.is_adopted else ())
        except ValueError:
            if not self._enforcement.is_adopted:  # else what denied before goes on
                self._give_up()
            raise
        with self._as_strangers():
            obstacle = _ask(self._canary.is_refused)
        if obstacle:
            self._give_up()
        return obstacle

    def prove_arguments(self, wanted: tuple[DenyRule, ...]) -> str:
        """Why rules that ask for arguments are not decided, if they are not. What is loaded is asked once."""
        if not any(map(asks_arguments, wanted)):
            return ""
        if self._arguments is None:
            self._put(self._applied or (), proves_arguments=True)
            with self._as_strangers():
                self._arguments = _ask(self._canary.are_arguments_decided)
        return self._arguments

    @contextlib.contextmanager
    def _as_strangers(self) -> Iterator[None]:
        """What we execute meanwhile is not ours: that it is may be known from an earlier object."""
        assert self._enforcement is not None
        self._enforcement.unmark_own_process()
        yield
        if self._is_settled:
            self._enforcement.mark_own_process()

    def settle(self) -> None:
        """It has been proved: read its denials, and deny nothing to ourselves."""
        assert self._enforcement is not None
        self._neighbours.read_later(self._enforcement.ring)
        self._enforcement.mark_own_process()
        self._is_settled = True

    def apply(self, wanted: tuple[DenyRule, ...]) -> None:
        """Deny by these rules; the old ones stay when anything fails.

        Raises:
            ValueError: they do not fit, or the kernel refuses them.
        """
        assert self._enforcement is not None
        assert self._enforcer is not None
        is_outdated = not self._enforcement.knows_overlay and probe_overlay_types()
        if wanted == self._applied and not is_outdated:
            return
        if is_outdated or not self._enforcement.has_hooks(find_hooks(wanted)):
            self._exchange(self._enforcement, wanted)
            return
        self._put(wanted)

    def _put(self, wanted: tuple[DenyRule, ...], *, proves_arguments: bool = False) -> None:
        """Put rules in force, and the canaries that they need."""
        assert self._enforcer is not None
        canaries = self._list_canaries(asks=proves_arguments or any(map(asks_arguments, wanted)))
        policy = self._builder.build((*canaries, *wanted))
        try:
            self._enforcer.apply(policy)
        except OSError as error:
            raise ValueError(f"the kernel refuses the deny policy: {error.strerror}; the old one stays") from error
        self._applied = wanted

    def _exchange(self, old: Enforcement, wanted: tuple[DenyRule, ...]) -> None:
        """Load anew, with what these rules need; what there is denies until then, or on when that fails."""
        before = old, self._enforcer, self._pinned, self._applied, self._arguments, self._is_settled
        pinned = self._pinned
        self._enforcement, self._pinned, self._applied = None, Pinned(self._settings.pin_dir), None
        try:
            if obstacle := self._start(old.tier, wanted, old) or self.prove_arguments(wanted):
                raise ValueError(f"what these rules need cannot be had: {obstacle}; the old rules stay")
            self._put(wanted)
        except ValueError:
            if self.is_loaded:
                self._give_up()
            (self._enforcement, self._enforcer, self._pinned, self._applied, self._arguments, self._is_settled) = before
            old.mark_own_process()
            raise
        self.settle()
        self._pinned.follow(pinned)
        self._neighbours.forget_ring(old.ring)
        old.detach()
        old.ring.drain(self._neighbours.feed_record, OLD_RECORDS_MAX)
        old.close()

    def prepare(self, wanted: tuple[DenyRule, ...]) -> None:
        """Build the policy of these rules beforehand, in a thread. Raises ``ValueError``: they do not fit."""
        if self._enforcement is not None:
            self._builder.build((*self._list_canaries(asks=any(map(asks_arguments, wanted))), *wanted))

    def retire_others(self) -> None:
        """End what an earlier service has left and we do not go on with; the policy in force is ours."""
        self._pinned.retire(self._neighbours.feed_record)
        self._is_ours = True

    def _give_up(self) -> None:
        assert self._enforcement is not None
        self._pinned.remove()
        self._close_enforcer()
        self._enforcement.close()
        self._enforcement = self._applied = None

    def _tell(self, generation: int, rule_ids: tuple[str, ...]) -> None:
        self._book.write(generation, rule_ids)
        self._neighbours.feed_event(PolicyChange(time.monotonic_ns(), generation, rule_ids))

    def _list_canaries(self, *, asks: bool) -> tuple[DenyRule, ...]:
        """``asks``: that of arguments too."""
        if not asks:
            return (self._canary.rule,)
        ends = self._enforcement is not None and self._enforcement.ends_by_arguments
        return self._canary.rule, self._canary.rule_of_ending if ends else self._canary.rule_of_arguments

    # --- what the service tells ----------------------------------------------------------------

    def tag_cgroup(self, cgroup_id: CgroupId, *, is_container: bool) -> None:
        """Say what a cgroup is. Raises ``OSError`` when the kernel's table is full."""
        if self._enforcer is not None:
            self._enforcer.tag_cgroup(cgroup_id, is_container=is_container)

    def untag_cgroup(self, cgroup_id: CgroupId) -> None:
        """Forget a cgroup that is gone."""
        if self._enforcer is not None:
            self._enforcer.untag_cgroup(cgroup_id)

    def on_exec(self, context: Context) -> None:
        """A program runs."""
        if self._enforcer is not None and self._knows_pids:
            self._enforcer.on_exec(context)

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

    # --- end -----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Deny no more, unless that is to go on; the ring can still be read."""
        if self._enforcement is None or (self._pinned.is_pinned and self._goes_on(self._enforcement)):
            return
        self._pinned.remove()
        self._enforcement.detach()

    def _goes_on(self, enforcement: Enforcement) -> bool:
        """What was taken over and got no policy of ours is left as it was."""
        return self._settings.enforcement.on_exit == KEEP if self._is_ours else enforcement.is_adopted

    def _close_enforcer(self) -> None:
        if self._enforcer is not None and self._enforcer.files is not None:
            self._enforcer.files.close()
        self._enforcer = None

    def close(self) -> None:
        """Free all that is not pinned."""
        self._close_enforcer()
        if self._enforcement is not None:
            self._enforcement.close()
        self._enforcement = None
        self._pinned.close()


def _load_inspector() -> FileInspector | None:
    try:
        return FileInspector(get_inspection_object())
    except (LibbpfError, FileNotFoundError) as error:
        _LOG.warning("what rules deny by exact path is denied by that name alone: %s", error.strerror)
        return None


def _ask(is_proved: Callable[[], bool]) -> str:
    """Why a canary proved nothing, if it did not."""
    try:
        return "" if is_proved() else "a program that had to be refused ran"
    except OSError as error:
        return f"the program that proves it cannot be executed here: {error.strerror}"
