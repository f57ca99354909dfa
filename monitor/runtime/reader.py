"""Read the rings on the event loop: soon when it is quiet, rarely when it is busy.

Waking a reader for each record costs 26 % of an exec loop, so the kernel side wakes
ours only while it says that it sleeps. A reader that gets more than
``BUSY_RECORDS_PER_S`` naps ``NAP_S`` between two looks, or ``LONG_NAP_S`` when there is very much to
do (each look runs with cold caches: more records a look cost less); at rest it sleeps in epoll.
The urgent ring is read first, then at most ``LATER_RECORDS_AT_ONCE`` of each of the others
(opens, denials), then the urgent one again: no flood delays an exec. And no open goes before
the fork and exec it rests on: the end of its ring is marked first, the urgent
ring's after it, and a marked record is read when the urgent ring has been read up to
its mark. (A task writes its exec's record before its opens'.)
"""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from monitor.bpf.ring import RecordHandler, Ring

BUSY_RECORDS_PER_S: Final = 3_000
NAP_S: Final = 0.002
VERY_BUSY_RECORDS_PER_S: Final = 5_000
LONG_NAP_S: Final = 0.008
BACKSTOP_S: Final = 0.1
"""Records that wake nobody (forks, exits) wait no longer than this."""
URGENT_RECORDS_AT_ONCE: Final = 256
LATER_RECORDS_AT_ONCE: Final = 16
TURN_RECORDS_MAX: Final = 2_048
"""After so many records the loop gets a turn for its sockets,"""
TURN_S: Final = 0.004
"""or after so long: what was published reaches no subscriber before that."""
RATE_WINDOW_S: Final = 0.01
_RATE_WEIGHT: Final = 0.3


class _LaterRing:
    """A ring whose records rest on those of the urgent one."""

    __slots__ = ("_mark", "_urgent_mark", "ring")

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self._mark = 0
        self._urgent_mark = 0

    def mark(self, urgent: Ring) -> None:
        """What is marked has been read: mark what there is now."""
        if self.ring.position >= self._mark:
            self._mark = self.ring.end
            self._urgent_mark = urgent.end

    def drain(self, handle: RecordHandler, urgent: Ring) -> int:
        """Read of what is marked, if all that it can rest on has been read."""
        if urgent.position < self._urgent_mark:
            return 0
        return self.ring.drain(handle, LATER_RECORDS_AT_ONCE, self._mark)


class RingReader:
    """Reads until stopped; every record goes to ``handle`` on the loop's thread."""

    def __init__(
        self, urgent: Ring, later: Sequence[Ring], handle: RecordHandler, set_sleeps: Callable[[bool], None]
    ) -> None:
        self._urgent = urgent
        self._later = [_LaterRing(ring) for ring in later]
        self._rings = (urgent, *later)
        self._handle = handle
        self._set_sleeps = set_sleeps
        self._loop: asyncio.AbstractEventLoop | None = None
        self._nap: asyncio.TimerHandle | None = None
        self._backstop: asyncio.TimerHandle | None = None
        self._rate_per_s = 0.0
        self._window_start = 0.0
        self._window_records = 0
        self._has_more = False
        self.records = 0

    def read_later(self, ring: Ring) -> None:
        """Read this ring too, from now on."""
        self._later.append(_LaterRing(ring))
        self._rings = (*self._rings, ring)
        if self._loop is not None and self._nap is None:
            self._loop.add_reader(ring.fd, self.look)

    def forget(self, ring: Ring) -> None:
        """Read this ring no more."""
        self._later = [later for later in self._later if later.ring is not ring]
        self._rings = tuple(each for each in self._rings if each is not ring)
        if self._loop is not None and self._nap is None:
            self._loop.remove_reader(ring.fd)

    def start(self) -> None:
        """Begin to read on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._window_start = self._loop.time()
        self._backstop = self._loop.call_later(BACKSTOP_S, self._look_again)
        self._listen()

    def stop(self) -> None:
        """Read no more."""
        if self._loop is None:
            return
        if self._backstop is not None:
            self._backstop.cancel()
        if self._nap is not None:
            self._nap.cancel()
            self._nap = None
        else:
            self._unlisten()
        self._set_sleeps(False)
        self._loop = None

    def drain(self) -> int:
        """Read what is there now, urgent first, up to one turn; answer how many records."""
        urgent, later, handle = self._urgent, self._later, self._handle
        total = 0
        end = monotonic() + TURN_S
        self._has_more = True
        while self._has_more and total < TURN_RECORDS_MAX and monotonic() < end:
            for each in later:
                each.mark(urgent)
            count = urgent.drain(handle, URGENT_RECORDS_AT_ONCE)
            for each in later:
                count += each.drain(handle, urgent)
            self._has_more = count > 0
            total += count
        self.records += total
        return total

    def _listen(self) -> None:
        assert self._loop is not None
        self._set_sleeps(True)
        for ring in self._rings:
            self._loop.add_reader(ring.fd, self.look)

    def _unlisten(self) -> None:
        assert self._loop is not None
        for ring in self._rings:
            self._loop.remove_reader(ring.fd)

    def _look_again(self) -> None:
        """Look now and then, whoever says what."""
        if self._loop is not None:
            self._backstop = self._loop.call_later(BACKSTOP_S, self._look_again)
            if self._nap is None:
                self.look()

    def look(self) -> None:
        """Something is there, a nap is over, or it is time: read, then decide how to wait.

        Who drains otherwise while the reader sleeps takes the record that a wake-up was for; epoll then finds
        nothing and says nothing, the kernel side believes that the reader is awake, and nobody wakes it again.
        """
        if self._loop is None:
            return
        was_napping = self._nap is not None
        if self._nap is not None:
            self._nap.cancel()
            self._nap = None
        count = self.drain()
        self._measure_rate(count, self._loop.time())
        if self._has_more or self._rate_per_s > BUSY_RECORDS_PER_S:
            self._stay_awake(0.0 if self._has_more else self._choose_nap_s(), was_napping=was_napping)
        elif was_napping:
            self._listen()
        else:
            self._set_sleeps(True)
            if self.backlog_bytes:  # written between our last look and our word that we sleep
                self._loop.call_soon(self.look)

    def _stay_awake(self, pause_s: float, *, was_napping: bool) -> None:
        assert self._loop is not None
        if not was_napping:
            self._set_sleeps(False)
            self._unlisten()
        self._nap = self._loop.call_later(pause_s, self.look)

    def _measure_rate(self, count: int, now: float) -> None:
        """Over windows: two records that come together are no rush."""
        self._window_records += count
        elapsed = now - self._window_start
        if elapsed >= RATE_WINDOW_S:
            self._rate_per_s += _RATE_WEIGHT * (self._window_records / elapsed - self._rate_per_s)
            self._window_start, self._window_records = now, 0

    def _choose_nap_s(self) -> float:
        return LONG_NAP_S if self._rate_per_s > VERY_BUSY_RECORDS_PER_S else NAP_S

    @property
    def backlog_bytes(self) -> int:
        """Bytes of all rings that are written and not yet read."""
        return sum(ring.backlog_bytes for ring in self._rings)
