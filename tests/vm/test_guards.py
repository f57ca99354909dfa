"""Guards of the service, under kernels whose BPF LSM runs."""

import pytest

from tests.support.vm_pool import GuestPool
from tests.support.vm_tests import GuestTests, for_each_kernel

pytestmark = pytest.mark.vm

GUEST_S = 400


def guards(suite: str) -> GuestTests:
    return GuestTests(suite, ("tests/kernel/lsm_guards.py",), GUEST_S)


def guarded_service(suite: str) -> GuestTests:
    return GuestTests(suite, ("tests/kernel/lsm_guarded_service.py",), 2 * GUEST_S)


@pytest.mark.parametrize("job", for_each_kernel(guards, always=("bookworm",)))
def test_root_cannot_end_the_service_by_the_way(guests: GuestPool, job: GuestTests) -> None:
    guests.answer(job)


@pytest.mark.parametrize("job", for_each_kernel(guarded_service))
def test_a_guarded_service_on_a_terminal(guests: GuestPool, job: GuestTests) -> None:
    guests.answer(job)
