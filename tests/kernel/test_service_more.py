"""More of what a user does to a running service: signals in a storm, runs without the shipped rules."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import Document
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, recording

pytestmark = pytest.mark.kernel

RULE = """\
title: A marked program
id: 1d3a0f3e-92a4-4b0a-9a57-5f7b7a0e5b01
status: test
logsource: {{product: linux, category: process_creation}}
detection: {{marked: {{CommandLine|contains: {mark}}}, condition: marked}}
level: high
"""
SIGNALS = 200
WAIT_S = 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "stockade-test", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "marked.yml").write_text(RULE.format(mark="storm-0"))
    return folder


@pytest.fixture(scope="module")
def service(rules: Path) -> Iterator[Service]:
    with Sandbox(find_modes()[0]) as sandbox, Service(sandbox, "--no-shipped-rules", "--rules", rules) as started:
        yield started


def test_nothing_is_offered_to_try_that_no_rule_names(service: Service) -> None:
    assert "rules       1 active" in service.log
    assert "try  " not in service.log


def test_after_a_storm_of_reloads_the_last_rules_are_in_force(service: Service, rules: Path) -> None:
    tail = service.tail("--alerts")
    last = f"storm-{SIGNALS:03}-"
    for number in range(SIGNALS + 1):
        (rules / "new").write_text(RULE.format(mark=f"storm-{number:03}-"))
        (rules / "new").rename(rules / "marked.yml")
        os.kill(service.pid, signal.SIGHUP)

    def is_last(document: Document) -> bool:
        return last in document["process"]["command_line"]

    end = time.monotonic() + WAIT_S
    while not tail.matching(is_last):
        assert time.monotonic() < end, service.log
        subprocess.run(["/bin/true", last], check=True)
        time.sleep(0.1)
    assert 0 < service.log.count("reloaded: 1 rules") <= SIGNALS


def test_a_recording_on_a_full_disk_ends_with_one_line(small_disk: Path, tmp_path: Path) -> None:
    file = small_disk / "recording"
    with recording(file, tmp_path, duration_s=60) as recorder:
        for _ in range(400):
            subprocess.run(["/bin/true", "x" * 500], check=True)
        _, rest = recorder.communicate(timeout=WAIT_S)

    assert recorder.returncode == 3
    assert rest == f"stockade: {file} could not be written on, the recording ends early: No space left on device\n"
