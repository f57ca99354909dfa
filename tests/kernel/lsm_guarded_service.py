"""A whole service with guards, on a terminal: root fails, hears about it, and Ctrl-C ends it. Run in the guest."""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.documents import field
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import REPOSITORY, stockade_command

pytestmark = pytest.mark.kernel

START_S = 200.0
STOP_S = 60.0
CTRL_C = b"\x03"
INTERRUPTED = 130
REFUSALS = ("not permitted", "must be superuser")
"""How tools say EPERM."""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="stockade-"))
    for name in ("rules", "run", "state", "bpf"):
        (path / name).mkdir()
    (path / "rules" / "rule.yml").write_text(rule_text("{s: {Image: /nonexistent/program}, condition: s}", extra=DENY))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def host() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as sandbox:
        yield sandbox


class Guarded:
    """``stockade run`` on a terminal of its own."""

    def __init__(self, host: Sandbox, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.run_dir = f"--run-dir={folder}/run"
        places = [self.run_dir, f"--pin-dir={folder}/bpf", f"--state-dir={folder}/state"]
        words = stockade_command("run", *places, "--mode=enforce")
        command = " ".join(map(str, [*words, "--no-shipped-rules", f"--rules={folder}/rules"]))
        env = host.environment({"PYTHONPATH": str(REPOSITORY), "STOCKADE_ENFORCEMENT_GUARDS": "on"})
        with (folder / "log").open("wb") as log:
            self.terminal = subprocess.Popen(
                host.command(["script", "--quiet", "--return", "--command", command, "/dev/null"]),
                env=env,
                stdin=subprocess.PIPE,
                stdout=log,
            )

    def ask(self, *words: str) -> "subprocess.CompletedProcess[str]":
        env = {"PYTHONPATH": str(REPOSITORY)}
        return self.host.run(stockade_command(*words, self.run_dir), env=env, check=False)

    def wait_status(self) -> dict[str, Any]:
        end = time.monotonic() + START_S
        while (done := self.ask("status", "-o", "json")).returncode:
            assert time.monotonic() < end and self.terminal.poll() is None, done.stderr
            time.sleep(1)
        return dict(json.loads(done.stdout))

    def press_ctrl_c(self) -> int:
        assert self.terminal.stdin
        self.terminal.stdin.write(CTRL_C)
        self.terminal.stdin.flush()
        return self.terminal.wait(STOP_S)


def test_root_fails_and_is_told_of_and_ctrl_c_ends_it(host: Sandbox, folder: Path) -> None:
    service = Guarded(host, folder)
    try:
        status = service.wait_status()
        assert (status["tier"], status["guards"]["on"], status["notes"]) == ("lsm", True, [])
        pid = str(status["self"]["pid"])

        for attempt in (["kill", "-KILL", pid], ["umount", "--lazy", f"{folder}/bpf"], ["rm", "-r", f"{folder}/bpf"]):
            done = host.run(attempt, check=False)
            assert done.returncode and any(word in done.stderr for word in REFUSALS), (attempt, done)

        time.sleep(2)  # two signs of life: refusals are told with them
        assert set(service.wait_status()["guards"]["refused"]) == {"processes", "pins"}
        told = service.ask("tail", "-n", "1000", "--no-follow", "-o", "json", "--alerts").stdout.splitlines()
        assert {field(json.loads(line), "rule.name") for line in told} >= {"guard_refused"}
        assert "guarded" in service.ask("status").stdout
    finally:
        assert service.press_ctrl_c() == INTERRUPTED, (folder / "log").read_text()
    assert host.run(["find", f"{folder}/bpf", "-name", "link_*"]).stdout == ""
