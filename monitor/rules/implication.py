"""Prove, where it is easy, that one predicate holds whenever another does: an exception that empties its rule."""

from monitor.rules.ir import And, AnyNode, Exists, Flag, Glob, Not, Number, Or, Regex, Text
from monitor.rules.text_tests import build_text_test


def implies(premise: AnyNode, conclusion: AnyNode) -> bool:
    """True only if every context that fulfils ``premise`` fulfils ``conclusion``; False when that is not seen."""
    if premise == conclusion:
        return True
    if isinstance(conclusion, And):
        return all(implies(premise, part) for part in conclusion.nodes)
    if isinstance(premise, Or):
        return all(implies(part, conclusion) for part in premise.nodes)
    if isinstance(conclusion, Or) and any(implies(premise, part) for part in conclusion.nodes):
        return True
    if isinstance(premise, And):
        return any(implies(part, conclusion) for part in premise.nodes)
    if isinstance(premise, Not) and isinstance(conclusion, Not):
        return implies(conclusion.node, premise.node)
    return _leaf_implies(premise, conclusion)


def _leaf_implies(premise: AnyNode, conclusion: AnyNode) -> bool:
    if isinstance(conclusion, Exists):
        positive = isinstance(premise, Text | Glob | Regex | Number | Flag)
        return positive and getattr(premise, "field", "") == conclusion.field
    if isinstance(premise, Text) and isinstance(conclusion, Text):
        same = premise.field == conclusion.field and premise.cased == conclusion.cased
        return same and all(_text_implies(premise.match, value, conclusion) for value in premise.values)
    return False


def _text_implies(match: str, value: str, conclusion: Text) -> bool:
    """Does a text that is (or begins with, ends with, contains) ``value`` pass the other test?"""
    if match == "exact" or conclusion.match in {match, "contains"}:
        return build_text_test(conclusion.match, conclusion.values)(value)
    return False
