"""The other end of both sockets: connect, ask, read replies. For commands; blocking.

What comes is checked as strictly as what a client may send: a frame is bounded
and must be a map.
"""

import errno
import grp
import os
import socket
from collections import deque
from pathlib import Path
from typing import Final, Self

import msgspec

from monitor.sinks.frames import REPLY_BYTES_MAX, FrameError, FrameReader, build_frame
from monitor.sinks.requests import Request

CONNECT_TIMEOUT_S: Final = 5.0
READ_BYTES: Final = 256 * 1024

Reply = dict[str, object]

_decoder: Final = msgspec.msgpack.Decoder(Reply)


class ServiceUnavailable(Exception):
    """Nobody answers at the socket, or not to us. The text is one line: what, where, what to do."""


class ServiceRefused(Exception):
    """The service answered that it will not do it; the text is its own."""


class ServiceConnection:
    """A connection to one of the service's sockets."""

    def __init__(self, path: Path) -> None:
        """Connect. Raises :class:`ServiceUnavailable`."""
        self._path = path
        self._reader = FrameReader(REPLY_BYTES_MAX)
        self._replies: deque[Reply] = deque()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(CONNECT_TIMEOUT_S)
        try:
            self._socket.connect(os.fsencode(path))
        except OSError as error:
            self._socket.close()
            raise ServiceUnavailable(_explain(error, path)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def has_reply(self) -> bool:
        """A reply has been read already: :meth:`find_reply` will not wait."""
        return bool(self._replies)

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up; what the connection asked for ends."""
        self._socket.close()

    def send(self, request: Request) -> None:
        """Ask. Raises :class:`ServiceUnavailable` when the service has gone."""
        try:
            self._socket.sendall(build_frame(request))
        except OSError as error:
            if not isinstance(error, ConnectionError):
                raise ServiceUnavailable(_explain(error, self._path)) from error
            # The service has hung up; what it said before is still to be read.

    def find_reply(self, timeout_s: float | None = None) -> Reply | None:
        """Return the next frame; None at the end. Waits as long as it takes unless told otherwise.

        Raises ``TimeoutError``, :class:`ServiceRefused` for an error frame, and
        :class:`ServiceUnavailable` for bytes that are none of our protocol.
        """
        self._socket.settimeout(timeout_s)
        while not self._replies:
            try:
                data = self._socket.recv(READ_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self._accept(data)
        reply = self._replies.popleft()
        if "error" in reply and "@timestamp" not in reply:
            raise ServiceRefused(_read_error(reply["error"]))
        return reply

    def ask(self, request: Request, answer: str, timeout_s: float = 10.0) -> object:
        """Send a request and return what its reply holds under ``answer``. Raises like :meth:`find_reply`."""
        self.send(request)
        try:
            reply = self.find_reply(timeout_s)
        except TimeoutError as error:
            raise ServiceUnavailable(f"no answer from {self._path} within {timeout_s:g} s") from error
        if reply is None or answer not in reply:
            raise ServiceUnavailable(f"no answer from {self._path}: the service has hung up")
        return reply[answer]

    def _accept(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                self._replies.append(_decoder.decode(payload))
        except (FrameError, msgspec.MsgspecError, RecursionError) as error:
            raise ServiceUnavailable(
                f"what answers at {self._path} is not this version of stockade: {error}"
            ) from error


def _read_error(error: object) -> str:
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return "the service refused without a reason"


def _explain(error: OSError, path: Path) -> str:
    """Say what to do about a connection that failed."""
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return f"no service listens on {path}: start it with 'sudo scripts/run' or 'systemctl start stockade'"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"permission denied on {path}: {_explain_permission(path)}"
    if isinstance(error, TimeoutError):
        return f"the service does not answer on {path}: see 'journalctl -u stockade'"
    return f"cannot connect to {path}: {error.strerror or error}"


def _explain_permission(path: Path) -> str:
    try:
        owner = path.stat()
    except OSError:
        return "run as root"
    if owner.st_gid == 0 or not owner.st_mode & 0o060:
        return "run as root"
    return f"run as root or as a member of group '{_name_group(owner.st_gid)}'"


def _name_group(group_id: int) -> str:
    try:
        return grp.getgrgid(group_id).gr_name
    except KeyError:
        return str(group_id)
