"""The gate's end of its socket: never waits. What the service does not read is dropped, and counted."""

import os
import socket
from typing import Final

from monitor.gate.wire import FRAME_BYTES_MAX, Command, Message, decode_command, encode

_FDS_MAX: Final = 4


class ChannelClosed(Exception):
    """The service has gone."""


class Channel:
    """Commands in, messages out."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self.dropped = 0

    def fileno(self) -> int:
        """For ``poll``."""
        return self._socket.fileno()

    def receive(self) -> tuple[Command, int] | None:
        """The next command, and the descriptor that came with it (-1: none), which is the caller's to close.

        Raises:
            ChannelClosed: the service has ended, or closed its end.
            msgspec.MsgspecError: not a command.
        """
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, FRAME_BYTES_MAX, _FDS_MAX)
        except BlockingIOError:
            return None
        except ConnectionError as error:
            raise ChannelClosed from error
        for extra in fds[1:]:
            os.close(extra)
        if not data:
            raise ChannelClosed
        return decode_command(data), fds[0] if fds else -1

    def send(self, message: Message) -> bool:
        """Say it if there is room; answers whether there was."""
        try:
            self._socket.send(encode(message))
        except OSError:  # full, or gone: that is found out by reading
            self.dropped += 1
            return False
        return True
