"""The control socket: what it does, for how long, and for whom."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.config.settings import Observe
from monitor.sinks.client import ServiceConnection, ServiceRefused
from monitor.sinks.requests import ObserveRequest, ReloadRequest, StatusRequest, SubscribeRequest
from tests.unit.sinks.serving import WAIT_S, Handler, running_control


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[Handler]:
    with running_control(tmp_path) as handler:
        yield handler


def connect(folder: Path) -> ServiceConnection:
    return ServiceConnection(folder / "control.sock")


def test_the_socket_is_for_its_owner_alone(handler: Handler, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600


def test_what_is_observed_lasts_as_long_as_the_connection(handler: Handler, tmp_path: Path) -> None:
    with connect(tmp_path) as client:
        assert client.ask(ObserveRequest("/etc/**"), "observe") == 1
        assert client.ask(ObserveRequest("/srv/**", container="any", access="write"), "observe") == 2
        assert list(handler.observed.values()) == [Observe("/etc/**", "all"), Observe("/srv/**", "any", "write")]

    with handler.removed:
        assert handler.removed.wait_for(lambda: not handler.observed, WAIT_S)


def test_a_bad_glob_is_told_and_ends_the_connection(handler: Handler, tmp_path: Path) -> None:
    with connect(tmp_path) as client, pytest.raises(ServiceRefused, match="a glob begins with /"):
        client.ask(ObserveRequest("etc"), "observe")


def test_a_connection_observes_a_bounded_number(handler: Handler, tmp_path: Path) -> None:
    with connect(tmp_path) as client:
        for _ in range(8):
            client.ask(ObserveRequest("/etc/**"), "observe")
        with pytest.raises(ServiceRefused, match="8 observed globs"):
            client.ask(ObserveRequest("/etc/**"), "observe")
    with handler.removed:
        assert handler.removed.wait_for(lambda: not handler.observed, WAIT_S)


def test_several_questions_are_answered_in_order(handler: Handler, tmp_path: Path) -> None:
    with connect(tmp_path) as client:
        for _ in range(1_000):
            client.send(StatusRequest())
        for _ in range(1_000):
            assert client.find_reply(WAIT_S) == {"status": {"version": "1", "uptime_s": 5.0}}


def test_a_handler_that_breaks_is_an_error_and_not_the_end(handler: Handler, tmp_path: Path) -> None:
    with connect(tmp_path) as client, pytest.raises(ServiceRefused, match="internal error"):
        client.send(ReloadRequest())
        handler.answer_reload(RuntimeError("broken"))
        client.find_reply(WAIT_S)
    with connect(tmp_path) as client:
        assert client.ask(StatusRequest(), "status")


def test_a_reload_keeps_nobody_else_waiting_and_the_order_of_its_own_client(handler: Handler, tmp_path: Path) -> None:
    with connect(tmp_path) as client, connect(tmp_path) as other:
        client.send(ReloadRequest())
        client.send(StatusRequest())
        assert other.ask(StatusRequest(), "status")
        handler.answer_reload(5)

        assert client.find_reply(WAIT_S) == {"reload": {"rules": 5}}
        assert "status" in (client.find_reply(WAIT_S) or {})
        assert client.ask(StatusRequest(), "status")


def test_mistakes_in_the_rules_are_told_to_who_asked(handler: Handler, tmp_path: Path) -> None:
    with connect(tmp_path) as client, pytest.raises(ServiceRefused, match=r"web\.yml:3:1: no such field"):
        client.send(ReloadRequest())
        handler.answer_reload(ValueError("web.yml:3:1: no such field"))
        client.find_reply(WAIT_S)


def test_a_client_that_went_during_its_reload_is_forgotten_after_it(handler: Handler, tmp_path: Path) -> None:
    with connect(tmp_path) as client:
        client.send(ObserveRequest("/etc/**"))
        client.send(ReloadRequest())
        assert client.find_reply(WAIT_S) == {"observe": 1}

    handler.answer_reload(5)
    with handler.removed:
        assert handler.removed.wait_for(lambda: not handler.observed, WAIT_S)
    with connect(tmp_path) as client:
        assert client.ask(StatusRequest(), "status")


def test_subscribing_is_not_for_this_socket(handler: Handler, tmp_path: Path) -> None:
    with connect(tmp_path) as client, pytest.raises(ServiceRefused, match="not a request"):
        client.ask(SubscribeRequest(), "hello")


def test_connections_are_bounded(handler: Handler, tmp_path: Path) -> None:
    clients = [connect(tmp_path) for _ in range(16)]
    for client in clients:
        client.ask(StatusRequest(), "status")
    with connect(tmp_path) as one_more, pytest.raises(ServiceRefused, match="too many connections"):
        one_more.ask(StatusRequest(), "status")
    for client in clients:
        client.close()
