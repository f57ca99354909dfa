"""An open is judged after the execs that its process made meanwhile, and still with the program that made it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import Document, field, is_alert
from tests.support.programs import build_programs
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service

pytestmark = pytest.mark.kernel

RULE = """\
title: A file opened by a program that was told its name
id: 1d3a0f3e-92a4-4b0a-9a57-5f7b7a0e5c01
name: told_and_opened
status: test
logsource: {product: linux, category: file_access}
detection:
  opened: {TargetFilename|contains: /opened-and-gone-, CommandLine|contains: /opened-and-gone-}
  condition: opened
level: high
"""
PROCESSES, EXECS = 30, 25


@pytest.fixture(scope="module")
def exec_chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_programs(Path(__file__).parent / "programs", tmp_path_factory.mktemp("programs"))["exec_chain"]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "told.yml").write_text(RULE)
    with Sandbox(find_modes()[0]) as sandbox, Service(sandbox, "--no-shipped-rules", "--rules", tmp_path) as started:
        yield started


def test_no_series_of_execs_hides_who_opened_a_file(service: Service, exec_chain: Path, tmp_path: Path) -> None:
    tail = service.tail("--alerts")
    files = [tmp_path / f"opened-and-gone-{number}" for number in range(PROCESSES)]
    for file in files:
        file.touch()
        subprocess.run([exec_chain, file, str(EXECS)], check=True)

    def is_of_the_rule(document: Document) -> bool:
        return is_alert(document) and field(document, "rule.name") == "told_and_opened"

    alerts = tail.wait_for_count(is_of_the_rule, PROCESSES)
    assert {field(alert, "file.path") for alert in alerts} == set(map(str, files))
    assert {field(alert, "process.executable") for alert in alerts} == {str(exec_chain)}
