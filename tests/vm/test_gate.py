"""Tier hold under Debian 12's kernel, where only the overlay's own mark sees what is executed through it."""

from pathlib import Path

import pytest

from tests.support.vm_tests import run_tests_in_guest

pytestmark = pytest.mark.vm

GUEST_S = 580
FILES = ("tests/kernel/test_gate.py", "tests/kernel/test_gate_life.py", "tests/kernel/test_hold_ways.py")
SERVICE = ("tests/containers/test_hold.py", "-k", "runc")
SUITES = ["bookworm", *(pytest.param(suite, marks=pytest.mark.long) for suite in ("trixie", "sid"))]


@pytest.mark.parametrize("suite", SUITES)
def test_the_gate_passes_its_tests(suite: str, tmp_path: Path) -> None:
    run_tests_in_guest(suite, FILES, tmp_path, timeout_s=GUEST_S, scratch="/dev/shm/pytest")


@pytest.mark.long
@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
def test_the_service_holds_what_runs_in_containers(suite: str, tmp_path: Path) -> None:
    env = {"STOCKADE_TEST_PATIENCE": "5"}
    run_tests_in_guest(suite, SERVICE, tmp_path, timeout_s=GUEST_S, scratch="/dev/shm/pytest", env=env)
