"""Let no container runtime start before the file systems that it shows, its container's among them, are marked.

Whatever the machine is busy with, marks are so there before the container's first
program. The service looks and answers; a runtime that it does not answer for goes on
when it has waited its time.
"""

import os
import time
from collections.abc import Callable
from typing import Final

from monitor.gate.wire import RuntimeStarts
from monitor.host.fanotify import FAN_OPEN_EXEC_PERM, PermissionGroup

LOOK_MS: Final = 20
"""How often to look for those that have waited too long."""
_NS_PER_MS: Final = 1_000_000


class RuntimeHold:
    """A group of its own: forgetting what is ignored drops every mark of a file."""

    def __init__(self, tell: Callable[[RuntimeStarts], bool], wait_ms: int) -> None:
        """``tell`` answers whether the service will know. Raises ``OSError``: no group to be had."""
        self._group = PermissionGroup()
        self._tell = tell
        self._wait_ns = wait_ms * _NS_PER_MS
        self._waiting: dict[int, tuple[int, int]] = {}
        """tid -> (descriptor of the event, when it has waited long enough)."""
        self.hurried = 0

    def fileno(self) -> int:
        """For ``poll``."""
        return self._group.fileno()

    @property
    def is_waiting(self) -> bool:
        """Somebody waits."""
        return bool(self._waiting)

    def mark(self, fd: int) -> None:
        """Hold this runtime's starts. Raises ``OSError``."""
        self._group.mark_file(fd, FAN_OPEN_EXEC_PERM)

    def take_events(self, *, is_needed: bool) -> None:
        """Tell of each start, or let all go where nothing is to be marked."""
        for event in self._group.read():
            self.let_go(event.tid)  # an earlier event of the same thread: it was killed meanwhile
            self._waiting[event.tid] = (event.fd, time.monotonic_ns() + self._wait_ns)
            if not is_needed:
                self.let_go(event.tid)
            elif not self._tell(RuntimeStarts(event.tid)):
                self.hurried += 1
                self.let_go(event.tid)

    def let_go(self, tid: int) -> None:
        """It may start; one that does so already is fine."""
        fd, _ = self._waiting.pop(tid, (-1, 0))
        if fd >= 0:
            self._group.answer(fd, allow=True)
            os.close(fd)

    def let_go_overdue(self) -> None:
        """Whoever has waited long enough."""
        now = time.monotonic_ns()
        for tid in [tid for tid, (_, until) in self._waiting.items() if until <= now]:
            self.hurried += 1
            self.let_go(tid)
