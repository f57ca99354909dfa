"""The ready-made preventions in real containers under other kernels, in tier ``lsm``."""

import pytest

from tests.support.vm_pool import GuestPool
from tests.support.vm_tests import LSM, GuestTests, for_each_kernel

pytestmark = pytest.mark.vm

GUEST_S = 900
FILE = "tests/containers/test_preventions.py"


def preventions(suite: str) -> GuestTests:
    return GuestTests(suite, (FILE,), GUEST_S, scratch="/dev/shm/pytest", env=LSM)


@pytest.mark.parametrize("job", for_each_kernel(preventions))
def test_containers_start_and_what_is_prevented_does_not_run(guests: GuestPool, job: GuestTests) -> None:
    guests.answer(job)
