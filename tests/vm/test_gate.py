"""Tier hold under Debian 12's kernel, where only the overlay's own mark sees what is executed through it."""

import sys
from pathlib import Path

import pytest

from tests.support.vm import run_in_guest
from tests.support.vm_kernel import FetchError, get_kernel

pytestmark = pytest.mark.vm

REPOSITORY = Path(__file__).resolve().parents[2]
GUEST_S = 580
FILES = ("tests/kernel/test_gate.py", "tests/kernel/test_gate_life.py")
SUITES = ["bookworm", *(pytest.param(suite, marks=pytest.mark.long) for suite in ("trixie", "sid"))]


@pytest.mark.parametrize("suite", SUITES)
def test_the_gate_passes_its_tests(suite: str, tmp_path: Path) -> None:
    try:
        kernel = get_kernel(suite)
    except FetchError as error:
        pytest.skip(f"no kernel of Debian {suite}: {error}")
    words = ["-q", "-p", "no:cacheprovider", "--basetemp=/dev/shm/pytest", *FILES]

    done = run_in_guest(
        kernel,
        [sys.executable, "-m", "pytest", *words],
        tmp_path,
        folder=REPOSITORY,
        env={"STOCKADE_KERNEL_TESTS": "1"},
        timeout_s=GUEST_S,
    )

    assert done.status == 0, f"Linux {kernel.release}\n{done.stdout[-20_000:]}\n{done.stderr}\n{done.console[-3000:]}"
