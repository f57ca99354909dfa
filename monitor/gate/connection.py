"""The service's end of the gate's socket, on its event loop: commands go when there is room, messages come decoded."""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from monitor.gate.wire import FRAME_BYTES_MAX, Command, Message, decode_message, encode

_LOG: Final = logging.getLogger(__name__)
_FRAMES_AT_ONCE: Final = 256
"""Then others on the loop have their turn."""


class Connection:
    """To one gate."""

    def __init__(self, end: socket.socket, on_message: Callable[[Message], None], on_end: Callable[[], None]) -> None:
        end.setblocking(False)
        self._socket = end
        self._on_message = on_message
        self._on_end = on_end
        self._unsent: deque[tuple[bytes, int]] = deque()
        self._is_open = True
        asyncio.get_running_loop().add_reader(end, self.receive)

    def send(self, command: Command, fd: int = -1) -> None:
        """Say it, now or when there is room. The descriptor, which goes with it, is closed."""
        if not self._is_open:
            _close(fd)
            return
        self._unsent.append((encode(command), fd))
        if len(self._unsent) == 1:
            self._flush()

    def close(self) -> None:
        """The gate ends by this. Twice is fine."""
        if not self._is_open:
            return
        self._is_open = False
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)
        self._socket.close()
        while self._unsent:
            _close(self._unsent.popleft()[1])

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._unsent:
            data, fd = self._unsent[0]
            try:
                socket.send_fds(self._socket, [data], [fd] if fd >= 0 else [])
            except BlockingIOError:
                loop.add_writer(self._socket, self._flush)
                return
            except OSError:
                break  # it has gone; reading finds that out
            self._unsent.popleft()
            _close(fd)
        loop.remove_writer(self._socket)

    def receive(self) -> None:
        """Take what has been said until now."""
        for _ in range(_FRAMES_AT_ONCE):
            if not self._is_open:
                return
            try:
                data = self._socket.recv(FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self._on_end()
                return
            try:
                message = decode_message(data)
            except msgspec.MsgspecError as error:
                _LOG.error("the gate said what is no message: %s", error)
                continue
            self._on_message(message)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)
