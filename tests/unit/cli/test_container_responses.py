"""``stockade freeze|thaw|kill`` against a real control socket: words, status, JSON."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.commands import run
from tests.unit.sinks.serving import Handler, running_control

DONE = {
    "result": "done",
    "action": "freeze",
    "container": {"id": "ab" * 32, "name": "web"},
    "shown": "web (abababababab)",
    "processes": 3,
    "for_s": 1_800.0,
    "message": "",
}


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[Handler]:
    with running_control(tmp_path) as handler:
        yield handler


def test_what_was_done_is_one_line(handler: Handler, tmp_path: Path) -> None:
    handler.answers["web"] = DONE
    done = run("freeze", "web", "--for", "30m", "--run-dir", tmp_path)

    assert (done.returncode, done.stdout) == (0, "container web (abababababab) is frozen: 3 processes, for 30m\n")
    ((action, container, for_s, asked_by),) = handler.asked
    assert (action, container, for_s) == ("freeze", "web", 1_800.0)
    assert asked_by.startswith(f"uid {os.geteuid()}, pid ")


def test_a_note_is_told_beside_it(handler: Handler, tmp_path: Path) -> None:
    handler.answers["web"] = DONE | {"action": "kill", "message": "one has not ended yet\x1b[2J"}
    done = run("kill", "web", "--run-dir", tmp_path)

    assert (done.returncode, done.stdout) == (0, "container web (abababababab) is killed: 3 processes\n")
    assert done.stderr == "stockade: note: one has not ended yet\\x1b[2J\n"


def test_json_is_the_services_answer(handler: Handler, tmp_path: Path) -> None:
    handler.answers["web"] = DONE
    done = run("thaw", "web", "-o", "json", "--run-dir", tmp_path)

    assert json.loads(done.stdout) == DONE


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        (DONE | {"result": "unchanged", "message": "it is not frozen"}, 1, "was not thawed: it is not frozen"),
        ({"result": "unknown", "message": "no container is called 'web'"}, 2, "no container is called 'web'"),
        (DONE | {"result": "failed", "message": "Read-only file system"}, 3, "was not thawed: Read-only file system"),
        ({"result": "surprise"}, 4, "no reason given"),
    ],
)
def test_what_was_not_done_has_a_status_of_its_own(
    handler: Handler, tmp_path: Path, answer: dict[str, object], status: int, told: str
) -> None:
    handler.answers["web"] = answer
    done = run("thaw", "web", "--run-dir", tmp_path)

    assert (done.returncode, done.stdout) == (status, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("freeze", "web", "--for", "30"), "'30' is no time: write a number and s, m, h or d, such as 30m"),
        (("freeze", "web", "--for", "0m"), "'0m' is no time"),
        (("freeze", ""), "is empty or too long"),
        (("kill", "x" * 600), "is empty or too long"),
        (("thaw",), "Missing argument 'CONTAINER'"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = run(words[0], *words[1:], "--run-dir", tmp_path)

    assert done.returncode == 2
    assert told in done.stderr


def test_without_a_service(tmp_path: Path) -> None:
    done = run("freeze", "web", "--run-dir", tmp_path)

    assert done.returncode == 3
    assert done.stderr.startswith(f"stockade: no service listens on {tmp_path}/control.sock")
