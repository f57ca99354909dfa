"""The service as its user meets it: ready, reload, second instance, no privilege, bad rules, clean ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import REPOSITORY, Service, Tail, read_bpf_ids, recording, stockade_command, wait_unloaded

pytestmark = pytest.mark.kernel

RULE = """\
title: A marked program
id: {id}
status: test
description: For this test.
logsource: {{product: linux, category: process_creation}}
detection:
  marked: {{CommandLine|contains: {mark}}}
  condition: marked
level: high
"""
FIRST_ID, SECOND_ID = "1d3a0f3e-92a4-4b0a-9a57-5f7b7a0e5a01", "1d3a0f3e-92a4-4b0a-9a57-5f7b7a0e5a02"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as made:
        yield made


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "first.yml").write_text(RULE.format(id=FIRST_ID, mark="mark-of-the-first"))
    return folder


@pytest.fixture(scope="module")
def service(sandbox: Sandbox, rules: Path) -> Iterator[Service]:
    with Service(sandbox, "--rules", rules) as started:
        yield started


@pytest.fixture(scope="module")
def tail(service: Service) -> Tail:
    return service.tail()


def stockade(*words: str | os.PathLike[str], **options: object) -> subprocess.CompletedProcess[str]:
    """A command from this working tree, to its end."""
    return subprocess.run(
        stockade_command(*words),
        capture_output=True, text=True, check=False, timeout=60, cwd=REPOSITORY, **options,  # type: ignore[call-overload]
    )  # fmt: skip


def alert_of(mark: str) -> object:
    return lambda document: (
        document["event"]["kind"] == "alert" and mark in document.get("process", {}).get("command_line", "")
    )


def run_marked(mark: str) -> None:
    subprocess.run(["/bin/true", mark], check=True)


def test_ready_says_what_is_watched_and_what_to_try(service: Service) -> None:
    for words in ("is ready after", "kernel ", "tier ", "containers", "rules ", "lost "):
        assert words in service.log
    if not service.status()["events"]["alert"]["count"]:  # else something else on this machine has alerted
        assert "  try  " in service.log


def test_a_rule_of_ones_own_fires(tail: Tail) -> None:
    run_marked("mark-of-the-first")

    document = tail.wait_for(alert_of("mark-of-the-first"))

    assert document["rule"]["id"] == FIRST_ID
    assert document["stockade"]["risk"]


def test_a_second_instance_is_refused_and_the_first_goes_on(service: Service, tail: Tail) -> None:
    done = stockade("run", f"--run-dir={service.run_dir}", f"--state-dir={service.folder}/state", "--duration=1")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"pid {service.pid}" in done.stderr
    run_marked("mark-of-the-first after-the-second-instance")
    tail.wait_for(lambda document: "after-the-second-instance" in document.get("process", {}).get("command_line", ""))


def test_a_reload_takes_new_rules_and_keeps_the_old_ones_when_they_are_broken(
    service: Service, tail: Tail, rules: Path
) -> None:
    second = rules / "second.yml"
    second.write_text(RULE.format(id=SECOND_ID, mark="mark-of-the-second"))
    os.kill(service.pid, signal.SIGHUP)
    wait_until(lambda: "reloaded" in service.log)
    run_marked("mark-of-the-second")
    assert tail.wait_for(alert_of("mark-of-the-second"))["rule"]["id"] == SECOND_ID

    second.write_text("title: broken\nid: 1\nnonsense: [")
    os.kill(service.pid, signal.SIGHUP)
    wait_until(lambda: "reload failed" in service.log)
    subprocess.run(["/bin/echo", "mark-of-the-second again"], check=True, stdout=subprocess.DEVNULL)

    assert "second.yml:" in service.log
    tail.wait_for(alert_of("mark-of-the-second again"))
    second.unlink()


def test_status_counts_and_names_what_is_lacking(service: Service) -> None:
    status = service.status()

    assert status["events"]["exec"]["count"] > 0
    assert status["rules"]["active"] >= 40
    assert status["lost"]["total"] == 0
    assert status["tier"] == "observe"
    assert not any("would not outlive the service" in note for note in status["notes"]), "it can mount a bpffs"


def test_broken_rules_at_the_first_load_are_all_told_and_nothing_starts(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("title: A\nid: 1\nlogsource: {product: linux, category: process_creation}\n")
    (tmp_path / "b.yml").write_text("title: [\n")

    done = stockade("run", f"--rules={tmp_path}", f"--run-dir={tmp_path}/run", f"--state-dir={tmp_path}/state")

    assert done.returncode == 2
    assert f"{tmp_path}/a.yml:2:" in done.stderr
    assert f"{tmp_path}/b.yml:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["nonsense: 1\n", "engine: {half_life: 30 parsecs}\n", "mode: [audit]\n"])
def test_a_wrong_setting_is_told_with_its_place(tmp_path: Path, text: str) -> None:
    config = tmp_path / "stockade.yml"
    config.write_text(text)

    done = stockade("run", f"--config={config}", f"--run-dir={tmp_path}/run")

    assert done.returncode == 2
    assert f"{config}:1:" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_privilege_one_line_says_what_to_do(tmp_path: Path) -> None:
    open_tree = tmp_path / "tree"
    shutil.copytree(REPOSITORY / "monitor", open_tree / "monitor")
    shutil.copytree(REPOSITORY / "rules", open_tree / "rules")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder != Path("/") and folder != Path("/tmp"):
            folder.chmod(0o755)

    done = subprocess.run(
        [sys.executable, "-m", "monitor.cli.main", "run", f"--run-dir={tmp_path}/run", "--state-dir=/nonexistent"],
        capture_output=True, text=True, check=False, user=65534, group=65534, extra_groups=[], cwd=open_tree,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(open_tree)},
    )  # fmt: skip

    assert done.returncode == 3
    assert "sudo" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_killed_service_leaves_nothing_attached(sandbox: Sandbox) -> None:
    with pytest.raises(Exception, match="exit status"), Service(sandbox) as killed:
        attached = read_bpf_ids(killed.pid)
        assert attached
        os.kill(killed.pid, signal.SIGKILL)

    assert not wait_unloaded(attached)


def test_two_replays_of_a_recording_are_byte_identical_and_show_what_was_seen(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    with recording(file, tmp_path / "state", duration_s=2) as recorder:
        subprocess.run(["/bin/sh", "-c", "/bin/cat /etc/shadow >/dev/null; true recorded-mark"], check=True)
        assert recorder.wait(30) == 0
    assert file.stat().st_mode & 0o777 == 0o600

    first, second = (stockade("replay", file, "-o", "json", f"--state-dir={tmp_path}/state") for _ in range(2))

    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    documents = [json.loads(line) for line in first.stdout.splitlines()]
    assert any(document.get("file", {}).get("path") == "/etc/shadow" for document in documents)
    assert any(document.get("rule", {}).get("name") == "shadow_file_read" for document in documents)
    assert_replay_ends_with_its_output(file, tmp_path)


def assert_replay_ends_with_its_output(recording: Path, folder: Path) -> None:
    command = stockade_command("replay", recording, f"--state-dir={folder}/state")
    unread, left = os.pipe()
    os.close(
        unread
    )  # before the first write: a reader that leaves later is sometimes faster than the replay, sometimes not
    with Path("/dev/full").open("w") as no_room, os.fdopen(left, "w") as nobody:
        full, deserted = (
            subprocess.run(command, stdout=to, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, check=False)
            for to in (no_room, nobody)
        )

    assert (full.returncode, full.stderr) == (3, "stockade: No space left on device\n")
    assert (deserted.returncode, deserted.stderr) == (0, "")


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")

    done = stockade("record", tmp_path / "kept", f"--state-dir={tmp_path}/state")

    assert done.returncode == 2
    assert (tmp_path / "kept").read_text() == "mine"


def test_a_damaged_recording_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"stockade recording 1\n\xff\xff\xff\xff")

    done = stockade("replay", tmp_path / "damaged", f"--state-dir={tmp_path}/state")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "damaged" in done.stderr


def wait_until(condition: object, timeout_s: float = 15) -> None:
    end = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
