"""Connections to Unix sockets and accesses to processes through the whole service, where rules ask for them."""

import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.test_reload import reload
from tests.support.accesses import PRELUDE
from tests.support.documents import has, is_alert
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service

pytestmark = pytest.mark.kernel

RULE = """\
title: {name}
name: {name}
id: 5b0c8f0a-2f39-4c59-9a0a-3c1d2e4f71{number:02}
status: stable
logsource: {{product: linux, category: {category}}}
detection: {{watched: {{{condition}}}, condition: watched}}
level: high
"""
DENY = "stockade: {response: deny}\n"
CONNECT = "import socket; socket.socket(socket.AF_UNIX).connect({address!r})"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("connected")
    (folder / "rules").mkdir()
    condition = f"destination.address: {folder}/engine.sock"
    text = RULE.format(name="test_connection", number=1, category="network_connection", condition=condition)
    (folder / "rules/connection.yml").write_text(text + DENY)
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    options = ("--no-shipped-rules", "--rules", folder / "rules")
    with Sandbox(find_modes()[0]) as sandbox, Service(sandbox, *options) as started:
        yield started


def run_python(service: Service, code: str) -> None:
    service.sandbox.run(["sh", "-c", f"exec /usr/bin/python3 -c {shlex.quote(code)}"])


def test_a_rule_sees_a_connection_and_says_what_would_have_been_denied(service: Service, folder: Path) -> None:
    tail = service.tail("--alerts")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/engine.sock")
        server.listen()
        (folder / "engine.sock").rename(folder / "renamed")

        run_python(service, CONNECT.format(address=f"{folder}/renamed"))

        alert = tail.wait_for(has(rule__name="test_connection", destination__address=f"{folder}/engine.sock"))
    assert is_alert(alert)
    assert alert["event"]["action"] == "connect"
    assert alert["network"] == {"transport": "unix"}
    assert "python3" in alert["process"]["executable"]


def test_what_only_a_restart_attaches_is_said(service: Service, folder: Path) -> None:
    assert not any("only a restart" in note for note in service.status()["notes"])
    rule = RULE.format(
        name="test_access", number=2, category="process_access", condition="TargetImage|endswith: /sleep"
    )
    (folder / "rules/access.yml").write_text(rule)
    reload(service)

    assert any("only a restart attaches: the sensors process_access" in note for note in service.status()["notes"])
    assert "only a restart attaches: the sensors process_access" in service.log
    with Service(service.sandbox, "--no-shipped-rules", "--rules", folder / "rules") as started:
        tail = started.tail("--alerts")
        run_python(started, f"{PRELUDE}\nread()\nos.kill(target, 9)")
        alert = tail.wait_for(has(rule__name="test_access"))
    assert alert["event"]["action"] == "memory-read"
    assert alert["target"]["process"]["executable"] == "/usr/bin/sleep", "the process table knows it"
