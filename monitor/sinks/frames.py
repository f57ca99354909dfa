"""Frames of both sockets: a length and one msgpack map. Turns bytes into payloads and back.

Pure. A frame is a big-endian u32, the number of bytes that follow, and these bytes.
The receiver says how long a frame may be; a longer one ends the connection before
any of it is kept. What is in the maps is :mod:`monitor.sinks.requests` and docs/events.md.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

REQUEST_BYTES_MAX: Final = 16 * 1024
"""Of a client's frame."""
REPLY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of a frame of the service: a status with many containers is the longest."""

_LENGTH: Final = struct.Struct(">I")
_encoder: Final = msgspec.msgpack.Encoder()


class FrameError(ValueError):
    """Bytes that are no frame of ours; the text says why."""


def build_frame(payload: object) -> bytes:
    """Encode one map. Text that is not valid UTF-8 (lone surrogates) is backslash-escaped."""
    try:
        body = _encoder.encode(payload)
    except UnicodeEncodeError:
        body = _encoder.encode(_escape_surrogates(payload))
    return _LENGTH.pack(len(body)) + body


def _escape_surrogates(value: object) -> object:
    """Mend text that no decoder of ours makes, so that one bad string cannot stop the stream."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_escape_surrogates(key): _escape_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escape_surrogates(item) for item in value]
    return value


class FrameReader:
    """Cuts a stream of bytes into payloads. Holds at most one frame and what one read brought."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each whole payload. Raises :class:`FrameError` for one that is empty or too long."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if not 0 < length <= self._bytes_max:
                raise FrameError(f"a frame of {length} bytes; 1 to {self._bytes_max} are allowed")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield payload
