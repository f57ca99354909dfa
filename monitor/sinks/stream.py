"""The event stream: contexts and alerts in, msgpack documents out to every subscriber of ``stream.sock``.

Publishing is an append to the history when nobody listens. With subscribers a
record is judged by each one's wish, encoded once for all who take it, and written
when the loop comes round: what one drain of the rings brought goes out in one
write. An alert goes out at once. Publish on the loop's thread.

Filters are parsed by the function given (:mod:`monitor.rules.filters`); the
protocol is docs/events.md.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from monitor.config.settings import StreamSettings
from monitor.model.alert import Alert
from monitor.model.process import Context
from monitor.sinks.frames import build_frame
from monitor.sinks.history import History
from monitor.sinks.origin import Origin
from monitor.sinks.peers import find_group_id
from monitor.sinks.records import Numbered, Record, build_document
from monitor.sinks.server import SocketServer
from monitor.sinks.subscriber import QUEUES_BYTES_MAX, Predicate
from monitor.sinks.subscription import StreamConnection

HISTORY_BYTES_MAX: Final = 15 * 1024 * 1024
REPLAYS_MAX: Final = 2
"""Histories sent at the same time; more wait."""
FLUSH_FRAMES: Final = 256
"""Frames in a queue that are written without waiting for the loop to come round."""

logger = logging.getLogger(__name__)


class StreamStats(Struct, frozen=True):
    """Counters of the stream."""

    published: int
    subscribers: int
    dropped: int
    """Records that slow subscribers did not get, those gone included."""
    refused: int
    """Connections turned away."""
    failed: int
    """Records or answers that could not be made; each was logged."""
    history_records: int
    history_bytes: int
    """Estimate."""


class EventStream:
    """Server of ``stream.sock``."""

    def __init__(
        self,
        path: Path,
        origin: Origin,
        *,
        settings: StreamSettings,
        mode: str,
        status: Callable[[], dict[str, object]],
        parse_filter: Callable[[str], Predicate],
    ) -> None:
        self._settings = settings
        self._flush_at = min(FLUSH_FRAMES, max(1, settings.queue_events // 2))
        self._mode = mode
        self._path = path
        self._origin = origin
        self._history = History(settings.history_events, HISTORY_BYTES_MAX, origin.wall_offset_ns)
        self._event_subscribers: tuple[StreamConnection, ...] = ()
        self._alert_subscribers: tuple[StreamConnection, ...] = ()
        self._waiting: set[StreamConnection] = set()
        self._server: SocketServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dropped_by_gone = 0
        self.failed = 0
        """Records and answers that could not be made."""
        self.build_status = status
        self.parse_filter = parse_filter
        self.replays = asyncio.Semaphore(REPLAYS_MAX)

    @property
    def origin(self) -> Origin:
        """Host, boot and clocks of the documents. Assign a new one after a suspend or a step of the clock."""
        return self._origin

    @origin.setter
    def origin(self, origin: Origin) -> None:
        self._origin = origin
        self._history.wall_offset_ns = origin.wall_offset_ns

    async def start(self) -> None:
        """Listen. Raises ``OSError`` when the socket cannot be made."""
        self._loop = asyncio.get_running_loop()
        group_id = find_group_id(self._settings.group)
        # Beyond the subscribers: some that ask for the status, or have not asked yet.
        connections_max = self._settings.subscribers_max + 32
        self._server = server = SocketServer(self._path, group_id=group_id, connections_max=connections_max)
        await server.start(lambda: StreamConnection(server, self))

    async def stop(self) -> None:
        """Write what is queued for the subscribers, for half a second, say goodbye, and remove the socket."""
        if self._server is not None:
            await self._server.stop("the service has stopped")

    def publish_event(self, context: Context) -> None:
        """Show an event. Never raises."""
        self._history.append(context)
        if self._event_subscribers:
            self._deliver(context, context, self._event_subscribers)

    def publish_alert(self, alert: Alert) -> None:
        """Show an alert: it is written before this returns, to whoever reads. Never raises."""
        self._history.append(alert)
        if self._alert_subscribers:
            self._deliver(alert, alert.context, self._alert_subscribers)
            self._flush()

    def stats(self) -> StreamStats:
        """Count."""
        return StreamStats(
            published=self._history.next_sequence - 1,
            subscribers=len(self._alert_subscribers),
            dropped=self._dropped_by_gone + sum(each.queue.dropped for each in self._alert_subscribers),
            refused=self._server.refused if self._server is not None else 0,
            failed=self.failed,
            history_records=len(self._history),
            history_bytes=self._history.estimated_bytes,
        )

    # what connections need

    def find_history(self, last: int) -> Iterator[Numbered]:
        """Yield what is kept, from number ``last`` down."""
        return self._history.read_backwards(last)

    def read_history(self, first: int) -> Iterator[Numbered]:
        """Yield what is kept from number ``first`` on."""
        return self._history.read(first)

    @property
    def next_sequence(self) -> int:
        """Number of the record that comes next."""
        return self._history.next_sequence

    @property
    def queue_frames_max(self) -> int:
        """Frames that may wait for one subscriber."""
        return self._settings.queue_events

    def has_place(self) -> bool:
        """Tell whether one more may subscribe."""
        return len(self._alert_subscribers) < self._settings.subscribers_max

    def add_subscriber(self, connection: StreamConnection) -> None:
        """Deliver to this connection from now on."""
        self._set_subscribers((*self._alert_subscribers, connection))

    def remove_subscriber(self, connection: StreamConnection) -> None:
        """Deliver no more."""
        self._waiting.discard(connection)
        if connection in self._alert_subscribers:
            self._dropped_by_gone += connection.queue.dropped
            self._set_subscribers(tuple(each for each in self._alert_subscribers if each is not connection))

    def _set_subscribers(self, subscribers: tuple[StreamConnection, ...]) -> None:
        self._alert_subscribers = subscribers
        self._event_subscribers = tuple(each for each in subscribers if not each.wish.alerts_only)
        for each in subscribers:
            each.queue.share_bytes(QUEUES_BYTES_MAX // len(subscribers))

    def encode(self, numbered: Numbered) -> bytes | None:
        """Build and encode one document; None, counted and logged, when that fails."""
        try:
            return build_frame(build_document(numbered, self._origin, self._mode))
        except Exception:
            # A sink: one record that cannot be shown must not stop the service.
            self.failed += 1
            logger.exception("record %d cannot be shown", numbered.sequence)
            return None

    def _deliver(self, record: Record, context: Context, subscribers: tuple[StreamConnection, ...]) -> None:
        is_alert = record is not context
        frame: bytes | None = None
        for subscriber in subscribers:
            if not subscriber.is_live or not subscriber.takes(context, is_alert=is_alert):
                continue
            if not subscriber.queue.has_room(is_alert=is_alert):
                continue
            if frame is None:
                frame = self.encode(Numbered(self._history.next_sequence - 1, record, self._history.wall_offset_ns))
                if frame is None:
                    return
            self.send_soon(subscriber, frame)

    def send_soon(self, subscriber: StreamConnection, frame: bytes) -> None:
        """Queue a frame; it is written when the loop comes round, or now when many wait."""
        subscriber.queue.put(frame)
        if subscriber.is_paused:
            return
        if len(subscriber.queue) >= self._flush_at:
            subscriber.flush()
        elif subscriber not in self._waiting:
            if not self._waiting and self._loop is not None:
                self._loop.call_soon(self._flush)
            self._waiting.add(subscriber)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for subscriber in waiting:
            subscriber.flush()
