"""Reloading: one load at a time, never on the loop, and whatever fails, the old rules stay and the manager is told."""

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from monitor.host.notify import ServiceManager
from monitor.model.events import ProcessExec
from monitor.model.rule import Location
from monitor.rules.errors import RuleError, RuleErrors
from monitor.rules.response import ResponsePolicy
from monitor.runtime.reload import Reloader
from monitor.runtime.rule_sources import Authored
from tests.support import make

WAIT_S = 10
OLD = Authored(make.rule_set(), ResponsePolicy())
NEW = Authored(make.rule_set([(make.rule("new"), ProcessExec, make.is_program("/new"))]), ResponsePolicy())


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(WAIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listener


def reload_once(load: Callable[[], Authored], put_in_force: Callable[[Authored], None]) -> tuple[int, str]:
    async def run() -> tuple[int, str]:
        return await Reloader(OLD, load, as_coroutine(put_in_force), ServiceManager()).request()

    return asyncio.run(run())


def as_coroutine(put_in_force: Callable[[Authored], object]) -> Callable[[Authored], Awaitable[None]]:
    async def put(rules: Authored) -> None:
        put_in_force(rules)

    return put


def fail(error: Exception) -> Authored:
    raise error


def told(manager: socket.socket) -> list[str]:
    return [manager.recv(4096).decode().splitlines()[0] for _ in range(2)]


def test_new_rules_are_in_force_and_the_manager_is_told(manager: socket.socket) -> None:
    in_force: list[Authored] = []

    assert reload_once(lambda: NEW, in_force.append) == (1, "")
    assert in_force == [NEW]
    assert told(manager) == ["RELOADING=1", "READY=1"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuleErrors([RuleError(Location("a.yml", 1, 2), "no such field")]), "a.yml:1:2: no such field"),
        (ValueError("too many patterns"), "too many patterns"),
        (PermissionError(13, "Permission denied"), "[Errno 13] Permission denied"),
        (RuntimeError("can't start\nnew thread"), "internal error: RuntimeError: can't start new thread"),
        (MemoryError(), "internal error: MemoryError:"),
        (RecursionError("maximum depth"), "internal error: RecursionError: maximum depth"),
    ],
)
@pytest.mark.parametrize("step", ["load", "swap"])
def test_whatever_fails_the_old_rules_stay_and_one_line_says_so(
    step: str, error: Exception, text: str, manager: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        if step == "load":
            outcome = reload_once(lambda: fail(error), lambda _: None)
        else:
            outcome = reload_once(lambda: NEW, lambda _: fail(error))  # type: ignore[arg-type,return-value]

    assert outcome == (0, text)
    assert [record.getMessage() for record in caplog.records] == [f"reload failed, the old rules stay in force: {text}"]
    assert told(manager) == ["RELOADING=1", "READY=1"]


def test_all_mistakes_are_listed_each_on_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    mistakes = RuleErrors(RuleError(Location("a.yml", number, 1), "hostile\x1b[2J\nline") for number in (1, 2))

    reload_once(lambda: fail(mistakes), lambda _: None)

    assert caplog.messages[0].count("\n") == 4
    assert "\x1b" not in caplog.messages[0]


def test_who_asks_during_a_load_gets_a_later_one_and_all_who_wait_share_it() -> None:
    began: list[int] = []
    running = set[int]()
    first_may_end, first_runs = threading.Event(), threading.Event()

    def load() -> Authored:
        began.append(len(began))
        running.add(began[-1])
        assert len(running) == 1, "two loads at once"
        if began == [0]:
            first_runs.set()
            assert first_may_end.wait(WAIT_S)
        running.clear()
        return NEW if len(began) == 2 else OLD

    async def run() -> list[tuple[int, str]]:
        reloader = Reloader(OLD, load, as_coroutine(lambda _: None), ServiceManager())
        first = reloader.request()
        await asyncio.to_thread(first_runs.wait, WAIT_S)
        later = [reloader.request() for _ in range(50)]
        assert not first.done(), "the loop is free while a load runs"
        first_may_end.set()
        return [await first, *await asyncio.gather(*later)]

    answers = asyncio.run(run())

    assert answers == [(0, "")] + [(1, "")] * 50
    assert began == [0, 1]


def test_who_asked_and_went_keeps_nobody_from_the_answer() -> None:
    async def run() -> tuple[int, str]:
        reloader = Reloader(OLD, lambda: NEW, as_coroutine(lambda _: None), ServiceManager())
        gone, stays = reloader.request(), reloader.request()
        gone.cancel()
        return await stays

    assert asyncio.run(run()) == (1, "")
