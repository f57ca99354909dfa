"""Which terms a held event fulfils: one lookup for each dimension, and an AND. Pure.

The lookups mean what the kernel's mean (:mod:`monitor.model.kernel_policy`). Facts are
asked for only while terms are left that need them: of most files the name alone says
that no rule is about them.
"""

from typing import Protocol

from monitor.gate.policy import EXEC, EXEC_FILE_DIMENSIONS, OPEN_FILE_DIMENSIONS, LoadedPolicy, LoadedScope
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
    vector = policy.everything
    for dimension, table in policy.tables.items():
        vector &= table.find(facts.value(dimension))
        if not vector:
            return 0, None
    scope = facts.find_scope(policy)
    return vector & scope.applies, scope


def may_ever_match(policy: LoadedPolicy, event: str, names: dict[str, int]) -> bool:
    """Whether a rule could match the file in this event, whatever the process.

    ``names`` are the file's folded paths, each with the terms that apply where it is
    shown so.
    """
    by_name = EXEC_FILE_DIMENSIONS if event == EXEC else OPEN_FILE_DIMENSIONS
    return any(_could_match(policy, event, name, applies, by_name) for name, applies in names.items())


def _could_match(policy: LoadedPolicy, event: str, name: str, applies: int, by_name: frozenset[Dimension]) -> bool:
    vector = policy.terms_of(event) & applies
    for dimension, table in policy.tables.items():
        if dimension in by_name:
            vector &= table.find(name)
        elif event == EXEC and dimension in OPEN_FILE_DIMENSIONS:
            vector &= table.find("")  # an exec opens no file besides its program
        else:
            vector &= table.any
    return bool(vector)
