"""Which tiers each deny rule gets on a host, and why not a better one.

Pure: what the host can do is told. ``lsm`` denies before it happens, ``hold`` too, but
only on the file systems that are held, ``kill`` ends a program that was executed before
its first instruction, ``observe`` only tells. Where the gate holds, and sees less than
a rule is about, ``kill`` does the rest.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from monitor.model.kernel_hooks import ACCESS, EXEC, FILES, HOOKS, SOCKETS
from monitor.model.kernel_policy import Dimension
from monitor.rules.denials import DenyRule, end_by_arguments, may_concern_host
from monitor.rules.hold_terms import find_hold_obstacle
from monitor.rules.ir import AnyNode, Flag
from monitor.rules.kernel_terms import RUNTIME_INIT, tests_of

LSM: Final = "lsm"
HOLD: Final = "hold"
KILL: Final = "kill"
OBSERVE: Final = "observe"
UPPER_LAYER: Final = "process.flags.upper_layer"
_RANKS: Final = (OBSERVE, KILL, HOLD, LSM)
_ELSEWHERE: Final = {KILL: "what is executed elsewhere is ended", OBSERVE: "what is done elsewhere is only told"}


class HostTiers(Struct, frozen=True):
    """What this host can do. Empty: it can; else why it cannot."""

    lsm: str = ""
    hold: str = ""
    kill: str = ""
    arguments: str = ""
    """Whether the tier that there is can decide by arguments,"""
    endings: str = ""
    """and tier lsm, where it cannot, can end programs by them."""
    names: str = ""
    """Whether tier lsm can deny what is done to a file other than by opening it,"""
    sockets: str = ""
    """and connections to Unix sockets."""

    @property
    def kernel(self) -> str:
        """The strongest tier of those in which the kernel decides alone."""
        if not self.lsm:
            return LSM
        return OBSERVE if self.kill else KILL


class PlannedDenial(Struct, frozen=True):
    """A deny rule with its tiers."""

    deny: DenyRule
    tiers: tuple[str, ...] = ()
    """All that are to be in force for it, strongest first; each sees what the one before it does not."""
    tier: str = OBSERVE
    """What the rule gets wherever it applies: where that differs, the weakest."""
    reason: str = ""
    """Why not a better one."""
    is_ended: bool = False
    """Beside tier lsm: decided by arguments when a program runs, for they cannot be read before."""

    @property
    def for_kernel(self) -> DenyRule:
        """What the kernel gets."""
        return end_by_arguments(self.deny) if self.is_ended else self.deny

    def describe(self) -> str:
        """Tiers and reason, for people."""
        head = " and ".join(self.tiers) or OBSERVE
        return f"{head}: {self.reason}" if self.reason else head


def plan_denials(rules: Iterable[DenyRule], host: HostTiers) -> tuple[PlannedDenial, ...]:
    """The tiers of each rule, in order."""
    return tuple(_plan(rule, host) for rule in rules)


def asks_arguments(rule: DenyRule) -> bool:
    """Whether the kernel has to read argv for this rule."""
    return any(Dimension.ARGUMENTS in term.asks for term in rule.terms)


def asks_upper_layer(rule: DenyRule) -> bool:
    """Whether it asks what was written since the image: not to be told where a root is no overlay."""
    asked = (term.asks[Dimension.FLAGS] for term in rule.terms if Dimension.FLAGS in term.asks)
    return any(isinstance(test, Flag) and test.field == UPPER_LAYER for each in asked for test in tests_of(each))


def find_hooks(rules: Iterable[DenyRule]) -> tuple[str, ...]:
    """The groups of hooks that tier lsm needs for these rules beside those that it always has."""
    events = {event for rule in rules for term in rule.terms for event in term.events}
    return tuple(sorted({HOOKS[event] for event in events if event in HOOKS}))


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
        return PlannedDenial(rule, reason=rule.not_decidable)
    if not host.lsm:
        return _plan_hooked(rule, host)
    not_held = host.hold or find_hold_obstacle(rule.terms)
    not_killed = host.kill or _find_kill_obstacle(rule, host)
    if not not_held:
        return _plan_held(rule, OBSERVE if not_killed else KILL, host)
    if not_killed:
        return PlannedDenial(rule, reason=_join(host.lsm, not_held, not_killed))
    return PlannedDenial(rule, (KILL,), KILL, _join(host.lsm, not_held))


def _plan_hooked(rule: DenyRule, host: HostTiers) -> PlannedDenial:
    if host.arguments and asks_arguments(rule):
        return _plan_ended(rule, host)
    obstacle, missing = _find_kernel_obstacle(rule), _find_missing_hooks(rule, host)
    if not obstacle and rule.terms and all(term.event in HOOKS for term in rule.terms):
        obstacle = missing
    return PlannedDenial(rule, reason=obstacle) if obstacle else PlannedDenial(rule, (LSM,), LSM, missing)


def _plan_ended(rule: DenyRule, host: HostTiers) -> PlannedDenial:
    """Arguments cannot be read before a program runs: it is ended when it does."""
    if obstacle := _find_kernel_obstacle(rule) or host.kill or host.endings:
        return PlannedDenial(rule, reason=_join(host.arguments, obstacle))
    tiers = (KILL,) if all(Dimension.ARGUMENTS in term.asks for term in rule.terms) else (LSM, KILL)
    return PlannedDenial(rule, tiers, KILL, host.arguments, is_ended=True)


def _find_missing_hooks(rule: DenyRule, host: HostTiers) -> str:
    hooks = find_hooks([rule])
    return _join(*(reason for group, reason in ((FILES, host.names), (SOCKETS, host.sockets)) if group in hooks))


def _join(*reasons: str) -> str:
    """Why not one tier, and not the next: each reason once."""
    return "; ".join(dict.fromkeys(reasons))


def _plan_held(rule: DenyRule, elsewhere: str, host: HostTiers) -> PlannedDenial:
    """``elsewhere``: what becomes of it on file systems that are not held."""
    tiers = (HOLD,) if elsewhere == OBSERVE else (HOLD, elsewhere)
    reason = f"on file systems that are held (docs/hold.md), {_ELSEWHERE[elsewhere]}; {host.lsm}"
    if not may_concern_host(rule):
        return PlannedDenial(rule, tiers, HOLD, reason)
    return PlannedDenial(rule, tiers, elsewhere, f"{reason}; not about containers alone, so it counts as {elsewhere}")


def _find_kernel_obstacle(rule: DenyRule) -> str:
    """Why the kernel alone cannot decide it, in whichever tier."""
    for term in rule.terms:
        if term.event != EXEC and Dimension.ARGUMENTS in term.asks:
            return "the arguments of the program that does it are not known to the kernel any more"
        if any(_is_about_setup(test) for asked in term.asks.values() for test in tests_of(asked)):
            return "this version does not know a runtime's set-up steps before they run"
    return ""


def _find_kill_obstacle(rule: DenyRule, host: HostTiers) -> str:
    if any(HOOKS.get(term.event) in {ACCESS, SOCKETS} for term in rule.terms):
        return "nothing but BPF LSM can deny access to a process, or a connection"
    if any(term.event != EXEC for term in rule.terms):
        return "an execution can be ended, what is done to a file cannot be undone"
    if host.arguments and asks_arguments(rule):
        return host.arguments
    return _find_kernel_obstacle(rule)


def _is_about_setup(test: AnyNode) -> bool:
    return isinstance(test, Flag) and test.field == RUNTIME_INIT
