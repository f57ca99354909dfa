"""Rules and correlations as the engine is given them, made without files."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from monitor.model.events import Event
from monitor.model.process import Context
from monitor.model.rule import Rule, Severity
from monitor.rules.field import Getter, Predicate
from monitor.rules.ruleset import CompiledCorrelation, CompiledRule, RuleSet
from tests.support.make.events import SECOND


def rule(name: str = "test_rule", severity: Severity = Severity.HIGH, **facts: Any) -> Rule:
    """A stable rule; its id is made from its name."""
    defaults = {"id": f"id-of-{name}", "name": name, "title": name.replace("_", " "), "severity": severity}
    return Rule(**{**defaults, "status": "stable", "score": 60, **facts})


def is_program(suffix: str) -> Predicate:
    return lambda context: context.image.executable.endswith(suffix)


def is_file(suffix: str) -> Predicate:
    return lambda context: context.event.path.endswith(suffix)


def rule_set(
    rules: Iterable[tuple[Rule, type[Event], Predicate]] = (),
    correlations: Sequence[CompiledCorrelation] = (),
) -> RuleSet:
    """A set of (rule, event class, predicate)."""
    by_class: dict[type[Event], list[CompiledRule]] = {}
    listed = list(rules)
    for one, event_class, predicate in listed:
        by_class.setdefault(event_class, []).append(CompiledRule(one, predicate))
    every: dict[type[Event], Callable[[Context], Sequence[CompiledRule]]] = {
        kind: _always(found) for kind, found in by_class.items()
    }
    return RuleSet(
        tuple(one for one, _, _ in listed),
        enabled=tuple(compiled for found in by_class.values() for compiled in found),
        correlations=tuple(correlations),
        candidates=every,
    )


def _always(found: Sequence[CompiledRule]) -> Callable[[Context], Sequence[CompiledRule]]:
    return lambda _: found


def correlation(
    kind: str,
    *bases: Rule,
    seconds: float = 60,
    count: float = 3,
    operator: str = "gte",
    group_by: tuple[Getter, ...] = (),
    value_of: Getter | None = None,
    **facts: Any,
) -> CompiledCorrelation:
    own = rule(facts.pop("name", kind), is_correlation=True)
    return CompiledCorrelation(
        own,
        kind,
        tuple(base.id for base in bases),
        tuple(group_by for _ in bases),
        int(seconds * SECOND),
        operator,
        count,
        value_of,
        **facts,
    )
