"""Tier ``lsm`` under other kernels: the kernel tests of enforcement, with denial by BPF LSM."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.vm_tests import run_tests_in_guest

pytestmark = pytest.mark.vm

GUEST_S = 400
SUITES = ("bookworm", pytest.param("trixie", marks=pytest.mark.long), pytest.param("sid", marks=pytest.mark.long))
LIFE = "tests/kernel/test_enforcement_life.py"
CRASH = f"{LIFE}::test_a_crash_leaves_denial_in_place_and_a_restart_takes_it_over"
FILES = (
    "tests/kernel/test_enforcement.py",
    "tests/kernel/test_enforcement_arguments.py",
    "tests/kernel/test_enforcement_ways.py",
    "tests/kernel/lsm_opens.py",
    CRASH,
)


@pytest.mark.parametrize("suite", SUITES)
def test_the_kernel_denies(suite: str, tmp_path: Path) -> None:
    run_tests(suite, FILES, tmp_path, GUEST_S)


@pytest.mark.long
@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
def test_denial_outlives_the_service(suite: str, tmp_path: Path) -> None:
    run_tests(suite, [LIFE], tmp_path, 3 * GUEST_S)


@pytest.mark.long
@pytest.mark.parametrize("suite", ["bookworm", "sid"])
def test_the_file_at_a_path_in_containers_of_one_image(suite: str, tmp_path: Path) -> None:
    """Their overlays lie over the guest's own."""
    run_tests(suite, ["tests/containers/test_known_files.py"], tmp_path, GUEST_S, scratch="/tmp/pytest")


def run_tests(
    suite: str, files: Sequence[str], results: Path, timeout_s: float, *, scratch: str = "/run/pytest"
) -> None:
    env = {"STOCKADE_TEST_TIER": "lsm", "STOCKADE_TEST_PATIENCE": "5"}
    run_tests_in_guest(suite, files, results, timeout_s=timeout_s, scratch=scratch, env=env)
