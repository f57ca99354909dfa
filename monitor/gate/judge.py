"""Which terms a held event fulfils: one lookup for each dimension, and an AND. Pure.

The lookups mean what the kernel's mean (:mod:`monitor.model.kernel_policy`). Facts are
asked for only while terms are left that need them: of most files the name alone says
that no rule is about them.
"""

from typing import Protocol

from monitor.gate.policy import LoadedPolicy, LoadedScope
from monitor.model.kernel_policy import Dimension, Key


class Facts(Protocol):
    """What is known of one held event, found out when it is asked for."""

    @property
    def event(self) -> str:
        """``exec`` or ``open``."""

    def value(self, dimension: Dimension) -> Key | None:
        """The value that a dimension's lookup takes; None: it is not to be had."""

    def find_scope(self, policy: LoadedPolicy) -> LoadedScope:
        """What holds for the task that is held."""


def judge(policy: LoadedPolicy, facts: Facts) -> tuple[int, LoadedScope | None]:
    """The terms that an event fulfils, and the scope in which it was judged (None: it was not needed)."""
    plan = policy.plans[facts.event]
    vector = plan.terms
    for dimension, table in plan.asked:
        vector &= table.find(facts.value(dimension))
        if not vector:
            return 0, None
    if not vector:
        return 0, None
    scope = facts.find_scope(policy)
    return vector & scope.applies, scope


def may_ever_match(policy: LoadedPolicy, event: str, name: str, applies: int) -> bool:
    """Whether a rule could match a file in this event, whatever the process.

    ``name`` is its folded path, ``applies`` the terms that hold where it is shown so.
    """
    plan = policy.plans[event]
    vector = plan.by_other_facts & applies
    if vector & plan.by_any_name:
        return True
    for table in plan.by_name:
        vector &= table.find(name)
    return bool(vector)
