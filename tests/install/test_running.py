"""A test run inside a test: seen as it goes, ended as people end it, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.install.running import How, run
from tests.install.tree import CHECKOUT
from tests.support.traces import wait_gone

TESTS = """
import os, time

def test_of_who_this_is():
    assert False, f"pid {os.getpid()} has failed"

def test_that_takes_long():
    time.sleep(600)
"""
OUTER = """
import sys
from tests.install.running import How, run
run(sys.argv[1:], How(60, {"PYTHONPATH": "."}, watch=lambda line: print(line, end="", flush=True)))
"""


@pytest.fixture
def inner(tmp_path: Path) -> list[str | Path]:
    """The command of a test run whose first test fails, and whose second one hangs."""
    (tmp_path / "test_two.py").write_text(TESTS)
    plugin = ("-p", "tests.support.failures_at_once", "--failures-at-once")
    return [sys.executable, "-m", "pytest", "-q", f"--rootdir={tmp_path}", *plugin, tmp_path]


@pytest.fixture
def outer(inner: list[str | Path]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", OUTER, *inner],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=CHECKOUT,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def read_failure(outer: "subprocess.Popen[str]") -> int:
    """Wait until the first failure is shown; answer the pid that it tells."""
    assert outer.stdout
    line = next(line for line in outer.stdout if "has failed" in line and "AssertionError" in line)
    return int(line.split("pid ")[1].split()[0])


def test_a_failure_is_shown_while_the_rest_still_runs(outer: "subprocess.Popen[str]") -> None:
    pid = read_failure(outer)

    assert outer.poll() is None
    os.kill(pid, 0)


def test_ctrl_c_lets_it_tell_what_has_failed(outer: "subprocess.Popen[str]") -> None:
    pid = read_failure(outer)
    outer.send_signal(signal.SIGINT)
    rest, _ = outer.communicate(timeout=30)

    assert " test_of_who_this_is _" in rest
    assert "1 failed" in rest
    wait_gone(pid)


def test_a_killed_test_run_takes_it_along(outer: "subprocess.Popen[str]") -> None:
    pid = read_failure(outer)
    outer.kill()

    wait_gone(pid)


def test_the_deadline_ends_it_and_keeps_what_it_said(inner: list[str | Path]) -> None:
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired) as expired:
        run(inner, How(5, {"PYTHONPATH": str(CHECKOUT)}))

    assert "1 failed" in expired.value.output
    assert time.monotonic() - began < 30


def test_the_exit_status_and_both_outputs_come_back(tmp_path: Path) -> None:
    done = run(["sh", "-c", "echo out; pwd >&2; exit 7"], How(10, folder=tmp_path))

    assert (done.returncode, done.stdout) == (7, f"out\n{tmp_path}\n")
