"""Tier ``lsm`` under other kernels: the kernel tests of enforcement, with denial by BPF LSM."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.vm import run_in_guest
from tests.support.vm_kernel import FetchError, get_kernel

pytestmark = pytest.mark.vm

REPOSITORY = Path(__file__).resolve().parents[2]
GUEST_S = 400
SUITES = ("bookworm", pytest.param("trixie", marks=pytest.mark.long), pytest.param("sid", marks=pytest.mark.long))
LIFE = "tests/kernel/test_enforcement_life.py"
CRASH = f"{LIFE}::test_a_crash_leaves_denial_in_place_and_a_restart_takes_it_over"
FILES = (
    "tests/kernel/test_enforcement.py",
    "tests/kernel/test_enforcement_arguments.py",
    "tests/vm/lsm_opens.py",
    CRASH,
)


@pytest.mark.parametrize("suite", SUITES)
def test_the_kernel_denies(suite: str, tmp_path: Path) -> None:
    run_tests(suite, FILES, tmp_path, GUEST_S)


@pytest.mark.long
@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
def test_denial_outlives_the_service(suite: str, tmp_path: Path) -> None:
    run_tests(suite, [LIFE], tmp_path, 3 * GUEST_S)


def run_tests(suite: str, files: Sequence[str], results: Path, timeout_s: float) -> None:
    try:
        kernel = get_kernel(suite)
    except FetchError as error:
        pytest.skip(f"no kernel of Debian {suite}: {error}")
    words = ["-q", "-p", "no:cacheprovider", "--basetemp=/run/pytest", *files]

    done = run_in_guest(
        kernel,
        [sys.executable, "-m", "pytest", *words],
        results,
        folder=REPOSITORY,
        env={"STOCKADE_KERNEL_TESTS": "1", "STOCKADE_TEST_TIER": "lsm", "STOCKADE_TEST_PATIENCE": "5"},
        timeout_s=timeout_s,
    )

    assert done.status == 0, f"Linux {kernel.release}\n{done.stdout[-20_000:]}\n{done.stderr}\n{done.console[-3000:]}"
