"""The compiled rules as the engine sees them: what to evaluate for an event, and what the sensors must deliver.

Built by :mod:`monitor.rules.binding`; evaluated by the engine, which owns all
state (scores, correlation windows). Nothing in here changes after it is built.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from monitor.model.events import Event
from monitor.model.interest import OpenPattern
from monitor.model.process import Context
from monitor.model.rule import Rule, RuleWarning
from monitor.rules.denials import DenyRule
from monitor.rules.field import Getter, Predicate


class CompiledRule(Struct, frozen=True):
    """A rule and its closure."""

    rule: Rule
    matches: Predicate


class CompiledCorrelation(Struct, frozen=True):
    """What the engine's correlation tables need to know of one correlation rule."""

    rule: Rule
    kind: str
    """``event_count value_count temporal temporal_ordered``."""
    base_rule_ids: tuple[str, ...]
    """In the order of the file: the order that ``temporal_ordered`` asks for. May name other correlations."""
    group_by: tuple[tuple[Getter, ...], ...]
    """For each base rule (same order) the getters of the group's key, aliases resolved; empty tuples: one group."""
    timespan_ns: int
    operator: str
    """``gte gt lte lt eq neq``: compares what was counted with ``count``.

    Counted are events, distinct values, or distinct base rules, by ``kind``.
    """
    count: float
    value_of: Getter | None = None
    """``value_count``: the value whose distinct ones are counted."""
    is_met: Callable[[Sequence[str]], bool] | None = None
    """Temporal kinds with a boolean condition: do these base rules, seen in the window in this order, fulfil it?

    None: ``operator`` and ``count`` on the number of distinct base rules seen.
    """


_NONE: tuple[CompiledRule, ...] = ()


class RuleSet:
    """All rules of one load.

    ``enabled`` are the rules with a predicate; a rule without a sensor is in
    ``rules`` only, with its ``inactive_reason``.
    """

    __slots__ = (
        "_candidates",
        "correlations",
        "denials",
        "enabled",
        "needed_events",
        "open_patterns",
        "rules",
        "warnings",
    )

    def __init__(
        self,
        rules: tuple[Rule, ...] = (),
        *,
        enabled: tuple[CompiledRule, ...] = (),
        correlations: tuple[CompiledCorrelation, ...] = (),
        denials: tuple[DenyRule, ...] = (),
        open_patterns: tuple[OpenPattern, ...] = (),
        needed_events: frozenset[str] = frozenset(),
        warnings: tuple[RuleWarning, ...] = (),
        candidates: Mapping[type[Event], Callable[[Context], Sequence[CompiledRule]]] | None = None,
    ) -> None:
        self.rules = rules
        """Every rule that was loaded, inactive ones and correlations too, in file order."""
        self.enabled = enabled
        """Rules that can match a single event, in file order."""
        self.correlations = correlations
        """Active correlation rules; one that refers to another comes after it."""
        self.denials = denials
        """Active rules whose response is ``deny``, and what of them the kernel can decide."""
        self.open_patterns = open_patterns
        """Which file opens the kernel must let through."""
        self.needed_events = needed_events
        """Names of the event classes that enabled rules need, e.g. ``ProcessExec``."""
        self.warnings = warnings
        self._candidates = dict(candidates or {})

    def candidates(self, context: Context) -> Sequence[CompiledRule]:
        """The rules that could match; whoever calls evaluates all of them."""
        find = self._candidates.get(type(context.event))
        return _NONE if find is None else find(context)
