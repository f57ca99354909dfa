"""Which tier each deny rule gets on a host, and why not a better one.

Pure: what the host can do is told. ``lsm`` denies before it happens, ``kill`` ends a
program that was executed before its first instruction, ``observe`` only tells.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from monitor.model.kernel_policy import Dimension
from monitor.rules.denials import DenyRule
from monitor.rules.ir import AnyNode, Flag
from monitor.rules.kernel_policy import EXEC, OPEN
from monitor.rules.kernel_terms import RUNTIME_INIT, tests_of

LSM: Final = "lsm"
KILL: Final = "kill"
OBSERVE: Final = "observe"
_RANKS: Final = (OBSERVE, KILL, "hold", LSM)
_HOOKED: Final = {LSM: frozenset({EXEC, OPEN}), KILL: frozenset({EXEC}), OBSERVE: frozenset[str]()}
"""By tier: events that a program of ours is called for before (or when) they happen."""


class HostTiers(Struct, frozen=True):
    """What this host can do. Empty: it can; else why it cannot."""

    lsm: str = ""
    kill: str = ""
    arguments: str = ""
    """Whether the tier that there is can decide by arguments."""

    @property
    def best(self) -> str:
        """The strongest tier here."""
        if not self.lsm:
            return LSM
        return OBSERVE if self.kill else KILL


class PlannedDenial(Struct, frozen=True):
    """A deny rule with its tier."""

    deny: DenyRule
    tier: str
    reason: str = ""
    """Why not a better one."""


def plan_denials(rules: Iterable[DenyRule], host: HostTiers) -> tuple[PlannedDenial, ...]:
    """The tier of each rule, in order."""
    return tuple(_plan(rule, host) for rule in rules)


def asks_arguments(rule: DenyRule) -> bool:
    """Whether the kernel has to read argv for this rule."""
    return any(Dimension.ARGUMENTS in term.asks for term in rule.terms)


def list_refusals(planned: Iterable[PlannedDenial]) -> list[str]:
    """The rules that ask for a tier that they do not get here: such a set is not put in force."""
    return [
        f"rule {each.deny.rule.name} asks for tier {each.deny.rule.require_tier} and would get {each.tier}: "
        f"{each.reason or 'the host can do no better'}"
        for each in planned
        if each.deny.rule.require_tier and _RANKS.index(each.tier) < _RANKS.index(each.deny.rule.require_tier)
    ]


def _plan(rule: DenyRule, host: HostTiers) -> PlannedDenial:
    if rule.not_decidable:
        return PlannedDenial(rule, OBSERVE, rule.not_decidable)
    if host.arguments and asks_arguments(rule):
        return PlannedDenial(rule, OBSERVE, host.arguments)
    if host.best != OBSERVE and (reason := _unhooked(rule, host)):
        return PlannedDenial(rule, OBSERVE, reason)
    return PlannedDenial(rule, host.best, host.kill or host.lsm)


def _unhooked(rule: DenyRule, host: HostTiers) -> str:
    for term in rule.terms:
        if term.event not in _HOOKED[host.best]:
            return f"without BPF LSM executions can be ended, and opens cannot be denied ({host.lsm})"
        if term.event == OPEN and Dimension.ARGUMENTS in term.asks:
            return "the arguments of the program that opens are not known to the kernel any more"
        if any(_is_about_setup(test) for asked in term.asks.values() for test in tests_of(asked)):
            return "this version does not know a runtime's set-up steps before they run"
    return ""


def _is_about_setup(test: AnyNode) -> bool:
    return isinstance(test, Flag) and test.field == RUNTIME_INIT
