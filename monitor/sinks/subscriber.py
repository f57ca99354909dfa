"""One subscriber's wish and its queue: which records it wants, and what happens when it reads too slowly.

A slow subscriber loses from its own queue and is told how many, in the stream and
at the place where they are missing. Alerts have a reserve that a flood of events
cannot take. Nobody else waits.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from monitor.model.container import Container
from monitor.model.process import Context
from monitor.sinks.frames import build_frame

Predicate = Callable[[Context], bool]

WRITE_BYTES: Final = 64 * 1024
"""Frames are joined up to this size for one write."""
ALERTS_RESERVE: Final = 1_024
"""Alerts that fit into a queue that is full of events."""
QUEUES_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of all queues together: each has its equal part."""
CONTAINER_PREFIX_MIN: Final = 4
"""Hexadecimal digits that may name a container."""


class Wish:
    """Which records a subscriber wants."""

    __slots__ = ("_container", "_filter", "alerts_only")

    def __init__(self, *, alerts_only: bool, container: str | None, filter_: Predicate | None) -> None:
        self.alerts_only = alerts_only
        self._container = container
        self._filter = filter_

    def takes(self, context: Context, *, is_alert: bool) -> bool:
        """Tell whether to send this. Raises whatever the filter raises."""
        if self.alerts_only and not is_alert:
            return False
        if self._container is not None and not is_container_named(context.container, self._container):
            return False
        return self._filter is None or self._filter(context)


def is_container_named(container: Container | None, text: str) -> bool:
    """Tell whether people mean this container: by name, id or its beginning, ``pod/NAME``, or ``host`` for none."""
    if container is None:
        return text == "host"
    if text in (container.id, container.name, container.nested_id):
        return True
    if text.startswith("pod/"):
        return ("io.kubernetes.pod.name", text.removeprefix("pod/")) in container.labels
    if len(text) < CONTAINER_PREFIX_MIN:
        return False
    return container.id.startswith(text) or container.nested_id.startswith(text)


class OutgoingQueue:
    """Encoded frames that wait for the socket; bounded in number and bytes."""

    __slots__ = ("_bytes", "_bytes_max", "_frames", "_frames_max", "_is_dropping", "_untold", "dropped")

    def __init__(self, frames_max: int, bytes_max: int = QUEUES_BYTES_MAX) -> None:
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._untold = 0
        self._is_dropping = False
        self.dropped = 0
        """Since the subscriber came."""

    def __len__(self) -> int:
        return len(self._frames)

    def share_bytes(self, bytes_max: int) -> None:
        """Set the bound anew: the number of subscribers changed."""
        self._bytes_max = bytes_max

    def extend(self, frames: int) -> None:
        """Make room for the history that this subscriber asked for."""
        self._frames_max += frames

    def has_room(self, *, is_alert: bool) -> bool:
        """Tell whether a record will be taken: ask before encoding one. Counts the record when not."""
        frames_max = self._frames_max + (ALERTS_RESERVE if is_alert else 0)
        bytes_max = self._bytes_max + (self._bytes_max // 4 if is_alert else 0)
        if self._is_dropping and not is_alert:
            # Once full, stay so until half empty: one gap with one number, not a gap at each record.
            self._is_dropping = len(self._frames) * 2 > self._frames_max or self._bytes * 2 > self._bytes_max
            has_room = not self._is_dropping
        else:
            has_room = len(self._frames) < frames_max and self._bytes < bytes_max
        if not has_room:
            self._is_dropping = True
            self.count_dropped(1)
        return has_room

    def count_dropped(self, count: int) -> None:
        """Records that this subscriber will not get."""
        self.dropped += count
        self._untold += count

    def put(self, frame: bytes) -> None:
        """Append a frame, after the number of those that are missing before it."""
        if self._untold and not self._is_dropping:
            self._tell()
        self._frames.append(frame)
        self._bytes += len(frame)

    def take(self) -> bytes:
        """Return what to write next, at most about :data:`WRITE_BYTES`; empty when there is nothing."""
        parts: list[bytes] = []
        size = 0
        frames = self._frames
        while frames and size < WRITE_BYTES:
            part = frames.popleft()
            size += len(part)
            parts.append(part)
        self._bytes -= size
        if not frames and self._untold:
            self._is_dropping = False
            self._tell()
        return b"".join(parts)

    def _tell(self) -> None:
        notice = build_frame({"dropped": self._untold})
        self._untold = 0
        self._frames.append(notice)
        self._bytes += len(notice)
