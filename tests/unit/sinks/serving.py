"""Real servers on real sockets, in a loop of a thread of their own, for tests that are blocking clients."""

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from monitor.config.settings import Observe, StreamSettings
from monitor.model.process import Context
from monitor.rules.filters import parse_filter
from monitor.sinks.client import Reply, ServiceConnection
from monitor.sinks.control import ControlServer
from monitor.sinks.requests import SubscribeRequest
from monitor.sinks.stream import EventStream
from tests.unit.sinks import samples

T = TypeVar("T")
WAIT_S = 10.0


class LoopThread:
    """An event loop that runs in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.mistakes: list[dict[str, Any]] = []
        """What raised in the loop and nobody caught."""
        self.loop.set_exception_handler(lambda _, mistake: self.mistakes.append(mistake))
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WAIT_S)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call in the loop's thread and wait for the result."""

        async def call() -> T:
            return function(*args)

        return self.run(call())

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WAIT_S)
        self.loop.close()
        assert self.mistakes == [], self.mistakes


class RunningStream:
    """An :class:`EventStream` that serves in a folder of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.path = self.folder / "stream.sock"
        self.status: dict[str, object] = {"version": "1", "uptime_s": 5.0}
        self.thread = LoopThread()
        self.stream = EventStream(
            self.path,
            samples.ORIGIN,
            settings=StreamSettings(**settings),
            mode="audit",
            status=lambda: self.status,
            parse_filter=parse_filter,
        )
        try:
            self.thread.run(self.stream.start())
        except OSError:
            self.thread.close()
            raise

    def publish(self, *records: Any) -> None:
        """Publish all in one turn of the loop."""
        self.thread.call(self.publish_here, *records)

    def publish_here(self, *records: Any) -> None:
        """The same on the loop's thread."""
        for record in records:
            if isinstance(record, Context):
                self.stream.publish_event(record)
            else:
                self.stream.publish_alert(record)

    def connect(self) -> ServiceConnection:
        return ServiceConnection(self.path)

    def subscribe(self, **wishes: Any) -> ServiceConnection:
        """Subscribe, and return when the service has taken it."""
        connection = self.connect()
        connection.send(SubscribeRequest(**wishes))
        hello = connection.find_reply(WAIT_S)
        assert hello is not None
        assert "hello" in hello
        return connection

    def connect_raw(self) -> socket.socket:
        raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        raw.settimeout(WAIT_S)
        raw.connect(str(self.path))
        return raw

    def server_connections(self) -> int:
        server = self.stream._server
        return self.thread.call(lambda: server.connections if server is not None else 0)

    def stop(self) -> None:
        self.thread.run(self.stream.stop())

    def close(self) -> None:
        self.stop()
        self.thread.close()


@contextmanager
def running_stream(folder: Path | None = None, **settings: Any) -> Iterator[RunningStream]:
    """A stream in this folder, or in one of its own."""
    with tempfile.TemporaryDirectory(prefix="stream-") as own:  # short: socket paths end at 107 bytes
        stream = RunningStream(folder or Path(own), **settings)
        try:
            yield stream
        finally:
            stream.close()


FULL = "/full"
"""A glob that :class:`Handler` refuses though it is one."""


class Handler:
    """A :class:`~monitor.sinks.control.ControlHandler` that remembers what it was told."""

    def __init__(self) -> None:
        self.observed: dict[int, Observe] = {}
        self.removed = threading.Condition()
        self.reloads: list[asyncio.Future[int | Exception]] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.asked: list[tuple[str, str, float, str]] = []
        self.answers: dict[str, dict[str, object]] = {}
        self._tokens = 0

    def answer_reload(self, answer: int | Exception) -> None:
        """Answer the reload that was asked for first, once one was."""
        end = time.monotonic() + WAIT_S
        while not self.reloads:
            assert time.monotonic() < end, "no reload was asked for"
            time.sleep(0.001)
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.reloads.pop(0).set_result, answer)

    def status(self) -> dict[str, object]:
        return {"version": "1", "uptime_s": 5.0}

    def add_observe(self, observe: Observe) -> int:
        if not observe.path.startswith("/"):
            raise ValueError(f"{observe.path}: a glob begins with /")
        if observe.path == FULL:
            raise ValueError("the table is full")
        self._tokens += 1
        self.observed[self._tokens] = observe
        return self._tokens

    def remove_observe(self, token: int) -> None:
        with self.removed:
            del self.observed[token]
            self.removed.notify_all()

    async def reload(self) -> dict[str, object]:
        """As a test says, when it says so."""
        self.reloads.append(asyncio.get_running_loop().create_future())
        answer = await self.reloads[-1]
        if isinstance(answer, Exception):
            raise answer
        return {"rules": answer}

    async def respond(self, action: str, container: str, for_s: float, asked_by: str) -> dict[str, object]:
        """``answers`` by container; what was asked is kept."""
        self.asked.append((action, container, for_s, asked_by))
        return self.answers[container]


@contextmanager
def running_control(folder: Path) -> Iterator[Handler]:
    """A control server in ``folder``."""
    handler = Handler()
    thread = LoopThread()
    handler.loop = thread.loop
    server = ControlServer(folder / "control.sock", handler)
    thread.run(server.start())
    try:
        yield handler
    finally:
        thread.run(server.stop())
        thread.close()


def read_documents(connection: ServiceConnection, count: int) -> list[Reply]:
    """The next ``count`` frames."""
    replies = []
    for _ in range(count):
        reply = connection.find_reply(WAIT_S)
        assert reply is not None, f"the stream ended after {len(replies)} of {count}"
        replies.append(reply)
    return replies


def read_rest(connection: ServiceConnection) -> list[Reply]:
    """All frames to the end."""
    replies = []
    while (reply := connection.find_reply(WAIT_S)) is not None:
        replies.append(reply)
    return replies


def sequences(documents: list[Reply]) -> list[int]:
    return [msgspec.convert(document["event"], dict[str, Any])["sequence"] for document in documents]


def read_raw(raw: socket.socket) -> bytes:
    """All bytes to the end."""
    parts = []
    try:
        while part := raw.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)
