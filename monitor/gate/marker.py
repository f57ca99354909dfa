"""Have file systems marked: those that settings name, and those that processes and mount namespaces show.

What a container's path leads through may never answer, so each look at a process'
mounts is a thread of its own, and none is waited for.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from monitor.gate.mount_watch import MountWatch
from monitor.gate.places import Place, PlaceError, open_container_places, open_hold_path
from monitor.gate.wire import Command, MarkRuntime

_LOG: Final = logging.getLogger(__name__)
_LOOKS_MAX: Final = 32
"""At a time."""


class HeldPaths(Struct, frozen=True):
    """What the host names."""

    file_systems: tuple[Path, ...] = ()
    """Each by a path on it."""
    runtimes: tuple[Path, ...] = ()
    """Low-level container runtimes, whose starts wait until what they show is marked."""


class Marker:
    """Opens places and hands them on."""

    def __init__(self, paths: HeldPaths, namespace_pid: int, send: Callable[[Command, int], None]) -> None:
        """``namespace_pid``: a process whose mount namespace shows containers' overlays as they are made; 0: none."""
        self._paths = paths
        self._namespace_pid = namespace_pid
        self._send = send
        self._watch: MountWatch | None = None
        self._looks = 0
        self._waiting: dict[int, list[Command]] = {}
        """Processes whose turn comes when a look comes back, in their order; and what is to be said after each."""
        self.unopened = 0
        """Processes whose file systems could not be opened: most had ended."""

    @property
    def is_busy(self) -> bool:
        """Some look has not come back yet."""
        return self._looks > 0

    def start(self) -> None:
        """Check what settings name, and watch mounts.

        Raises:
            PlaceError: a path of the settings cannot be held.
            OSError: the mount namespace cannot be watched.
        """
        for path in self._paths.file_systems:
            os.close(open_hold_path(path).fd)
        if self._namespace_pid and self._watch is None:
            self._watch = MountWatch(self._namespace_pid, self._look_at_namespace)

    def stop(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def mark_everything(self, pids: Iterable[int]) -> None:
        """Mark what is known, and what these processes show: a new gate, or another policy."""
        for path in self._paths.file_systems:
            try:
                place = open_hold_path(path)
            except PlaceError as error:
                _LOG.error("%s", error)
                continue
            self._send(place.mark, place.fd)
        for path in self._paths.runtimes:
            with contextlib.suppress(OSError):  # removed since
                self._send(MarkRuntime(), os.open(path, os.O_PATH | os.O_CLOEXEC))
        for pid in {self._namespace_pid, *pids}:
            self.look_at(pid)

    def look_at(self, pid: int, then: Command | None = None) -> None:
        """Mark what this process shows of containers' own file systems; 0 is nobody. Then say ``then``."""
        if pid > 0:
            self._waiting.setdefault(pid, []).extend([then] if then else [])
            self._go_on()

    def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._looks < _LOOKS_MAX:
            pid = next(iter(self._waiting))
            done = partial(self._take, self._waiting.pop(pid))
            self._looks += 1
            threading.Thread(target=_open_places, args=(pid, loop, done), daemon=True).start()

    def _look_at_namespace(self) -> None:
        self.look_at(self._namespace_pid)

    def _take(self, then: list[Command], places: list[Place] | None) -> None:
        self._looks -= 1
        if places is None:
            self.unopened += 1
        for place in places or ():
            self._send(place.mark, place.fd)
        for command in then:
            self._send(command, -1)
        self._go_on()


def _open_places(pid: int, loop: asyncio.AbstractEventLoop, done: Callable[[list[Place] | None], None]) -> None:
    try:
        places = open_container_places(pid)
    except OSError:
        places = None
    try:
        loop.call_soon_threadsafe(done, places)
    except RuntimeError:  # the service has ended meanwhile
        for place in places or ():
            os.close(place.fd)
