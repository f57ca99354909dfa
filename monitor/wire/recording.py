"""Recordings: every event in the order in which the engine got it, ready to be replayed.

A file is a magic line, then frames: a little-endian u32 length and that many bytes
of payload. The first payload is the msgpack of :class:`RecordingHeader`. In each
later one the first byte tells what follows: a raw record of the rings (decoded
again on replay, with the layout it was recorded by) or the msgpack of an event
that user space made (ticks, start-up walk, answers).

Hostile input: lengths are bounded, a cut-off end is reported, nothing is executed.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from monitor.model.events import AnyEvent
from monitor.wire import _layout as layout
from monitor.wire.decoder import Buffer, DecodeError, decode_record

MAGIC: Final = b"stockade recording 1\n"
FRAME_BYTES_MAX: Final = 1 << 20
_LENGTH: Final = struct.Struct("<I")
_RAW: Final = b"r"
_EVENT: Final = b"e"

_encode = msgspec.msgpack.Encoder().encode
_decode_event = msgspec.msgpack.Decoder(AnyEvent).decode


class RecordingHeader(Struct, frozen=True):
    """Where and with what a recording was made."""

    layout_fingerprint: int
    boot_id: str
    host_name: str
    wall_offset_ns: int
    """CLOCK_REALTIME minus CLOCK_MONOTONIC when it began: the wall time of its events."""
    version: str


class RecordingError(ValueError):
    """This file is no recording, is damaged, or was made with another layout."""


class RecordingWriter:
    """Append frames to a file."""

    def __init__(self, file: BinaryIO, header: RecordingHeader) -> None:
        self._write = file.write
        self._write(MAGIC)
        self._frame(_encode(header))

    def write_record(self, data: Buffer, offset: int, length: int) -> None:
        """Keep one raw record."""
        self._frame(_RAW + bytes(data[offset : offset + length]))

    def write_event(self, event: AnyEvent) -> None:
        """Keep one event that did not come from a ring."""
        self._frame(_EVENT + _encode(event))

    def _frame(self, payload: bytes) -> None:
        self._write(_LENGTH.pack(len(payload)) + payload)


class RecordingReader:
    """Read the header, then iterate over the events.

    Raises:
        RecordingError: while reading, with the frame's number.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frames = 0
        if file.read(len(MAGIC)) != MAGIC:
            raise RecordingError("this is no recording of stockade")
        payload = self._read_frame()
        try:
            self.header = msgspec.msgpack.decode(payload or b"", type=RecordingHeader)
        except msgspec.MsgspecError as error:
            raise RecordingError(f"the recording's header is damaged: {error}") from error
        if self.header.layout_fingerprint != layout.FINGERPRINT:
            raise RecordingError(
                f"recorded by version {self.header.version} with another record layout: replay it with that version"
            )

    def __iter__(self) -> Iterator[AnyEvent]:
        while (payload := self._read_frame()) is not None:
            yield self._decode(payload)

    def _decode(self, payload: bytes) -> AnyEvent:
        try:
            if payload[:1] == _RAW:
                return decode_record(payload, 1, len(payload) - 1)  # type: ignore[return-value]  # members of the union
            if payload[:1] == _EVENT:
                event: AnyEvent = _decode_event(memoryview(payload)[1:])
                return event
        except (DecodeError, msgspec.MsgspecError) as error:
            raise RecordingError(f"frame {self._frames}: {error}") from error
        raise RecordingError(f"frame {self._frames}: unknown kind {payload[:1]!r}")

    def _read_frame(self) -> bytes | None:
        """The next payload; None at the end."""
        head = self._file.read(_LENGTH.size)
        if not head:
            return None
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else FRAME_BYTES_MAX + 1
        if length > FRAME_BYTES_MAX:
            raise RecordingError(f"frame {self._frames}: damaged length")
        payload = self._file.read(length)
        if len(payload) != length:
            raise RecordingError(f"frame {self._frames}: the file ends in the middle of it")
        self._frames += 1
        return payload
