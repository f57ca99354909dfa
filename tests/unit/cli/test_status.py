"""``stockade status`` against a real stream on a real socket."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from monitor.model.alert import Contribution, Risk
from monitor.sinks.status import (
    ContainerStatus,
    EventRate,
    InactiveRule,
    LostStatus,
    RateMeter,
    RulesStatus,
    SelfStatus,
    SensorStatus,
    Status,
    build_subject,
    parse_status,
)
from tests.unit.cli.commands import run
from tests.unit.sinks.serving import RunningStream, running_stream

RISK = Risk(
    "container", "ab" * 32, 62.5, (Contribution("low_one", 0.2, 3.0, 1), Contribution("shadow_read", 0.5, 0.0, 2))
)
STATUS = Status(
    version="0.3.0",
    uptime_s=11_545.2,
    kernel="6.18.44",
    host_name="node-1",
    tier="observe",
    sensors={"process": SensorStatus(is_attached=True, hooks=("sched_process_exec",))},
    rules=RulesStatus(43, 1, {"stable": 30, "test": 13}, (InactiveRule("dns_tunnel", "no sensor for dns_query"),)),
    events={"exec": EventRate(12_345, 12.5)},
    lost=LostStatus(7, {"file_open": 7}, {"web-1": 7}),
    subjects=(build_subject(RISK, "web-1\x1b[2J"),),
    containers=(ContainerStatus("ab" * 32, "docker", "web-1", "nginx:1.27"),),
    own=SelfStatus(123, 70 << 20, 63 << 20, 0.4),
    notes=("no bpffs: denial would not outlive the service",),
)


@pytest.fixture
def served() -> Iterator[RunningStream]:
    with running_stream() as stream:
        stream.status = STATUS.to_document()
        yield stream


def test_a_status_survives_the_socket_and_json(served: RunningStream) -> None:
    done = run("status", "-o", "json", "--run-dir", served.folder)

    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["self"]["pss_bytes"] == 63 << 20
    assert parse_status(document) == STATUS


def test_people_see_health_first_and_tables(served: RunningStream) -> None:
    done = run("status", "--run-dir", served.folder)

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "stockade 0.3.0 on node-1, Linux 6.18.44, up 3h12m"
    assert "63.0 MiB of memory, 0.4 % of a core" in lines[1]
    assert lines[2] == "note: no bpffs: denial would not outlive the service"
    assert "  exec    12345   12.5" in lines
    assert "lost: 7 records not written by the kernel" in lines
    assert "limited: none" in lines
    assert "rules: 43 active (30 stable, 13 test), 1 inactive" in lines
    assert any(
        line.split() == ["62.5", "container", "web-1\\x1b[2J", "shadow_read", "0.5,", "low_one", "0.2"]
        for line in lines
    )
    assert "  abababababab   web-1   docker    nginx:1.27" in lines


def test_containers_that_have_ended_are_not_counted_and_come_last(served: RunningStream) -> None:
    gone = ContainerStatus("cd" * 32, "docker", "web-0", "nginx:1.26", is_gone=True)
    nameless = ContainerStatus("ef" * 32, "runc", pending=True, is_gone=True)
    served.status = msgspec.structs.replace(STATUS, containers=(gone, nameless, *STATUS.containers)).to_document()
    lines = run("status", "--run-dir", served.folder).stdout.splitlines()
    at = lines.index("containers: 1, and 2 that ended just now")

    assert [line.split()[:3] for line in lines[at + 2 : at + 5]] == [
        ["abababababab", "web-1", "docker"],
        ["cdcdcdcdcdcd", "web-0", "(gone)"],
        ["efefefefefef", "(gone)", "runc"],
    ]

    served.status = msgspec.structs.replace(STATUS, containers=(gone,)).to_document()
    assert "containers: none, and 1 that ended just now" in run("status", "--run-dir", served.folder).stdout


def test_a_bare_status_is_shown_too(served: RunningStream) -> None:
    served.status = Status(version="1", uptime_s=0).to_document()
    done = run("status", "--run-dir", served.folder)

    assert done.returncode == 0
    assert "containers: none" in done.stdout


def test_no_service_is_status_3(tmp_path: Path) -> None:
    done = run("status", "--run-dir", tmp_path)

    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1


def test_rates_are_over_the_window() -> None:
    meter = RateMeter(window_s=10)
    for second in range(60):
        meter.observe(second, {"exec": second * 5})

    assert meter.rates(60, {"exec": 60 * 5, "open": 3})["exec"] == EventRate(300, 5.0)


def test_rates_before_any_time_has_passed_are_zero() -> None:
    meter = RateMeter()
    assert meter.rates(1, {"exec": 5}) == {"exec": EventRate(5, 0.0)}
    meter.observe(1, {"exec": 5})
    assert meter.rates(1, {"exec": 5}) == {"exec": EventRate(5, 0.0)}
