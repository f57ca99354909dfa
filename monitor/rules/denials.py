"""Rules that deny: what of them the kernel can decide, and for whom.

Pure. The vectors of all dimensions but the container's are :mod:`monitor.rules.kernel_policy`'s;
a container's is made here whenever one comes or is named.
"""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct, structs

from monitor.model.kernel_hooks import ENDED
from monitor.model.kernel_policy import ContainerTerms, Dimension
from monitor.model.rule import Rule
from monitor.rules.ir import And, AnyNode, Not, Or
from monitor.rules.kernel_policy import KernelPolicy, PolicyTerm, build_policy, build_rule_terms
from monitor.rules.kernel_terms import NotDecidable

DENY: Final = "deny"
ENFORCE: Final = "enforce"
Answer = Callable[[AnyNode], bool | None]
"""The value of a test of a container; None: what it asks for is not known yet."""


class DenyRule(Struct, frozen=True):
    """A rule whose response is ``deny``."""

    rule: Rule
    terms: tuple[PolicyTerm, ...]
    """What the kernel decides it by; none when it cannot, or when the rule can never match."""
    not_decidable: str = ""
    """Why the kernel cannot."""


def build_deny_rule(rule: Rule, category: str, condition: AnyNode) -> DenyRule:
    """What the kernel can do for a rule."""
    try:
        return DenyRule(rule, build_rule_terms(rule, category, condition))
    except NotDecidable as reason:
        return DenyRule(rule, (), str(reason))


def end_by_arguments(deny: DenyRule) -> DenyRule:
    """The same, deciding by arguments when a program has been executed, not before."""
    ended = (
        structs.replace(term, event=ENDED, also=()) if Dimension.ARGUMENTS in term.asks else term for term in deny.terms
    )
    return structs.replace(deny, terms=tuple(ended))


def build_deny_policy(rules: Iterable[DenyRule]) -> KernelPolicy:
    """One policy of all that the kernel can decide. Raises :class:`~monitor.rules.kernel_policy.PolicyError`."""
    return build_policy([term for rule in rules for term in rule.terms])


def select_terms(policy: KernelPolicy, answer: Answer, mode: str) -> ContainerTerms:
    """What a policy is for one container (or the host) under a mode.

    A term whose scope rests on what is not known yet does not count, negated or not.
    """
    scope = enforced = 0
    for number, term in enumerate(policy.terms):
        asked = term.asks.get(Dimension.CONTAINER)
        if asked is None or evaluate(asked, answer):
            scope |= 1 << number
        if denies(term.rule, mode):
            enforced |= 1 << number
    return ContainerTerms(scope, enforced & scope)


def may_concern_host(deny: DenyRule) -> bool:
    """Whether a rule may match outside of every container: nothing of a container is there to be found."""
    asked = (term.asks.get(Dimension.CONTAINER) for term in deny.terms)
    return any(expression is None or evaluate(expression, lambda _: False) for expression in asked)


def denies(rule: Rule, mode: str) -> bool:
    """Whether a rule does what it says, where the service (or the container) has this mode: only stable ones do."""
    return rule.status == "stable" and (rule.mode or mode) == ENFORCE


def evaluate(expression: AnyNode, answer: Answer) -> bool | None:
    """The value of an expression by Kleene's logic: None where the value hangs on an unknown test."""
    match expression:
        case Not(inner):
            value = evaluate(inner, answer)
            return None if value is None else not value
        case And(nodes):
            return _decided_by(False, [evaluate(node, answer) for node in nodes])
        case Or(nodes):
            return _decided_by(True, [evaluate(node, answer) for node in nodes])
        case test:
            return answer(test)


def _decided_by(decisive: bool, values: list[bool | None]) -> bool | None:
    if decisive in values:
        return decisive
    return None if None in values else not decisive
