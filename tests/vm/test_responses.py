"""Freezing, thawing and killing containers under other kernels, in a guest whose cgroups are cgroup2 alone."""

import pytest

from tests.support.vm_pool import GuestPool
from tests.support.vm_tests import GuestTests, for_each_kernel

pytestmark = pytest.mark.vm

GUEST_S = 400
WORDS = ("-rA", "tests/kernel/test_container_jobs.py")


def responses(suite: str) -> GuestTests:
    return GuestTests(suite, WORDS, GUEST_S, scratch="/tmp/pytest")


@pytest.mark.parametrize("job", for_each_kernel(responses, always=("bookworm",)))
def test_containers_freeze_thaw_and_die(guests: GuestPool, job: GuestTests) -> None:
    print(guests.answer(job))
