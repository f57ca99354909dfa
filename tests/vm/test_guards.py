"""Guards of the service, under kernels whose BPF LSM runs."""

from pathlib import Path

import pytest

from tests.support.vm_tests import run_tests_in_guest

pytestmark = pytest.mark.vm

GUEST_S = 200


@pytest.mark.parametrize(
    "suite", ["bookworm", pytest.param("trixie", marks=pytest.mark.long), pytest.param("sid", marks=pytest.mark.long)]
)
def test_root_cannot_end_the_service_by_the_way(suite: str, tmp_path: Path) -> None:
    run_tests_in_guest(suite, ["tests/kernel/lsm_guards.py"], tmp_path, timeout_s=GUEST_S)


@pytest.mark.long
@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
def test_a_guarded_service_on_a_terminal(suite: str, tmp_path: Path) -> None:
    run_tests_in_guest(suite, ["tests/kernel/lsm_guarded_service.py"], tmp_path, timeout_s=2 * GUEST_S)
