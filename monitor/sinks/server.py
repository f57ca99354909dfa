"""What both sockets have in common: binding, admitting peers, cutting frames, ending badly behaved clients.

A subclass of :class:`Connection` answers requests (:mod:`monitor.sinks.stream`,
:mod:`monitor.sinks.control`). Everything a client can make grow is bounded: the
number of connections, the time to its first request, the bytes of a frame, the
replies that it does not read.
"""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from monitor.sinks.frames import REQUEST_BYTES_MAX, FrameError, FrameReader, build_frame
from monitor.sinks.peers import Peer, is_admitted, read_peer

REQUEST_TIMEOUT_S: Final = 5.0
"""From connect to the end of the first request."""
CLOSE_TIMEOUT_S: Final = 2.0
"""For a client to read the last words before it is cut off."""
STOP_TIMEOUT_S: Final = 0.5
"""The same when the service stops."""
PATH_BYTES_MAX: Final = 107
"""``sun_path`` less its end (unix(7))."""


class SocketServer:
    """One listening Unix socket and its connections."""

    def __init__(self, path: Path, *, group_id: int | None, connections_max: int) -> None:
        self.path = path
        self._group_id = group_id
        self._connections_max = connections_max
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._server: asyncio.Server | None = None
        self._inode = 0
        self.refused = 0
        """Connections turned away: wrong peer, or too many."""

    async def start(self, build_connection: Callable[[], "Connection"]) -> None:
        """Listen; an old socket of this name is replaced in one step. Raises ``OSError``."""
        listener = _bind(self.path, self._group_id)
        self._inode = self.path.stat().st_ino
        self._server = await asyncio.get_running_loop().create_unix_server(build_connection, sock=listener)

    async def stop(self, reason: str) -> None:
        """Tell every client why, close, and remove the socket if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in tuple(self._connections):
            connection.on_stop(reason)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), STOP_TIMEOUT_S)
        for connection in tuple(self._connections):
            connection.abort()
        if self._is_ours():
            self.path.unlink(missing_ok=True)

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    def admit(self, connection: "Connection", peer_socket: socket.socket) -> str:
        """Return why this peer may not connect; empty when it may."""
        if len(self._connections) >= self._connections_max:
            return f"too many connections; {self._connections_max} are allowed"
        if not is_admitted(read_peer(peer_socket), self._group_id):
            return "permission denied: root or the service's group only"
        self._connections.add(connection)
        self._empty.clear()
        return ""

    def forget(self, connection: "Connection") -> None:
        """The connection is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _is_ours(self) -> bool:
        try:
            return self.path.stat(follow_symlinks=False).st_ino == self._inode
        except OSError:
            return False


class Connection(asyncio.Protocol):
    """One client. A subclass answers in :meth:`on_request`."""

    def __init__(self, server: SocketServer) -> None:
        self._server = server
        self._reader = FrameReader(REQUEST_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._cutoff: asyncio.TimerHandle | None = None
        self.is_paused = False
        """The client does not read: what was written so far waits in the transport."""
        self.is_held = False
        """An answer is being made: later requests wait, so that answers keep their order."""
        self.is_closing = False

    def on_request(self, payload: bytes) -> None:
        """Answer one frame. May raise :class:`FrameError`, which ends the connection with its text."""
        raise NotImplementedError

    def on_closed(self) -> None:
        """Let go of what the connection held."""

    def on_stop(self, reason: str) -> None:
        """The service stops: say so and close."""
        self.finish({"end": reason})

    def on_writable(self) -> None:
        """The client reads again."""

    def hold(self) -> None:
        """Take no more requests until :meth:`go_on`."""
        self.is_held = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Take the requests that wait, then new ones."""
        self.is_held = False
        self._resume()

    def send(self, payload: object) -> None:
        """Write one frame."""
        self.write(build_frame(payload))

    def write(self, frames: bytes) -> None:
        """Write frames that are encoded already."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames)

    def fail(self, message: str, **details: object) -> None:
        """Say what is wrong and close."""
        self.finish({"error": {"message": message, **details}})

    def finish(self, payload: object | None = None) -> None:
        """Send the last frame and close; cut off a client that does not take it in time."""
        if self.is_closing or self._transport is None:
            return
        self.is_closing = True
        self.satisfy_deadline()
        if payload is not None:
            self.send(payload)
        self._transport.close()
        self._cutoff = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def abort(self) -> None:
        """Cut the connection off at once."""
        if self._transport is not None:
            self._transport.abort()

    def read_peer(self) -> Peer:
        """Who is at the other end. Raises ``OSError`` when it has gone."""
        if self._transport is None or self._transport.is_closing():
            raise OSError(errno.ENOTCONN, "the client has gone")
        return read_peer(self._transport.get_extra_info("socket"))

    def satisfy_deadline(self) -> None:
        """A whole request has come: the client may take its time now."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check who it is; a refused peer is told why."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        try:
            refusal = self._server.admit(self, transport.get_extra_info("socket"))
        except OSError as error:
            refusal = f"no credentials: {error.strerror}"
        if refusal:
            self._server.refused += 1
            self.fail(refusal)
            return
        self._deadline = asyncio.get_running_loop().call_later(
            REQUEST_TIMEOUT_S, self.fail, f"no request within {REQUEST_TIMEOUT_S:g} s"
        )

    def data_received(self, data: bytes) -> None:
        """Cut frames, answer each."""
        if self.is_closing or self.is_held:
            return
        try:
            for payload in self._reader.feed(data):
                self.satisfy_deadline()
                self.on_request(payload)
                if self.is_closing or self.is_paused or self.is_held:
                    return  # what is left stays in the reader
        except FrameError as error:
            self.fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go."""
        self.is_closing = True
        self.satisfy_deadline()
        if self._cutoff is not None:
            # A transport that has emptied its buffer after close() takes an abort() for a second end (CPython 3.11).
            self._cutoff.cancel()
        self._server.forget(self)
        self.on_closed()

    def pause_writing(self) -> None:
        """Stop taking requests while the replies are not read."""
        self.is_paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on when the transport has returned: it takes a close() from within this call for a second end."""
        self.is_paused = False
        asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        """Send what waits, then take the requests that wait, then new ones."""
        if self._transport is None or self._transport.is_closing():
            return
        self.on_writable()
        self.data_received(b"")
        if not (self.is_paused or self.is_held or self._transport.is_closing()):
            self._transport.resume_reading()


def _bind(path: Path, group_id: int | None) -> socket.socket:
    """Bind under a name of our own, set owner and mode, then rename: nobody ever finds a wrong mode or no socket."""
    if path.exists() and not stat.S_ISSOCK(path.stat(follow_symlinks=False).st_mode):
        raise FileExistsError(errno.EEXIST, "in the way is something that is no socket", str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    if len(os.fsencode(temporary)) > PATH_BYTES_MAX:
        raise OSError(errno.ENAMETOOLONG, f"a socket's path may have {PATH_BYTES_MAX} bytes", str(temporary))
    temporary.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        # The inode that bind makes takes its mode from the socket (unix_bind_bsd): no umask, no window.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fsencode(temporary))
        if group_id is not None:
            os.chown(temporary, -1, group_id)
            temporary.chmod(0o660)
        listener.listen(64)
        temporary.rename(path)
    except OSError:
        listener.close()
        temporary.unlink(missing_ok=True)
        raise
    return listener
