"""The events of one group of a correlation, by event time, and whether a window of them fulfils the condition.

A window is any stretch of time of the correlation's length. Events may come out of
order: each is put at its place, and every window that contains it is looked at.
A fired window is not fired again: after firing at ``t`` only events after ``t`` count,
and nothing fires until a whole window has passed.

Kept is only what can still matter, so that a flood cannot push out what the
condition waits for: of counted events the newest, of each value the newest, of a
run of equal rules the first and the last.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from operator import eq, ge, gt, le, lt, ne
from typing import Final

from msgspec import Struct

from monitor.model.process import Context

LATE_NS: Final = 30 * 1_000_000_000
"""How late an event may come and still find the others of its window."""
STARTS_MAX: Final = 64
"""Windows that are looked at for one event that came late."""

COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "gte": ge,
    "gt": gt,
    "lte": le,
    "lt": lt,
    "eq": eq,
    "neq": ne,
}

Tag = object
"""What an event counts as: its value (``value_count``), the position of its rule (``temporal``), else None."""


class Condition(Struct, frozen=True):
    """What a window has to fulfil."""

    kind: str
    timespan_ns: int
    operator: str
    count: float
    rule_ids: tuple[str, ...]
    is_met: Callable[[Sequence[str]], bool] | None = None

    def measure(self, tags: Sequence[Tag]) -> int:
        """What is compared: events, distinct values, distinct rules, or rules seen in their order."""
        if self.kind == "event_count":
            return len(tags)
        return count_in_order(tags) if self.kind == "temporal_ordered" else len(set(tags))

    def holds(self, tags: Sequence[Tag]) -> bool:
        """Whether these events of one window are enough."""
        if self.is_met is not None:
            return self.is_met([self.rule_ids[tag] for tag in tags if isinstance(tag, int)])
        return COMPARE[self.operator](self.measure(tags), self.count)


class Window(Struct, gc=False):
    """One group's events, oldest first."""

    times: list[int]
    tags: list[Tag]
    fired_ns: int | None = None
    opened_ns: int = 0
    """For conditions that only the end of a window can tell: its start."""
    context: Context | None = None
    """For these: the last event."""

    def add(self, ktime_ns: int, tag: Tag, condition: Condition, limit: int) -> int:
        """Put an event at its place; the number of events that had to go although they might have mattered."""
        self._thin(tag, condition)
        index = bisect_right(self.times, ktime_ns)
        self.times.insert(index, ktime_ns)
        self.tags.insert(index, tag)
        gone = bisect_left(self.times, self.times[-1] - condition.timespan_ns - LATE_NS)
        excess = max(0, len(self.times) - gone - limit)
        if gone or excess:
            del self.times[: gone + excess]
            del self.tags[: gone + excess]
        return excess

    def find_fulfilled(self, ktime_ns: int, condition: Condition) -> Sequence[Tag] | None:
        """The events of a window that contains this time and fulfils the condition; None: there is none."""
        span = condition.timespan_ns
        fired = self.fired_ns
        first = 0
        if fired is not None:
            if abs(ktime_ns - fired) <= span:
                return None
            first = bisect_right(self.times, fired) if ktime_ns > fired else 0
        times = self.times
        start = max(first, bisect_left(times, ktime_ns - span))
        last = bisect_right(times, ktime_ns)
        if last == len(times):  # the newest: the window that ends here contains every other one
            tags = self.tags[start:]
            return tags if condition.holds(tags) else None
        for begin in range(start, min(last, start + STARTS_MAX)):
            end = bisect_right(times, times[begin] + span)
            if end >= last and condition.holds(self.tags[begin:end]):
                return self.tags[begin:end]
        return None

    def _thin(self, tag: Tag, condition: Condition) -> None:
        """Drop what the coming event makes superfluous."""
        tags = self.tags
        if condition.kind in {"value_count", "temporal"}:
            if tag in tags:
                index = tags.index(tag)
                del tags[index], self.times[index]
        elif condition.kind == "temporal_ordered" and len(tags) >= 2 and tags[-1] == tags[-2] == tag:
            del tags[-1], self.times[-1]


def count_in_order(tags: Sequence[Tag]) -> int:
    """Length of the longest part of ``tags`` (positions of rules) that strictly rises: rules seen in their order."""
    tails: list[int] = []
    for tag in tags:
        if isinstance(tag, int):
            index = bisect_left(tails, tag)
            tails[index : index + 1] = [tag]
    return len(tails)
