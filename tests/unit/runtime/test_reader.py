"""The reader's way of waiting, on rings of the test's own."""

import asyncio
import contextlib
import os
from typing import Any

from monitor.runtime.reader import LATER_RECORDS_AT_ONCE, RATE_WINDOW_S, TURN_RECORDS_MAX, RingReader


class FakeRing:
    """A ring in memory: a queue of records, readable while it has any (a pipe stands for the kernel's wake-up)."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.position = 0
        self.end = 0
        self.fd, self._write_end = os.pipe()

    @property
    def backlog_bytes(self) -> int:
        return self.end - self.position

    def put(self, count: int, *, wake: bool = True) -> None:
        self.end += count
        if wake:
            os.write(self._write_end, b"x")

    def drain(self, handle: Any, limit: int, end: int | None = None) -> int:
        count = min((self.end if end is None else end) - self.position, limit)
        for _ in range(count):
            handle(self.name, 0, 0)
        self.position += count
        if count:
            os.set_blocking(self.fd, False)
            with contextlib.suppress(BlockingIOError):
                os.read(self.fd, 4096)
        return count


def make_reader() -> tuple[RingReader, FakeRing, FakeRing, list[bytes], list[bool]]:
    urgent, bulk = FakeRing(b"u"), FakeRing(b"b")
    seen: list[bytes] = []
    sleeps: list[bool] = []
    reader = RingReader(urgent, [bulk], lambda name, _o, _l: seen.append(name), sleeps.append)  # type: ignore[arg-type]
    return reader, urgent, bulk, seen, sleeps


def test_no_open_goes_before_the_exec_that_it_rests_on() -> None:
    """However many urgent records there are: what was written before the marked opens is read before them."""
    reader, urgent, bulk, seen, _ = make_reader()
    urgent.put(1000)
    bulk.put(10)

    reader.drain()

    assert seen == [b"u"] * 1000 + [b"b"] * 10


def test_an_exec_that_comes_between_waits_for_one_portion_of_opens() -> None:
    reader, urgent, bulk, seen, _ = make_reader()
    bulk.put(1000)

    def handle(name: bytes, _offset: int, _length: int) -> None:
        seen.append(name)
        if len(seen) == 10:
            urgent.put(1)

    reader._handle = handle  # type: ignore[assignment]
    reader.drain()

    assert seen.index(b"u") == LATER_RECORDS_AT_ONCE


def test_an_open_waits_for_an_urgent_record_that_is_not_committed_yet() -> None:
    reader, urgent, bulk, seen, _ = make_reader()
    urgent.put(1)
    urgent.drain = lambda *_arguments: 0  # type: ignore[method-assign]  # reserved, still being written
    bulk.put(1)

    assert reader.drain() == 0
    assert seen == []

    del urgent.drain
    assert reader.drain() == 2
    assert seen == [b"u", b"b"]


def test_one_turn_is_bounded() -> None:
    reader, _, bulk, seen, _ = make_reader()
    bulk.put(1_000_000)

    reader.drain()

    assert len(seen) <= TURN_RECORDS_MAX + 256 + LATER_RECORDS_AT_ONCE


def test_a_record_wakes_a_sleeping_reader() -> None:
    async def scenario() -> list[bytes]:
        reader, urgent, _, seen, sleeps = make_reader()
        reader.start()
        assert sleeps == [True]
        urgent.put(1)
        await asyncio.sleep(0)
        await asyncio.wait_for(until(lambda: bool(seen)), 2)
        reader.stop()
        assert sleeps[-1] is False
        return seen

    assert asyncio.run(scenario()) == [b"u"]


def test_a_busy_reader_naps_and_sees_what_comes_without_a_wake_up() -> None:
    async def scenario() -> int:
        reader, urgent, _, seen, sleeps = make_reader()
        reader.start()
        while sleeps[-1]:  # busy is what lasts: a rate is taken over windows
            urgent.put(500)
            await asyncio.sleep(RATE_WINDOW_S / 2)
        await asyncio.wait_for(until(lambda: not urgent.backlog_bytes), 2)
        seen.clear()
        assert sleeps[-1] is False, "a busy reader does not ask to be woken"
        urgent.put(10, wake=False)
        await asyncio.wait_for(until(lambda: len(seen) == 10), 2)
        await asyncio.wait_for(until(lambda: sleeps[-1] is True), 2)
        reader.stop()
        return len(seen)

    assert asyncio.run(scenario()) == 10


def test_a_look_out_of_turn_does_not_leave_the_kernel_side_believing_that_we_are_awake() -> None:
    """The kernel side clears its mark with the wake-up, whose record an earlier look has taken already."""

    async def scenario() -> None:
        reader, urgent, _, _, sleeps = make_reader()
        reader.start()
        urgent.put(1, wake=False)
        sleeps.append(False)  # cleared by the kernel side
        reader.look()
        await asyncio.wait_for(until(lambda: sleeps[-1] is True), 2)
        reader.stop()

    asyncio.run(scenario())


def test_what_did_not_fit_into_a_turn_is_read_without_a_wake_up() -> None:
    async def scenario() -> int:
        reader, urgent, _, seen, _ = make_reader()
        reader.start()
        urgent.put(3 * TURN_RECORDS_MAX, wake=False)
        reader.look()
        await asyncio.wait_for(until(lambda: len(seen) == 3 * TURN_RECORDS_MAX), 2)
        reader.stop()
        return len(seen)

    assert asyncio.run(scenario()) == 3 * TURN_RECORDS_MAX


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)
