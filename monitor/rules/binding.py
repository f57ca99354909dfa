"""Bind a rule book to this run: exceptions that still hold, closures, index, kernel patterns.

From plain data only: neither YAML nor pySigma is needed here.
"""

from collections.abc import Hashable, Iterable
from datetime import date
from functools import partial

from monitor.model.interest import OpenPattern
from monitor.model.process import Context
from monitor.model.rule import RuleWarning
from monitor.rules.categories import CATEGORIES, GUARDS, Category
from monitor.rules.compiler import CompileError, Compiler
from monitor.rules.denials import DENY, build_deny_rule
from monitor.rules.expressions import IsMet, bind_ordered, bind_unordered
from monitor.rules.field import Getter, Predicate
from monitor.rules.fields import find_field
from monitor.rules.index import IndexedRule, index_rules
from monitor.rules.ir import AnyNode, CorrelationIR, Not, RuleBook, RuleIR
from monitor.rules.open_filter import build_open_patterns
from monitor.rules.ruleset import CompiledCorrelation, CompiledRule, RuleSet
from monitor.rules.trees import all_of

_SECOND_NS = 1_000_000_000


def bind_rules(book: RuleBook, today: date) -> RuleSet:
    """The rule set for evaluation. Raises :class:`CompileError` for a book that no reading makes (a bad cache)."""
    binder = _Binder()
    active = [(ir, effective_condition(ir, today)) for ir in book.rules if not ir.rule.inactive_reason]
    correlations = tuple(_bind_correlation(ir) for ir in book.correlations if not ir.rule.inactive_reason)
    return RuleSet(
        rules=book.all_rules,
        enabled=tuple(binder.bind(ir, condition) for ir, condition in active),
        correlations=correlations,
        denials=tuple(
            build_deny_rule(ir.rule, ir.category, condition) for ir, condition in active if ir.rule.response == DENY
        ),
        open_patterns=tuple(pattern for ir, condition in active for pattern in _open_patterns(ir, condition)),
        needed_events=frozenset().union(*(_category(ir).event_names for ir, _ in active)),
        warnings=(*book.warnings, *_expired(book.rules, today)),
        candidates=index_rules(
            IndexedRule(event, ir.category, condition, partial(binder.bind_simplified, ir))
            for ir, condition in active
            for event in _category(ir).events
        ),
    )


class _Binder:
    """Makes compiled rules with one compiler, so that they share their expressions."""

    def __init__(self) -> None:
        self._compiler = Compiler()

    def bind(self, ir: RuleIR, condition: AnyNode) -> CompiledRule:
        """The rule with its own condition, for events of its class."""
        matches = self._compiler.compile(condition)
        guard = GUARDS.get(ir.category)
        return CompiledRule(ir.rule, _guarded(guard, matches) if guard else matches)

    def bind_simplified(self, ir: RuleIR, condition: AnyNode) -> CompiledRule:
        """The rule with a condition simplified for events that belong to its category: the index has seen to that."""
        return CompiledRule(ir.rule, self._compiler.compile(condition))


def _category(ir: RuleIR) -> Category:
    category = CATEGORIES.get(ir.category)
    if category is None:
        raise CompileError(f"unknown category {ir.category}")
    return category


def _open_patterns(ir: RuleIR, condition: AnyNode) -> tuple[OpenPattern, ...]:
    return build_open_patterns(condition, _category(ir), ir.rule.name)


def effective_condition(ir: RuleIR, today: date) -> AnyNode:
    """What a rule matches today: its condition, and none of the exceptions that have not expired."""
    holding = [Not(exception.when) for exception in ir.exceptions if not _is_expired(exception.expires, today)]
    return all_of([ir.condition, *holding]) if holding else ir.condition


def _is_expired(expires: str, today: date) -> bool:
    return bool(expires) and date.fromisoformat(expires) <= today


def _expired(rules: Iterable[RuleIR], today: date) -> Iterable[RuleWarning]:
    return [
        RuleWarning(exception.location, f"this exception of rule {ir.rule.name} has expired on {exception.expires}")
        for ir in rules
        for exception in ir.exceptions
        if _is_expired(exception.expires, today)
    ]


def _guarded(guard: Predicate, matches: Predicate) -> Predicate:
    return lambda context: guard(context) and matches(context)


def _bind_correlation(ir: CorrelationIR) -> CompiledCorrelation:
    return CompiledCorrelation(
        rule=ir.rule,
        kind=ir.kind,
        base_rule_ids=ir.base_rule_ids,
        group_by=tuple(tuple(_getter(name) for name in names) for names in ir.group_by),
        timespan_ns=ir.timespan_s * _SECOND_NS,
        operator=ir.operator,
        count=ir.count,
        value_of=_value_getter(ir.value_fields) if ir.value_fields else None,
        is_met=_bind_expression(ir),
    )


def _getter(name: str) -> Getter:
    field = find_field(name)
    if field is None:
        raise CompileError(f"unknown field {name}")
    return field.get


def _value_getter(names: tuple[str, ...]) -> Getter:
    getters = tuple(_getter(name) for name in names)
    if len(getters) == 1:
        return getters[0]

    def values(context: Context) -> Hashable:
        found = tuple(get(context) for get in getters)
        return None if None in found else found

    return values


def _bind_expression(ir: CorrelationIR) -> IsMet | None:
    if ir.expression is None:
        return None
    if ir.kind == "temporal_ordered":
        return bind_ordered(ir.expression, ir.base_rule_ids)
    return bind_unordered(ir.expression)
