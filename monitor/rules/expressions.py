"""The boolean condition of a temporal correlation: ``a and (b or c)`` over base rules.

A tree of :class:`~monitor.rules.ir.And` and :class:`~monitor.rules.ir.Or` whose leaves are
``Exists(base rule id)``. There is no ``not``, so that more events can only help and a
correlation fires at the event that completes it.
"""

from collections.abc import Callable, Sequence
from typing import Final

from monitor.rules.compiler import CompileError
from monitor.rules.ir import And, AnyNode, Exists, Or

ALTERNATIVES_MAX: Final = 256

IsMet = Callable[[Sequence[str]], bool]
"""Do these base rules, seen in a window in this order (repeats included), fulfil the condition?"""
Alternative = tuple[str, ...]
"""Base rules, all of which fulfil the condition together."""


def find_alternatives(node: AnyNode) -> frozenset[frozenset[str]]:
    """Every set of rules that is enough. Raises :class:`CompileError` when there are too many."""
    match node:
        case Exists(rule_id):
            found = frozenset({frozenset({rule_id})})
        case Or(nodes):
            found = frozenset().union(*map(find_alternatives, nodes))
        case And(nodes):
            found = frozenset({frozenset()})
            for part in nodes:
                also = find_alternatives(part)
                _check_count(len(found) * len(also))
                found = frozenset(one | other for one in found for other in also)
        case _:
            raise CompileError("a temporal condition knows and, or and rules only")
    _check_count(len(found))
    return found


def bind_unordered(node: AnyNode) -> IsMet:
    """For ``temporal``: the rules may have come in any order."""
    alternatives = tuple(find_alternatives(node))

    def is_met(seen: Sequence[str]) -> bool:
        known = set(seen)
        return any(alternative <= known for alternative in alternatives)

    return is_met


def bind_ordered(node: AnyNode, base_rule_ids: Sequence[str]) -> IsMet:
    """For ``temporal_ordered``: the rules of one alternative must have come in the order of the file."""
    alternatives = tuple(tuple(sorted(one, key=base_rule_ids.index)) for one in find_alternatives(node))

    def is_met(seen: Sequence[str]) -> bool:
        """One pass: each alternative waits for its next rule."""
        waiting: dict[str, list[tuple[Alternative, int]]] = {}
        for alternative in alternatives:
            waiting.setdefault(alternative[0], []).append((alternative, 0))
        for rule_id in seen:
            for alternative, place in waiting.pop(rule_id, ()):
                if place + 1 == len(alternative):
                    return True
                waiting.setdefault(alternative[place + 1], []).append((alternative, place + 1))
        return False

    return is_met


def _check_count(count: int) -> None:
    if count > ALTERNATIVES_MAX:
        raise CompileError(f"the condition can be fulfilled in more than {ALTERNATIVES_MAX} ways")
