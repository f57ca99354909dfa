"""The last records, in memory: what ``tail -n`` and ``--since`` show.

A record is the context or the alert itself, shared with the engine and encoded
only for those who ask. Bounded twice: by number, and by an estimate of the bytes
that the records keep alive (paths and arguments are the attacker's to choose).
Records lie in blocks, so that the estimate costs nothing for each of them. Alerts
outlive the events around them, within bounds of their own: ten thousand forks do
not make an alert forgotten.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from monitor.model.alert import Alert
from monitor.model.events import Denial, FileChange, FileOpen, NetworkConnection, ProcessAccess, ProcessExecFailed
from monitor.model.process import ProcessImage
from monitor.sinks.records import Numbered, Record

BLOCK_RECORDS: Final = 256
EVENT_BYTES: Final = 450
"""Estimate of a context and its event, without their text. Measured: 330 to 480."""
ALERT_BYTES: Final = 1_500
"""Estimate of what an alert adds to its context."""
IMAGE_BYTES: Final = 1_200
"""Estimate of a program's facts and its row in the process table, without their text."""
ALERTS_MAX: Final = 1_000
"""Alerts kept after the events of their time are forgotten."""
ALERTS_BYTES_MAX: Final = 4 * 1024 * 1024


class _Block:
    __slots__ = ("bytes", "first", "records", "wall_offset_ns")

    def __init__(self, first: int, wall_offset_ns: int) -> None:
        self.first = first
        self.wall_offset_ns = wall_offset_ns
        self.records: list[Record] = []
        self.bytes = 0


class History:
    """A bounded, ordered log. Sequence numbers start at 1 and have no gaps."""

    def __init__(self, records_max: int, bytes_max: int, wall_offset_ns: int) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._wall_offset_ns = wall_offset_ns
        self._block = _Block(1, wall_offset_ns)
        self._sealed: deque[_Block] = deque()
        self._sealed_records = 0
        self._sealed_bytes = 0
        self._old_alerts: deque[tuple[Numbered, int]] = deque()
        """With an estimate of the bytes of each."""
        self._old_alert_bytes = 0

    @property
    def wall_offset_ns(self) -> int:
        """Of records from now on."""
        return self._wall_offset_ns

    @wall_offset_ns.setter
    def wall_offset_ns(self, value: int) -> None:
        if value != self._wall_offset_ns:
            self._wall_offset_ns = value
            self._seal()

    @property
    def next_sequence(self) -> int:
        """Number of the record that comes next."""
        return self._block.first + len(self._block.records)

    def __len__(self) -> int:
        return min(self._records_max, self._sealed_records + len(self._block.records))

    @property
    def estimated_bytes(self) -> int:
        """What the full blocks keep alive."""
        return self._sealed_bytes

    def append(self, record: Record) -> None:
        """Keep a record; forget the oldest when there are too many."""
        records = self._block.records
        records.append(record)
        if len(records) >= BLOCK_RECORDS:
            self._seal()

    def read(self, first: int) -> Iterator[Numbered]:
        """Yield what is kept from number ``first`` on, oldest first. What is appended meanwhile is left out."""
        oldest = self._oldest(first)
        for block, count in self._snapshot():
            for index in range(max(0, oldest - block.first), count):
                yield Numbered(block.first + index, block.records[index], block.wall_offset_ns)

    def read_backwards(self, last: int) -> Iterator[Numbered]:
        """Yield what is kept up to number ``last``, newest first. What is forgotten meanwhile still comes.

        Below the oldest event that is kept there are alerts only.
        """
        oldest = self._oldest(0)
        old_alerts = [numbered for numbered, _ in self._old_alerts]
        for block, count in reversed(self._snapshot()):
            for index in range(min(count, last + 1 - block.first) - 1, -1, -1):
                record = block.records[index]
                if block.first + index >= oldest or (self._records_max and isinstance(record, Alert)):
                    yield Numbered(block.first + index, record, block.wall_offset_ns)
        yield from (numbered for numbered in reversed(old_alerts) if numbered.sequence <= last)

    def _oldest(self, first: int) -> int:
        return max(first, self.next_sequence - self._records_max)

    def _snapshot(self) -> list[tuple[_Block, int]]:
        """Return the blocks with their lengths now: full ones never change, the open one only grows."""
        return [(block, len(block.records)) for block in (*self._sealed, self._block)]

    def _seal(self) -> None:
        block = self._block
        self._block = _Block(block.first + len(block.records), self._wall_offset_ns)
        block.bytes = _estimate_bytes(block.records)
        self._sealed.append(block)
        self._sealed_records += len(block.records)
        self._sealed_bytes += block.bytes
        while self._sealed and self._has_too_much():
            oldest = self._sealed.popleft()
            self._sealed_records -= len(oldest.records)
            self._sealed_bytes -= oldest.bytes
            if self._records_max:
                self._keep_alerts(oldest)

    def _keep_alerts(self, block: _Block) -> None:
        for index, record in enumerate(block.records):
            if isinstance(record, Alert):
                size = _estimate_bytes([record])
                self._old_alerts.append((Numbered(block.first + index, record, block.wall_offset_ns), size))
                self._old_alert_bytes += size
        while len(self._old_alerts) > ALERTS_MAX or self._old_alert_bytes > ALERTS_BYTES_MAX:
            self._old_alert_bytes -= self._old_alerts.popleft()[1]

    def _has_too_much(self) -> bool:
        surplus = self._sealed_records - len(self._sealed[0].records)
        return surplus >= self._records_max or self._sealed_bytes > self._bytes_max


def _estimate_bytes(records: list[Record]) -> int:
    """Estimate what a block keeps alive; a program seen by many events counts once.

    The parent's program is left out: it was the subject of an event of its own, or still runs.
    """
    images: dict[int, ProcessImage] = {}
    total = EVENT_BYTES * len(records)
    for record in records:
        context = record
        if isinstance(context, Alert):
            total += ALERT_BYTES
            context = context.context
        images[id(context.image)] = context.image
        event = context.event
        if isinstance(event, FileOpen | Denial):
            total += len(event.path)
        elif isinstance(event, FileChange):
            total += len(event.path) + len(event.source) + len(event.target)
        elif isinstance(event, ProcessExecFailed):
            total += len(event.path_claimed)
        elif isinstance(event, ProcessAccess):
            total += len(event.target_executable)
        elif isinstance(event, NetworkConnection):
            total += len(event.address)
    for image in images.values():
        total += IMAGE_BYTES + image.weight_bytes
    return total
