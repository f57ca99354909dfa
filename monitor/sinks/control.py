"""The control socket: root asks the running service to do something. ``control.sock``, mode 0600.

What is asked is done by a :class:`ControlHandler` (:mod:`monitor.runtime`). What a
connection asked to observe ends with the connection, however that ends.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Final, Protocol, assert_never

from monitor.config.settings import Observe
from monitor.sinks.frames import FrameError
from monitor.sinks.requests import (
    ControlRequest,
    ObserveRequest,
    ReloadRequest,
    RespondRequest,
    StatusRequest,
    parse_control_request,
)
from monitor.sinks.server import Connection, SocketServer

CONNECTIONS_MAX: Final = 16
OBSERVES_MAX: Final = 8
"""Of one connection."""

logger = logging.getLogger(__name__)


class ControlHandler(Protocol):
    """What the service can be asked. A ``ValueError`` goes to the client; its text says what to do."""

    def status(self) -> dict[str, object]:
        """Return the status document (docs/events.md)."""
        ...

    def add_observe(self, observe: Observe) -> int:
        """Stream opens of these files from now on; return a token. Raises ``ValueError``: bad glob, no room."""
        ...

    def remove_observe(self, token: int) -> None:
        """End it."""
        ...

    async def reload(self) -> dict[str, object]:
        """Read the rules again. Raises ``ValueError`` with all mistakes, one a line; the old ones stay."""
        ...

    async def respond(self, action: str, container: str, for_s: float, asked_by: str) -> dict[str, object]:
        """Kill, freeze or thaw a container, and answer what came of it (docs/events.md)."""
        ...


class ControlServer:
    """Server of ``control.sock``."""

    def __init__(self, path: Path, handler: ControlHandler) -> None:
        self._handler = handler
        self._server = SocketServer(path, group_id=None, connections_max=CONNECTIONS_MAX)

    async def start(self) -> None:
        """Listen. Raises ``OSError`` when the socket cannot be made."""
        await self._server.start(lambda: ControlConnection(self._server, self._handler))

    async def stop(self) -> None:
        """Close all connections, which ends what they observe, and remove the socket."""
        await self._server.stop("the service has stopped")


class ControlConnection(Connection):
    """One client of the control socket; it may ask several things, one after the other."""

    def __init__(self, server: SocketServer, handler: ControlHandler) -> None:
        super().__init__(server)
        self._handler = handler
        self._tokens: list[int] = []
        self._answer: asyncio.Task[None] | None = None

    def on_request(self, payload: bytes) -> None:
        """Do what is asked, answer."""
        request = parse_control_request(payload)
        with self._refusing():
            self._perform(request)

    def on_closed(self) -> None:
        """End what this connection observed. A reload and a response go on: others may wait for them."""
        tokens, self._tokens = self._tokens, []
        for token in tokens:
            self._handler.remove_observe(token)

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn what goes wrong into an error frame."""
        try:
            yield
        except ValueError as error:
            self.fail(str(error))
        except Exception as error:
            # A sink: a request that goes wrong must not stop the service.
            logger.exception("control request failed")
            self.fail(f"internal error ({type(error).__name__}): see the service's log")

    def _perform(self, request: ControlRequest) -> None:
        match request:
            case StatusRequest():
                self.send({"status": self._handler.status()})
            case ReloadRequest():
                self._answer_later(self._answer_reload())
            case RespondRequest():
                self._answer_later(self._answer_respond(request))
            case ObserveRequest():
                self.send({"observe": self._observe(request)})
            case _:
                assert_never(request)

    def _answer_later(self, answer: Coroutine[None, None, None]) -> None:
        """It takes a while, on no time of the loop's; what the client asks meanwhile waits its turn."""
        self.hold()
        self._answer = asyncio.get_running_loop().create_task(answer)

    async def _answer_reload(self) -> None:
        with self._refusing():
            self.send({"reload": await self._handler.reload()})
        self.go_on()

    async def _answer_respond(self, request: RespondRequest) -> None:
        with self._refusing():
            outcome = await self._handler.respond(
                request.action, request.container, request.for_s, self._describe_peer()
            )
            self.send({"respond": outcome})
        self.go_on()

    def _describe_peer(self) -> str:
        """Who asks, as the kernel says: for the record of what was done."""
        try:
            peer = self.read_peer()
        except OSError:
            return "an unknown process"
        return f"uid {peer.uid}, pid {peer.pid}"

    def _observe(self, request: ObserveRequest) -> int:
        if len(self._tokens) >= OBSERVES_MAX:
            raise FrameError(f"{OBSERVES_MAX} observed globs a connection are allowed")
        token = self._handler.add_observe(Observe(request.path, request.container, request.access))
        self._tokens.append(token)
        return token
