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
from monitor.engine.decide import get_mode
from monitor.engine.images import EMPTY_IMAGE
from monitor.model.container import Container
from monitor.model.events import AnyEvent, PolicyChange, Tick
from monitor.model.ids import CgroupId, ProcessKey, Tgid
from monitor.model.kernel_policy import ContainerTerms
from monitor.model.process import Context, Process
from monitor.rules.compiler import Compiler
from monitor.rules.denials import Answer, DenyRule, build_deny_policy, select_terms
from monitor.rules.ir import AnyNode, Cidr, Exists, FieldRef, Flag, Glob, Number, Regex, Text
from monitor.rules.kernel_policy import KernelPolicy, PolicyError
from monitor.wire import _layout as layout

_LOG: Final = logging.getLogger(__name__)
_TOLD_BY_PATH: Final = frozenset({"container.id", "container.runtime", "container.nested.id", "container.pod.id"})
"""What a cgroup's path says of its container; the rest comes from the runtime."""
_NOBODY: Final = Process(ProcessKey(Tgid(0), 0), EMPTY_IMAGE, 0, CgroupId(0), None, None)


class Enforcer:
    """See the module. ``feed`` takes events that user space makes."""

    def __init__(
        self,
        enforcement: Enforcement,
        settings: Settings,
        find_container: Callable[[CgroupId], Container | None],
        feed: Callable[[AnyEvent], None],
    ) -> None:
        self._enforcement = enforcement
        self._mode = settings.mode
        self._find_container = find_container
        self._feed = feed
        self._policy: KernelPolicy = build_deny_policy(())
        self._compiler = Compiler()
        self._slots: dict[str, int] = {}
        """Container id -> its place in the kernel's table."""
        self._containers: dict[str, Container] = {}
        self._free = list(range(layout.POLICY_CONTAINERS - 1, layout.POLICY_FIRST_CONTAINER - 1, -1))
        self.without_slot = 0
        """Containers for which there was no room: rules for any container hold there, no others."""

    def apply(self, rules: tuple[DenyRule, ...]) -> None:
        """Put these rules in force; the old ones stay when anything fails.

        Raises:
            ValueError: they do not fit.
            OSError: the kernel refused.
        """
        try:
            policy = build_deny_policy(rules)
        except PolicyError as error:
            raise ValueError(str(error)) from error
        old, self._policy = self._policy, policy
        try:
            generation = self._enforcement.policy.apply(policy.tables, self._select_all())
        except BaseException:
            self._policy = old
            raise
        self._feed(PolicyChange(time.monotonic_ns(), generation, tuple(term.rule.id for term in policy.terms)))

    # --- the kernel's table of containers (KernelTags) ------------------------------------------

    def tag_cgroup(self, cgroup_id: CgroupId, *, is_container: bool) -> None:
        """Say whose a cgroup is. Raises ``OSError`` when the table of cgroups is full."""
        container = self._find_container(cgroup_id) if is_container else None
        slot = layout.POLICY_HOST if container is None else self._find_slot(container)
        self._enforcement.policy.set_cgroup(cgroup_id, slot)

    def untag_cgroup(self, cgroup_id: CgroupId) -> None:
        """The cgroup is gone (the kernel side has forgotten it already): its container's slot is free again."""
        for identity, container in self._containers.items():
            if container.cgroup_id == cgroup_id:
                self._free.append(self._slots.pop(identity))
                del self._containers[identity]
                return

    def _find_slot(self, container: Container) -> int:
        slot = self._slots.get(container.id)
        if slot is not None and self._containers[container.id] == container:
            return slot
        if slot is None:
            if not self._free:
                self.without_slot += 1
                return layout.POLICY_PENDING
            slot = self._free.pop()
        self._slots[container.id], self._containers[container.id] = slot, container
        try:
            self._enforcement.policy.set_container(slot, self._select(container))
        except PolicyDoesNotFit as error:
            _LOG.warning("container %s gets the policy of any container: %s", container.id[:12], error)
            return layout.POLICY_PENDING
        return slot

    # --- what the policy is for whom ----------------------------------------------------------

    def _select_all(self) -> dict[int, ContainerTerms]:
        selected = {self._slots[identity]: self._select(each) for identity, each in self._containers.items()}
        selected[layout.POLICY_HOST] = select_terms(self._policy, self._answer(None), self._mode)
        selected[layout.POLICY_PENDING] = select_terms(self._policy, _answer_for_any, self._mode)
        return selected

    def _select(self, container: Container) -> ContainerTerms:
        return select_terms(self._policy, self._answer(container), get_mode(self._mode, container))

    def _answer(self, container: Container | None) -> Answer:
        """How the rules' own closures see it."""
        context = Context(Tick(0), _NOBODY, EMPTY_IMAGE, None, container)

        def answer(test: AnyNode) -> bool | None:
            if container is not None and container.pending and _field_of(test) not in _TOLD_BY_PATH:
                return None
            return self._compiler.compile(test)(context)

        return answer


def _answer_for_any(test: AnyNode) -> bool | None:
    """Of a container that is only known to be one."""
    match test:
        case Exists("container.id"):
            return True
    return None


def _field_of(test: AnyNode) -> str:
    match test:
        case Text() | Glob() | Regex() | Number() | Flag() | Exists() | FieldRef() | Cidr():
            return test.field
    return ""
