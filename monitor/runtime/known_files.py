"""Keep the kernel told which files lie at the exact paths of deny rules, on the host and in each container.

A look at somebody's files is a thread of its own, because a file system may never
answer, and none is waited for but at the start. What has been found stays known for as
long as its container is there: a file that is moved away is still that file.
"""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from msgspec import Struct, field

from monitor.host.exact_files import NotReadyError, find_container_files, find_host_files
from monitor.model.ids import InodeKey
from monitor.wire._layout import POLICY_HOST

_LOG: Final = logging.getLogger(__name__)
LOOKS_MAX: Final = 4
"""At a time."""
LOOKS_PER_TICK: Final = 2
AGAIN_S: Final = 30.0
"""A file that another one has replaced is found after so long, or as much longer as there are many containers."""
RETRY_S: Final = 1.0
"""A container that could not be looked at (yet); twice as long each time, up to the above."""
HANGS_S: Final = 60.0
"""No look comes back."""
FILES_PER_PATH: Final = 4
"""That are remembered in one container: the oldest go first."""

Files = Mapping[InodeKey, frozenset[str]]


class Inspector(Protocol):
    """Tells which file a descriptor is (:class:`monitor.bpf.inspection.FileInspector`)."""

    def inspect(self, descriptor: int) -> tuple[InodeKey, ...]:
        """The inodes behind it."""

    def close(self) -> None:
        """Free it."""


class _Place(Struct):
    """One container, or the host."""

    pid: int = 0
    """A process that has its root; 0: none is known."""
    files: dict[InodeKey, frozenset[str]] = field(default_factory=dict)
    """Found so far, oldest first."""
    due: float = 0.0
    is_looked_at: bool = False
    failures: int = 0
    """Looks one after another that came to nothing."""


class _Result(Struct, frozen=True):
    slot: int
    place: _Place
    files: Files | None
    """None: it could not be looked at."""


class KnownFiles:
    """Owns the looks. ``tell`` is called in the thread that calls this."""

    def __init__(
        self, inspector: Inspector, tell: Callable[[int, Files], None], find_pid: Callable[[int], int | None]
    ) -> None:
        """``find_pid``: a process of the container in this slot."""
        self._inspector = inspector
        self._tell = tell
        self._find_pid = find_pid
        self._paths: tuple[str, ...] = ()
        self._places: dict[int, _Place] = {POLICY_HOST: _Place(pid=1)}
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._looks = 0
        self._took_at = time.monotonic()
        self._has_warned = False

    def replace_paths(self, paths: Iterable[str]) -> None:
        """Look for these from now on; what was found of others is forgotten."""
        self._paths = tuple(paths)
        for slot, place in self._places.items():
            place.due = 0.0
            left = {key: kept for key, at in place.files.items() if (kept := at.intersection(self._paths))}
            if left != place.files:
                place.files = left
                self._tell(slot, left)
        self._go_on(len(self._places))

    def add(self, slot: int) -> None:
        """There is another container. It is looked at once a process in it is known."""
        self._places.setdefault(slot, _Place(due=time.monotonic() + RETRY_S))

    def look_at(self, slot: int, pid: int) -> None:
        """A process has the root of this container; the first one that is told is enough.

        What could not be looked at waits for its turn: programs run more often than that is worth.
        """
        place = self._places.get(slot)
        if place is not None and not place.pid and not place.failures:
            place.pid, place.due = pid, 0.0
            self._go_on(1)

    def forget(self, slot: int) -> None:
        """The container is gone."""
        self._places.pop(slot, None)

    def on_tick(self) -> None:
        """Take what was found, look again where it is time."""
        self._take()
        self._go_on(LOOKS_PER_TICK)

    def finish(self, timeout_s: float) -> None:
        """Look at all that is due and wait for it, no longer than this."""
        end = time.monotonic() + timeout_s
        self._go_on(len(self._places))
        while self._looks and (left := end - time.monotonic()) > 0:
            try:
                self._take_one(self._results.get(timeout=left))
            except queue.Empty:
                return
            self._go_on(len(self._places))

    def close(self) -> None:
        """Looks that are still under way come to nothing."""
        self._places, self._paths = {}, ()
        if not self._looks:
            self._inspector.close()  # else it stays: a thread may be asking it

    # --- looking --------------------------------------------------------------------------------

    def _go_on(self, looks: int) -> None:
        if not self._paths:
            return
        now = time.monotonic()
        waiting = ((place.due, slot) for slot, place in self._places.items() if not place.is_looked_at)
        for due, slot in sorted(waiting)[:looks]:
            if due > now:
                return
            if self._looks >= LOOKS_MAX:
                self._warn(now)
                return
            self._start(slot, self._places[slot])

    def _warn(self, now: float) -> None:
        """All looks are under way: a file system that hangs keeps its look for ever."""
        if now - self._took_at > HANGS_S and not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "%d containers' file systems do not answer: files of new ones are denied by name alone", self._looks
            )

    def _start(self, slot: int, place: _Place) -> None:
        place.due = time.monotonic() + min(AGAIN_S, RETRY_S * (1 << min(place.failures, 10)))
        pid = place.pid or self._find_pid(slot) or 0
        if not pid:
            return
        self._looks += 1
        place.is_looked_at = True
        loop = _find_loop()
        threading.Thread(target=self._look, args=(slot, place, pid, loop), daemon=True).start()

    def _look(self, slot: int, place: _Place, pid: int, loop: asyncio.AbstractEventLoop | None) -> None:
        files: Files | None = None
        paths = self._paths
        try:
            if slot == POLICY_HOST:
                files = find_host_files(paths, self._inspector.inspect)
            else:
                files = find_container_files(pid, paths, self._inspector.inspect)
        except NotReadyError:
            pass
        except (OSError, ValueError) as error:
            _LOG.debug("the files of slot %d cannot be looked for: %s", slot, error)
        finally:
            self._results.put(_Result(slot, place, files))
            if loop is not None:
                with contextlib.suppress(RuntimeError):  # it has ended
                    loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        while not self._results.empty():
            self._take_one(self._results.get_nowait())

    def _take_one(self, result: _Result) -> None:
        self._looks -= 1
        self._took_at = time.monotonic()
        place = result.place
        place.is_looked_at = False
        if self._places.get(result.slot) is not place:
            return  # it is gone, and the slot perhaps another's
        if result.files is None:
            place.pid = 1 if result.slot == POLICY_HOST else 0  # that one has ended, or shows nothing
            place.failures += 1
            return
        place.failures = 0
        place.due = time.monotonic() + AGAIN_S
        self._remember(result.slot, place, result.files)

    def _remember(self, slot: int, place: _Place, files: Files) -> None:
        merged = dict(place.files)
        for key, paths in files.items():
            known = merged.pop(key, frozenset())
            merged[key] = known | paths.intersection(self._paths)
        room = FILES_PER_PATH * max(len(self._paths), 1)
        merged = dict(list(merged.items())[-room:])
        if merged != place.files:
            place.files = merged
            self._tell(slot, merged)


def _find_loop() -> asyncio.AbstractEventLoop | None:
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None
