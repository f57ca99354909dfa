"""Keep the kernel's denial policy as rules, mode and containers want it.

Owns which slot of the kernel's table is which container's. The engine tells of
cgroups (by way of :class:`~monitor.runtime.ports.KernelTags`), the service of rules.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from monitor.bpf.enforcement import Enforcement
from monitor.bpf.policy_packing import PolicyDoesNotFit
from monitor.config.settings import Settings
from monitor.host.cgroup_folders import CgroupFolders
from monitor.model.container import Container
from monitor.model.ids import CgroupId
from monitor.model.kernel_policy import ContainerTerms
from monitor.model.process import Context
from monitor.rules.denials import build_deny_policy
from monitor.rules.kernel_policy import KernelPolicy
from monitor.runtime.known_files import Inspector, KnownFiles
from monitor.runtime.policy_scopes import PolicyScopes, without_nested
from monitor.wire import _layout as layout

_LOG: Final = logging.getLogger(__name__)
START_LOOK_S: Final = 2.0
"""The first policy waits for the files at its exact paths no longer than this."""
DOUBT_S: Final = 5.0
"""A runtime makes the cgroup first and moves its task there a moment later; then it is known to be a container's."""


class Enforcer:
    """See the module. Before the first policy is applied, the kernel's tables are left as they are found."""

    def __init__(
        self,
        enforcement: Enforcement,
        settings: Settings,
        find_container: Callable[[CgroupId], Container | None],
        tell: Callable[[int, tuple[str, ...]], None],
        inspector: Inspector | None = None,
    ) -> None:
        """``tell`` hears of each policy's number and the rules of its terms, before it is in force.

        Without ``inspector`` exact paths are names alone.
        """
        self._enforcement = enforcement
        self._scopes = PolicyScopes(settings.mode)
        self._find_container = find_container
        self._tell = tell
        self._policy: KernelPolicy = build_deny_policy(())
        self._slots: dict[str, int] = {}
        """Container id -> its place in the kernel's table."""
        self._containers: dict[str, Container] = {}
        self._known = enforcement.policy.read_cgroups()
        """What an earlier service has left: a container keeps its slot."""
        taken = set(self._known.values())
        slots = range(layout.POLICY_CONTAINERS - 1, layout.POLICY_FIRST_CONTAINER - 1, -1)
        self._free = [slot for slot in slots if slot not in taken]
        self._waiting: dict[CgroupId, int] | None = {}
        """Cgroups to be told of once a policy of ours is in force; None: one is."""
        self._doubtful: dict[CgroupId, float] = {}
        """Cgroups that a runtime's task has made, or that have a container's name, with nobody in it: until when."""
        self.files = None if inspector is None else KnownFiles(inspector, enforcement.policy.set_files, self._find_pid)
        """What lies at the exact paths of the policy."""
        self.without_slot = 0
        """Containers for which there was no room: rules for any container hold there, no others."""

    def apply(self, policy: KernelPolicy) -> None:
        """Put a policy in force; the old one stays when anything fails.

        Raises:
            ValueError: it does not fit.
            OSError: the kernel refused.
        """
        old, self._policy = self._policy, policy
        if self._waiting is not None and self.files is not None:  # before what an earlier service knew is forgotten
            self.files.replace_paths(policy.known)
            self.files.finish(START_LOOK_S)
        try:
            writer = self._enforcement.policy
            self._tell(writer.next_generation, tuple(term.rule.id for term in policy.terms))
            writer.apply(policy.tables, self._select_all())
        except BaseException:
            self._policy = old
            raise
        if self._waiting is None and self.files is not None:
            self.files.replace_paths(policy.known)
        self._flush()

    def _flush(self) -> None:
        """Tell of the cgroups that waited for the first policy."""
        waiting, self._waiting = self._waiting, None
        for cgroup_id, slot in (waiting or {}).items():
            self._enforcement.policy.set_cgroup(cgroup_id, slot)

    # --- the kernel's table of containers (KernelTags) ------------------------------------------

    def tag_cgroup(self, cgroup_id: CgroupId, *, is_container: bool) -> None:
        """Say whose a cgroup is. Raises ``OSError`` when the table of cgroups is full."""
        container = self._find_container(cgroup_id) if is_container else None
        container = None if container is None else without_nested(container)
        slot = layout.POLICY_HOST if container is None else self._find_slot(container)
        if container is None and self._is_pending(cgroup_id):
            self._doubtful[cgroup_id] = time.monotonic() + DOUBT_S
            return
        if self._waiting is None:
            self._enforcement.policy.set_cgroup(cgroup_id, slot)
        else:
            self._waiting[cgroup_id] = slot

    def on_tick(self) -> None:
        """What the kernel side took for a container's, and turned out to be none, is the host's."""
        if self.files is not None:
            self.files.on_tick()
        now = time.monotonic()
        for cgroup_id in [each for each, until in self._doubtful.items() if until <= now]:
            del self._doubtful[cgroup_id]
            if self._find_container(cgroup_id) is None:
                self._enforcement.policy.set_cgroup(cgroup_id, layout.POLICY_HOST)

    def _is_pending(self, cgroup_id: CgroupId) -> bool:
        return self._enforcement.policy.read_cgroup(cgroup_id) == layout.POLICY_PENDING

    def untag_cgroup(self, cgroup_id: CgroupId) -> None:
        """The cgroup is gone (the kernel side has forgotten it already): its container's slot is free again."""
        self._doubtful.pop(cgroup_id, None)
        for identity, container in self._containers.items():
            if container.cgroup_id == cgroup_id:
                slot = self._slots.pop(identity)
                del self._containers[identity]
                self._enforcement.policy.files.forget(slot)
                if self.files is not None:
                    self.files.forget(slot)
                self._free.append(slot)
                return

    def on_exec(self, context: Context) -> None:
        """A container's own program runs: its root is the container's."""
        container, process = context.container, context.process
        if container is None or process is None or self.files is None or context.is_runtime_init:
            return
        slot = self._slots.get(container.id)
        if slot is not None:
            self.files.look_at(slot, process.key.tgid)

    def _find_pid(self, slot: int) -> int | None:
        """A process of the container in a slot."""
        cgroup_id = next((each.cgroup_id for name, each in self._containers.items() if self._slots[name] == slot), None)
        return None if cgroup_id is None else CgroupFolders().find_process(cgroup_id)

    def _find_slot(self, container: Container) -> int:
        slot = self._slots.get(container.id)
        if slot is not None and self._containers[container.id] == container:
            return slot
        if slot is None:
            slot = self._take_slot(container)
        if slot == layout.POLICY_PENDING:
            return slot
        self._slots[container.id], self._containers[container.id] = slot, container
        if self.files is not None:
            self.files.add(slot)
        if self._waiting is not None:
            return slot
        try:
            self._enforcement.policy.set_container(slot, self._select(container))
        except PolicyDoesNotFit as error:
            _LOG.warning("container %s gets the policy of any container: %s", container.id[:12], error)
            return layout.POLICY_PENDING
        return slot

    def _take_slot(self, container: Container) -> int:
        slot = self._known.pop(container.cgroup_id, layout.POLICY_HOST)
        if slot >= layout.POLICY_FIRST_CONTAINER and slot not in self._slots.values():
            return slot
        if self._free:
            return self._free.pop()
        self.without_slot += 1
        return layout.POLICY_PENDING

    def _select_all(self) -> dict[int, ContainerTerms]:
        selected = {self._slots[identity]: self._select(each) for identity, each in self._containers.items()}
        selected[layout.POLICY_HOST] = self._scopes.of_host(self._policy)
        selected[layout.POLICY_PENDING] = self._scopes.of_any_container(self._policy)
        return selected

    def _select(self, container: Container) -> ContainerTerms:
        return self._scopes.of_container(self._policy, container)
