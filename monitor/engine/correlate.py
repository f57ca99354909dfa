"""Correlations: rules about several events, in windows of event time.

Fed with the detections of each event; gives detections of correlation rules, about
the event that made a window fulfil its condition. Conditions that more events
can only help (``gte``, ``gt``) fire at once. The others (``lt lte eq neq``) fire when a window
that began with the group's first event is over, about its last event.

Per correlation at most ``correlation_groups_max`` groups, the least recent goes;
per group a bounded number of events. Evictions are counted.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

from monitor.config.settings import EngineSettings
from monitor.engine.windows import LATE_NS, Condition, Window
from monitor.model.alert import Detection
from monitor.model.process import Context
from monitor.model.rule import Rule
from monitor.rules.ruleset import CompiledCorrelation, RuleSet

CHAIN_MAX: Final = 16
"""Correlations of correlations that one event may fulfil."""
EVENTS_SPARE: Final = 16
GROUP_CHARS: Final = 120
_NS: Final = 1_000_000_000

GroupKey = tuple[Hashable, ...]


class Correlated(NamedTuple):
    """A correlation fired."""

    detection: Detection
    group: str
    """The group's values: two groups are two different things to tell of."""


class _Table:
    """All groups of one correlation."""

    def __init__(self, correlation: CompiledCorrelation, settings: EngineSettings) -> None:
        self.correlation = correlation
        self.condition = Condition(
            correlation.kind,
            correlation.timespan_ns,
            correlation.operator,
            correlation.count,
            correlation.base_rule_ids,
            correlation.is_met,
        )
        self.closes = correlation.is_met is None and correlation.operator not in {"gte", "gt"}
        needed = 2 * int(correlation.count) + EVENTS_SPARE
        is_counting = correlation.kind in {"event_count", "value_count"} and not self.closes
        self.limit = needed if is_counting else max(settings.correlation_events_max, needed)
        self.groups: OrderedDict[GroupKey, Window] = OrderedDict()

    @property
    def spec(self) -> tuple[object, ...]:
        """What must not change for the groups to stay over a reload."""
        one = self.correlation
        return (one.rule.id, one.kind, one.base_rule_ids, one.timespan_ns, one.operator, one.count)


class Correlator:
    """All correlations of the rules in use."""

    def __init__(self, rules: RuleSet, settings: EngineSettings) -> None:
        self._settings = settings
        self._tables: list[_Table] = []
        self._by_base: dict[str, list[tuple[_Table, int]]] = {}
        self.groups_evicted = 0
        self.events_evicted = 0
        self.disabled: dict[str, str] = {}
        """Correlation's id -> why it is off until the next load."""
        self.replace_rules(rules)

    @property
    def group_count(self) -> int:
        """Groups that have events now."""
        return sum(len(table.groups) for table in self._tables)

    def replace_rules(self, rules: RuleSet) -> None:
        """Take the correlations of another load; those that did not change keep what they have seen."""
        known = {table.spec: table for table in self._tables}
        self._tables = []
        self._by_base = {}
        self.disabled = {}
        for correlation in rules.correlations:
            table = _Table(correlation, self._settings)
            if (earlier := known.get(table.spec)) is not None:
                table.groups = earlier.groups
            self._tables.append(table)
            for position, rule_id in enumerate(correlation.base_rule_ids):
                self._by_base.setdefault(rule_id, []).append((table, position))

    def feed(self, detections: Sequence[Detection], failures: list[tuple[Rule, str]]) -> list[Correlated]:
        """Count detections of one event; what fired. A correlation whose getters raise is disabled and told."""
        if not self._by_base:
            return []
        fired: list[Correlated] = []
        counted: set[str] = set()
        waiting = deque(detections)
        while waiting and len(fired) < CHAIN_MAX:
            detection = waiting.popleft()
            for table, position in self._by_base.get(detection.rule.id, ()):
                rule = table.correlation.rule
                if rule.id in self.disabled or self._is_counted(table, counted):
                    continue
                try:
                    found = self._count(table, position, detection.context)
                except Exception as error:  # a rule's getter: foreign code, as a predicate is
                    self.disabled[rule.id] = f"{type(error).__name__}: {error}"[:200]
                    failures.append((rule, self.disabled[rule.id]))
                    continue
                if found is not None:
                    fired.append(found)
                    waiting.append(found.detection)
        return fired

    def expire(self, now_ns: int, budget: int) -> list[Correlated]:
        """Close windows that are over, forget groups of long ago; at most ``budget`` groups of each rule."""
        fired: list[Correlated] = []
        for table in self._tables:
            span = table.condition.timespan_ns + LATE_NS
            for _ in range(budget):
                if not table.groups:
                    break
                key, window = next(iter(table.groups.items()))
                newest = window.opened_ns if table.closes else window.times[-1]
                if newest + span > now_ns:
                    break
                del table.groups[key]
                if (found := _close(table, key, window)) is not None:
                    fired.append(found)
        return fired

    # --- inside ---------------------------------------------------------------------------

    @staticmethod
    def _is_counted(table: _Table, counted: set[str]) -> bool:
        """An event that matches several rules of a counting correlation is still one event."""
        if table.condition.kind not in {"event_count", "value_count"}:
            return False
        rule_id = table.correlation.rule.id
        if rule_id in counted:
            return True
        counted.add(rule_id)
        return False

    def _count(self, table: _Table, position: int, context: Context) -> Correlated | None:
        correlation = table.correlation
        tag: object = position
        if correlation.value_of is not None:
            tag = correlation.value_of(context)
            if tag is None:
                return None
        key = tuple(getter(context) for getter in correlation.group_by[position]) if correlation.group_by else ()
        ktime_ns = context.event.ktime_ns
        window = self._get_window(table, key, ktime_ns)
        if table.closes:
            return self._count_closing(table, key, window, tag, context)
        self.events_evicted += window.add(ktime_ns, tag, table.condition, table.limit)
        tags = window.find_fulfilled(ktime_ns, table.condition)
        if tags is None:
            return None
        window.fired_ns = ktime_ns if window.fired_ns is None else max(ktime_ns, window.fired_ns)
        return _build(table, key, tags, context)

    def _count_closing(
        self, table: _Table, key: GroupKey, window: Window, tag: object, context: Context
    ) -> Correlated | None:
        """Count towards the open window; one that this event lies beyond is over, and a new one begins."""
        ktime_ns = context.event.ktime_ns
        fired = None
        if ktime_ns > window.opened_ns + table.condition.timespan_ns:
            fired = _close(table, key, window)
            del table.groups[key]
            window = self._get_window(table, key, ktime_ns)
        self.events_evicted += window.add(ktime_ns, tag, table.condition, table.limit)
        window.context = context
        return fired

    def _get_window(self, table: _Table, key: GroupKey, ktime_ns: int) -> Window:
        groups = table.groups
        window = groups.get(key)
        if window is not None:
            if not table.closes:
                groups.move_to_end(key)
            return window
        window = Window([], [], opened_ns=ktime_ns)
        groups[key] = window
        if len(groups) > self._settings.correlation_groups_max:
            groups.popitem(last=False)
            self.groups_evicted += 1
        return window


def _close(table: _Table, key: GroupKey, window: Window) -> Correlated | None:
    """A window is over: fire when only its end could tell, and it does."""
    if not table.closes or window.context is None or not table.condition.holds(window.tags):
        return None
    return _build(table, key, window.tags, window.context)


def _build(table: _Table, key: GroupKey, tags: Sequence[object], context: Context) -> Correlated:
    condition = table.condition
    what = {"event_count": "events", "value_count": "different values"}.get(condition.kind, "rules")
    reason = f"{condition.measure(tags)} {what} within {condition.timespan_ns / _NS:g} s"
    if key:
        reason += " for " + ", ".join("none" if value is None else str(value)[:GROUP_CHARS] for value in key)
    return Correlated(Detection(table.correlation.rule, context, reason), "\0".join(map(repr, key)))
