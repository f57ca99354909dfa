"""Events of the bulk ring that came before the records they depend on.

The two rings are read one after the other, so an open may be read before the fork,
exec or cgroup it follows. Such an event waits until the urgent ring has been read
past its time, or time itself has (a :class:`Tick`); then it is judged with what is known.
Bounded: when too many wait, the first goes on at once, and is counted.
"""

from collections import deque
from typing import Final

from monitor.model.events import BulkEvent

PARKED_MAX: Final = 4_096
SLACK_NS: Final = 1_000_000
"""Records of one ring may be out of order between CPUs by about this much."""
NEVER: Final = 1 << 63


class Parked:
    """A queue in order of arrival."""

    def __init__(self) -> None:
        self._events: deque[BulkEvent] = deque()
        self.due_ktime_ns = NEVER
        """When the urgent ring is past this, the first event is ripe."""
        self.hurried = 0
        """Events that could not wait as long as they should have."""

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: BulkEvent) -> BulkEvent | None:
        """Let an event wait; returns the one that has to go instead, if any."""
        self._events.append(event)
        hurried = None
        if len(self._events) > PARKED_MAX:
            self.hurried += 1
            hurried = self._events.popleft()
        self.due_ktime_ns = self._events[0].ktime_ns + SLACK_NS
        return hurried

    def take(self, urgent_ktime_ns: int) -> BulkEvent | None:
        """The first event if it is ripe."""
        if not self._events or self.due_ktime_ns > urgent_ktime_ns:
            return None
        event = self._events.popleft()
        self.due_ktime_ns = self._events[0].ktime_ns + SLACK_NS if self._events else NEVER
        return event
