"""Reloading a running service, by its control socket and by SIGHUP: nothing else waits for it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.sinks.client import ServiceConnection, ServiceRefused
from monitor.sinks.requests import ReloadRequest, StatusRequest
from tests.support.documents import has
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.kernel

RULE = """\
title: Marked {number}
id: 1d3a0f3e-92a4-4b0a-9a57-5f7b7a0f{number:04x}
status: test
logsource: {{product: linux, category: process_creation}}
detection: {{marked: {{CommandLine|contains: {mark}-{number}}}, condition: marked}}
level: high
"""
RESPONSE = "- {{when: {{severity: high, subject: lineage}}, then: {action}}}\n"
MANY = 1_500
"""So many rules take a second to read."""
WAIT_S = 60
ANSWERS_MIN = 10
"""While one load runs. A loop that waits for it gives two at most, one before and one after."""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/first.yml").write_text(RULE.format(number=MANY, mark="first"))
    return tmp_path / "rules"


@pytest.fixture
def service(rules: Path) -> Iterator[Service]:
    config = rules.parent / "stockade.yml"
    config.write_text(f"{{observe: [], response: {rules.parent}/response.yml}}\n")
    (rules.parent / "response.yml").write_text(RESPONSE.format(action="alert"))
    options = (f"--config={config}", "--no-shipped-rules", f"--rules={rules}")
    with Sandbox(find_modes()[0]) as sandbox, Service(sandbox, *options) as started:
        yield started


def write_many(folder: Path, mark: str) -> None:
    for number in range(MANY):
        (folder / f"{number}.yml").write_text(RULE.format(number=number, mark=mark))


def reload(service: Service) -> object:
    with ServiceConnection(service.run_dir / "control.sock") as control:
        return control.ask(ReloadRequest(), "reload", WAIT_S)


def test_status_is_answered_while_rules_are_read(service: Service, rules: Path) -> None:
    write_many(rules, "many")
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(reload(service)))
    began = time.monotonic()
    asking.start()
    answered = 0
    while asking.is_alive():
        with ServiceConnection(service.run_dir / "stream.sock") as stream:
            stream.ask(StatusRequest(), "status")
        answered += 1
    print(f"{answered} answers during a reload of {time.monotonic() - began:.2f} s")

    assert answers == [{"rules": MANY + 1}]
    assert answered >= ANSWERS_MIN


def test_reloads_of_both_kinds_at_once_end_with_the_last_files(service: Service, rules: Path) -> None:
    write_many(rules, "many")
    threads = [threading.Thread(target=reload, args=[service]) for _ in range(4)]
    for thread in threads:
        thread.start()
        os.kill(service.pid, signal.SIGHUP)
    (rules / "last.yml").write_text(RULE.format(number=MANY + 1, mark="last"))
    assert reload(service) == {"rules": MANY + 2}
    for thread in threads:
        thread.join(WAIT_S)

    assert service.status()["rules"]["active"] == MANY + 2
    assert service.log.count("reloaded: ") <= 3, "who waits shares a load"


def find_verdicts(service: Service, tail: Tail, count: int) -> list[str]:
    """What the response policy says of one more alert."""
    service.sandbox.run(["sh", "-c", ":", f"first-{MANY}"])
    alert = tail.wait_for_count(has(event__kind="alert"), count)[-1]
    return [verdict["action"] for verdict in alert["stockade"].get("verdicts", ())]


def test_the_response_policy_is_read_again_too(service: Service, rules: Path) -> None:
    tail = service.tail()
    assert find_verdicts(service, tail, 1) == []
    (rules.parent / "response.yml").write_text(RESPONSE.format(action="kill"))
    reload(service)
    assert find_verdicts(service, tail, 2) == ["kill"]

    (rules.parent / "response.yml").write_text(RESPONSE.format(action="kil"))
    with pytest.raises(ServiceRefused, match=r"response\.yml:1:.*kill"):
        reload(service)
    assert find_verdicts(service, tail, 3) == ["kill"]


def test_mistakes_come_back_and_the_old_rules_stay(service: Service, rules: Path) -> None:
    (rules / "bad.yml").write_text("title: bad\nid: 1\n")

    with pytest.raises(ServiceRefused, match=r"bad\.yml:2:"):
        reload(service)
    assert service.status()["rules"]["active"] == 1
    assert "reload failed, the old rules stay in force:" in service.log
