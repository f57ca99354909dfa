"""Words to the service manager, over a real socket."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.host.notify import ServiceManager


@pytest.fixture
def manager_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listener


def test_each_word(manager_socket: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    manager = ServiceManager()
    said = []
    words: list[Callable[[], None]] = [
        lambda: manager.report_ready("3 containers\nMAINPID=1 \u2603"),
        lambda: manager.report_status("x" * 500),
        manager.report_reloading,
        manager.keep_alive,
        manager.report_stopping,
    ]
    for say in words:
        say()
        said.append(manager_socket.recv(4096).decode().split("\n"))

    ready, status, reloading, alive, stopping = said
    assert ready == ["READY=1", "STATUS=3 containers MAINPID=1 \\u2603"]
    assert status == ["STATUS=" + "x" * 200]
    assert reloading[0] == "RELOADING=1"
    assert int(reloading[1].removeprefix("MONOTONIC_USEC=")) > 0
    assert (alive, stopping) == (["WATCHDOG=1"], ["STOPPING=1"])


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    manager = ServiceManager()
    manager.report_ready("fine")

    assert not manager.is_there


def test_a_manager_that_is_gone_does_not_stop_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))

    ServiceManager().keep_alive()


def test_a_manager_that_does_not_read_does_not_stop_us(manager_socket: socket.socket) -> None:
    manager = ServiceManager()

    for _ in range(2_000):  # its queue holds a few hundred at most
        manager.report_status("x" * 150)

    assert manager_socket.recv(4096)


def test_who_is_not_watched_says_nothing(manager_socket: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    manager_socket.setblocking(False)

    ServiceManager().keep_alive()

    with pytest.raises(BlockingIOError):
        manager_socket.recv(4096)


@pytest.mark.parametrize(
    ("usec", "pid", "interval_s"),
    [
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", None, 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("x", None, None),
    ],
)
def test_the_watchdog_is_due_at_half_time(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str | None, interval_s: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", pid)

    assert ServiceManager().watchdog_interval_s == interval_s
