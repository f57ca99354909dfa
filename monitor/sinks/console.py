"""Show documents on an output: four formats, and the sink of ``stockade run``.

The sink writes from a thread of its own: a paused terminal or a slow pipe costs its
own records, counted and logged, and never makes the engine wait.
"""

import json
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import BinaryIO, Final

import msgspec

from monitor.model.alert import Alert
from monitor.model.process import Context
from monitor.sinks.ecs_fill import Document
from monitor.sinks.origin import Origin
from monitor.sinks.pretty import PrettyPrinter
from monitor.sinks.records import Numbered, Record, build_document

OUTPUTS: Final = ("pretty", "wide", "json", "msgpack")

Renderer = Callable[[Document], bytes]

PENDING_MAX: Final = 8_192
"""Records that wait for the output."""
ALERTS_RESERVE: Final = 1_024
"""Alerts that may wait beyond that."""
BATCH: Final = 256
"""Records of one write."""
STOP_TIMEOUT_S: Final = 2.0

logger = logging.getLogger(__name__)


def is_colored(stream: BinaryIO) -> bool:
    """Tell whether to colour: on a terminal, unless NO_COLOR (https://no-color.org) or a dumb terminal says no."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def build_renderer(output: str, *, color: bool) -> Renderer:
    """Return what turns a document into bytes: ``pretty``, ``wide``, ``json`` (a line) or ``msgpack``."""
    if output == "json":
        return render_json
    if output == "msgpack":
        return msgspec.msgpack.encode
    printer = PrettyPrinter(color=color, wide=output == "wide")

    def render(document: Document) -> bytes:
        return printer.format_line(document).encode("utf-8", "backslashreplace") + b"\n"

    return render


def render_json(document: Document) -> bytes:
    """Encode one line of JSON that is safe on a terminal: what is not printable is escaped."""
    line = msgspec.json.encode(document)
    # JSON allows DEL, C1 controls and bidirectional marks as they are; a terminal obeys them.
    if line.isascii() and b"\x7f" not in line:
        return line + b"\n"
    if line.decode().isprintable():
        return line + b"\n"
    return json.dumps(document, separators=(",", ":")).replace("\x7f", "\\u007f").encode() + b"\n"


class ConsoleSink:
    """Writes events and alerts to an output, in order, from a thread."""

    def __init__(
        self,
        stream: BinaryIO,
        origin: Origin,
        *,
        output: str,
        color: bool,
        mode: str,
        alerts_only: bool = False,
    ) -> None:
        self.origin = origin
        """Assign a new one after a suspend or a step of the clock."""
        self.dropped = 0
        """Records that were not shown."""
        self._stream = stream
        self._mode = mode
        self._alerts_only = alerts_only
        self._render = build_renderer(output, color=color)
        self._sequence = 0
        self._told = 0
        self._is_closed = False
        self._pending: queue.SimpleQueue[Numbered | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, for a bounded time, and end."""
        if self._thread.is_alive():
            self._pending.put(None)
            self._thread.join(STOP_TIMEOUT_S)

    def publish_event(self, context: Context) -> None:
        """Show an event. Never waits, never raises."""
        self._sequence += 1
        if not self._alerts_only:
            self._put(context, PENDING_MAX)

    def publish_alert(self, alert: Alert) -> None:
        """Show an alert. Never waits, never raises."""
        self._sequence += 1
        self._put(alert, PENDING_MAX + ALERTS_RESERVE)

    def _put(self, record: Record, pending_max: int) -> None:
        if self._is_closed:
            return
        if self._pending.qsize() >= pending_max:
            self.dropped += 1
            return
        self._pending.put(Numbered(self._sequence, record, self.origin.wall_offset_ns))

    def _run(self) -> None:
        try:
            is_last = False
            while not is_last:
                batch, is_last = self._take()
                self._stream.write(b"".join(map(self._encode, batch)))
                self._stream.flush()
                self._tell_dropped()
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self._is_closed = True
            reason = (isinstance(error, OSError) and error.strerror) or error
            logger.warning("nothing more is shown here (%s); the service goes on: see `stockade tail`", reason)

    def _take(self) -> tuple[list[Numbered], bool]:
        """Wait for a record and return it with those that came with it; and whether it is over."""
        batch: list[Numbered] = []
        while len(batch) < BATCH:
            try:
                numbered = self._pending.get(block=not batch)
            except queue.Empty:
                break
            if numbered is None:
                return batch, True
            batch.append(numbered)
        return batch, False

    def _encode(self, numbered: Numbered) -> bytes:
        try:
            return self._render(build_document(numbered, self.origin, self._mode))
        except Exception:
            # A sink: one record that cannot be shown must not stop the others.
            logger.exception("record %d cannot be shown", numbered.sequence)
            return b""

    def _tell_dropped(self) -> None:
        if untold := self.dropped - self._told:
            self._told += untold
            logger.warning("%d records not shown: the output is slower than the events", untold)
