"""What a deny policy is for whom: the host, a container, one that is only known to be a container's."""

from collections import deque

from msgspec.structs import replace

from monitor.engine.decide import get_mode
from monitor.engine.images import EMPTY_IMAGE
from monitor.model.container import Container
from monitor.model.events import Tick
from monitor.model.ids import CgroupId, ProcessKey, Tgid
from monitor.model.kernel_policy import ContainerTerms
from monitor.model.process import Context, Process
from monitor.rules.compiler import Compiler
from monitor.rules.denials import Answer, DenyRule, build_deny_policy, select_terms
from monitor.rules.ir import AnyNode, Cidr, Exists, FieldRef, Flag, Glob, Number, Regex, Text
from monitor.rules.kernel_policy import KernelPolicy, PolicyError

_TOLD_BY_PATH = frozenset({"container.id", "container.runtime", "container.pod.id"})
"""What a cgroup's path says of its container; the rest comes from the runtime."""
_BUILT_MAX = 2
"""What waits to be put in force, and what is put in force before, to prove that it can be."""
_NOBODY = Process(ProcessKey(Tgid(0), 0), EMPTY_IMAGE, 0, CgroupId(0), None, None)


class PolicyScopes:
    """For one service, whose mode holds where nothing stricter does."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._compiler = Compiler()

    def of_host(self, policy: KernelPolicy) -> ContainerTerms:
        """For tasks outside of every container."""
        return select_terms(policy, self._answer(None), self._mode)

    def of_any_container(self, policy: KernelPolicy) -> ContainerTerms:
        """For a container of which nothing else is known."""
        return select_terms(policy, _answer_for_any, self._mode)

    def of_container(self, policy: KernelPolicy, container: Container) -> ContainerTerms:
        """For one container."""
        return select_terms(policy, self._answer(container), get_mode(self._mode, container))

    def _answer(self, container: Container | None) -> Answer:
        """How the rules' own closures see it."""
        context = Context(Tick(0), _NOBODY, EMPTY_IMAGE, None, container)

        def answer(test: AnyNode) -> bool | None:
            if container is not None and container.pending and _field_of(test) not in _TOLD_BY_PATH:
                return None
            return self._compiler.compile(test)(context)

        return answer


class PolicyBuilder:
    """Builds a policy once for the same rules: expressions over arguments take a second or two."""

    def __init__(self) -> None:
        self._built: deque[tuple[tuple[DenyRule, ...], KernelPolicy]] = deque(maxlen=_BUILT_MAX)

    def build(self, rules: tuple[DenyRule, ...]) -> KernelPolicy:
        """The policy of these rules.

        Raises:
            ValueError: they do not fit.
        """
        for known, policy in self._built:
            if known == rules:
                return policy
        try:
            policy = build_deny_policy(rules)
        except PolicyError as error:
            raise ValueError(str(error)) from error
        self._built.append((rules, policy))
        return policy


def without_nested(container: Container) -> Container:
    """The outermost container: what runs in it shares its policy."""
    return replace(container, nested_id="") if container.nested_id else container


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
