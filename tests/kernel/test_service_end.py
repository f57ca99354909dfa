"""The end of a service that somebody is still connected to; leaving :class:`Service` says whether it was clean."""

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from monitor.bpf.libbpf import BpfObject
from monitor.shipped import get_sensors_object
from monitor.sinks.client import ServiceConnection, ServiceRefused, ServiceUnavailable
from monitor.sinks.requests import ObserveRequest, StatusRequest
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service

pytestmark = pytest.mark.kernel

CLIENTS = 4


def test_what_is_observed_until_the_end_does_not_crash_it() -> None:
    with Sandbox(find_modes()[0]) as sandbox, ExitStack() as clients, Service(sandbox) as service:
        for number in range(CLIENTS):
            control = clients.enter_context(ServiceConnection(service.run_dir / "control.sock"))
            control.ask(ObserveRequest(f"/observed/{number}/*"), "observe")


def test_status_can_be_asked_for_until_the_end() -> None:
    answers: list[int] = []
    with Sandbox(find_modes()[0]) as sandbox, Service(sandbox, "--no-shipped-rules") as service:
        askers = [threading.Thread(target=ask_until_the_end, args=(service, answers.append)) for _ in range(CLIENTS)]
        for asker in askers:
            asker.start()
    for asker in askers:
        asker.join()

    assert len(answers) >= CLIENTS


def ask_until_the_end(service: Service, count: Callable[[int], None]) -> None:
    with (
        suppress(ServiceUnavailable, ServiceRefused, OSError),
        ServiceConnection(service.run_dir / "control.sock") as it,
    ):
        while True:
            it.ask(StatusRequest(), "status")
            count(1)


def test_a_closed_object_is_an_exception_not_a_crash() -> None:
    closed = BpfObject(get_sensors_object())
    closed.close()

    for use in (closed.program_names, lambda: closed.map_fd("losses"), lambda: closed.program_fd("on_process_exec")):
        with pytest.raises(ValueError, match="is closed"):
            use()
