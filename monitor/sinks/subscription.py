"""One client of ``stream.sock``: its request, its history, its place among the subscribers.

The records come from a :class:`Feed` (:mod:`monitor.sinks.stream`). A history is
sent in small portions between other work, and a client that has one sees every
record once and in order: what is published meanwhile is read from the history too.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from monitor import __version__
from monitor.model.alert import Alert
from monitor.model.process import Context
from monitor.sinks.frames import FrameError
from monitor.sinks.records import Numbered
from monitor.sinks.requests import PROTOCOL_VERSION, StatusRequest, SubscribeRequest, parse_stream_request
from monitor.sinks.server import Connection, SocketServer
from monitor.sinks.subscriber import OutgoingQueue, Predicate, Wish

REPLAY_CHUNK: Final = 32
"""Records of the history that are encoded before others get their turn: about 0.5 ms."""
SEARCH_CHUNK: Final = 512
"""Records of the history that a filter looks at before others get their turn."""
CATCH_UP_AT_ONCE: Final = 1_024
"""So many records that came meanwhile are sent in one go, after which the subscriber is up to date."""

logger = logging.getLogger(__name__)


class Feed(Protocol):
    """What a client needs of the stream."""

    build_status: Callable[[], dict[str, object]]
    parse_filter: Callable[[str], Predicate]
    replays: asyncio.Semaphore
    """Bounds the histories that are sent at the same time."""
    failed: int

    @property
    def next_sequence(self) -> int:
        """Number of the record that comes next."""
        ...

    @property
    def queue_frames_max(self) -> int:
        """Frames that may wait for one subscriber."""
        ...

    def has_place(self) -> bool:
        """Tell whether one more may subscribe."""
        ...

    def add_subscriber(self, connection: "StreamConnection") -> None:
        """Deliver to this connection from now on."""
        ...

    def remove_subscriber(self, connection: "StreamConnection") -> None:
        """Deliver no more."""
        ...

    def find_history(self, last: int) -> Iterator[Numbered]:
        """Yield what is kept, from number ``last`` down."""
        ...

    def read_history(self, first: int) -> Iterator[Numbered]:
        """Yield what is kept from number ``first`` on."""
        ...

    def encode(self, numbered: Numbered) -> bytes | None:
        """Build and encode one document; None when it cannot be shown."""
        ...

    def send_soon(self, subscriber: "StreamConnection", frame: bytes) -> None:
        """Queue a frame and see to it that it is written."""
        ...


class StreamConnection(Connection):
    """One client of the stream."""

    def __init__(self, server: SocketServer, feed: Feed) -> None:
        super().__init__(server)
        self._feed = feed
        self._replay: asyncio.Task[None] | None = None
        self._has_asked = False
        self._end = ""
        """Why nothing more will be queued: close when all is written."""
        self.wish = Wish(alerts_only=False, container=None, filter_=None)
        self.queue = OutgoingQueue(feed.queue_frames_max)
        self.is_live = False
        """Takes what is published now; before that, its history is being sent."""

    def on_request(self, payload: bytes) -> None:
        """Answer the one request of this connection."""
        if self._has_asked:
            raise FrameError("one request a connection")
        self._has_asked = True
        match parse_stream_request(payload):
            case StatusRequest():
                self._send_status()
            case SubscribeRequest() as request:
                self._subscribe(request)

    def on_stop(self, reason: str) -> None:
        """Send what waits, then say that the service has stopped."""
        if self._replay is not None:
            self._replay.cancel()
        self._complete(reason)

    def on_writable(self) -> None:
        """Send what waited."""
        self.flush()

    def on_closed(self) -> None:
        """End what goes on for this client."""
        self._feed.remove_subscriber(self)
        if self._replay is not None:
            self._replay.cancel()

    def takes(self, context: Context, *, is_alert: bool) -> bool:
        """Ask the wish; a filter that raises ends this subscription alone."""
        try:
            return not self.is_closing and self.wish.takes(context, is_alert=is_alert)
        except Exception as error:
            # A predicate of the user's: whatever it raises is the user's to know.
            self.fail(f"the filter failed: {type(error).__name__}: {error}")
            return False

    def flush(self) -> None:
        """Write as much as the socket takes."""
        while not self.is_paused and len(self.queue):
            self.write(self.queue.take())
        if self._end and not len(self.queue):
            self.finish({"end": self._end})

    def _send_status(self) -> None:
        try:
            status = self._feed.build_status()
        except Exception:
            # A sink: a question must not stop the service.
            self._feed.failed += 1
            logger.exception("the status cannot be built")
            self.fail("the status cannot be built: see the service's log")
            return
        self.finish({"status": status})

    def _subscribe(self, request: SubscribeRequest) -> None:
        if not self._feed.has_place():
            self.fail("too many subscribers")
            return
        try:
            predicate = self._feed.parse_filter(request.filter) if request.filter is not None else None
        except (ValueError, RecursionError) as error:
            self.fail(str(error))
            return
        self.wish = Wish(alerts_only=request.alerts, container=request.container, filter_=predicate)
        self._feed.add_subscriber(self)
        self.send({"hello": {"version": PROTOCOL_VERSION, "service_version": __version__}})
        if request.last is None and request.since_ns is None and request.follow:
            self.is_live = True
        else:
            self._replay = asyncio.get_running_loop().create_task(self._send_history(request))

    async def _send_history(self, request: SubscribeRequest) -> None:
        """Send what matches of the history, then what came meanwhile, then go live: no gap, nothing twice."""
        async with self._feed.replays:
            following = self._feed.next_sequence
            found = await self._search(request, following - 1)
            self.queue.extend(len(found))
            while found:
                for numbered in found[: -REPLAY_CHUNK - 1 : -1]:
                    self._send_old(numbered)
                del found[-REPLAY_CHUNK:]
                await asyncio.sleep(0)
            if request.follow:
                await self._catch_up(following)
                self.is_live = True  # nothing was awaited since the last look: no record falls between
        if not request.follow:
            self._complete("no more is kept")

    def _complete(self, end: str) -> None:
        """Queue nothing more, write what is queued, close."""
        self.is_live = False
        self._end = end
        self.flush()

    async def _search(self, request: SubscribeRequest, last: int) -> list[Numbered]:
        """Return what matches up to record ``last``, newest first."""
        found: list[Numbered] = []
        wanted = request.last if request.last is not None else last
        for count, numbered in enumerate(self._feed.find_history(last), 1):
            if len(found) >= wanted:
                break
            if _is_since(numbered, request.since_ns) and self._takes_old(numbered):
                found.append(numbered)
            if count % SEARCH_CHUNK == 0:
                await asyncio.sleep(0)
        return found

    async def _catch_up(self, following: int) -> None:
        """Send all that was published while the history went out, from number ``following`` on."""
        while (behind := self._feed.next_sequence - following) > 0:
            for numbered in self._feed.read_history(following):
                # What even the history could not keep is lost, whether it would have matched or not.
                self.queue.count_dropped(numbered.sequence - following)
                if self._takes_old(numbered):
                    self._send_old(numbered)
                following = numbered.sequence + 1
            if behind <= CATCH_UP_AT_ONCE:
                return  # caught up: to wait once more would let new ones come, on a busy host for ever
            await asyncio.sleep(0)

    def _takes_old(self, numbered: Numbered) -> bool:
        record = numbered.record
        if isinstance(record, Alert):
            return self.takes(record.context, is_alert=True)
        return self.takes(record, is_alert=False)

    def _send_old(self, numbered: Numbered) -> None:
        if not self.queue.has_room(is_alert=isinstance(numbered.record, Alert)):
            return
        frame = self._feed.encode(numbered)
        if frame is not None:
            self._feed.send_soon(self, frame)


def _is_since(numbered: Numbered, since_ns: int | None) -> bool:
    if since_ns is None:
        return True
    record = numbered.record
    ktime_ns = record.ktime_ns if isinstance(record, Alert) else record.event.ktime_ns
    return ktime_ns + numbered.wall_offset_ns >= since_ns
