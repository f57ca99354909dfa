"""The ready-made preventions in real containers under other kernels, in tier ``lsm``."""

from pathlib import Path

import pytest

from tests.support.vm_tests import run_tests_in_guest

pytestmark = [pytest.mark.vm, pytest.mark.long]

GUEST_S = 900
SUITES = ("bookworm", "trixie", "sid")
FILE = "tests/containers/test_preventions.py"


@pytest.mark.parametrize("suite", SUITES)
def test_containers_start_and_what_is_prevented_does_not_run(suite: str, tmp_path: Path) -> None:
    env = {"STOCKADE_TEST_TIER": "lsm", "STOCKADE_TEST_PATIENCE": "5"}
    run_tests_in_guest(suite, [FILE], tmp_path, timeout_s=GUEST_S, scratch="/dev/shm/pytest", env=env)
