"""A kernel that loads overlayfs after the service has started."""

import pytest

from tests.support.vm import Boot
from tests.support.vm_pool import GuestPool
from tests.support.vm_tests import LSM, GuestTests, for_each_kernel

pytestmark = pytest.mark.vm

GUEST_S = 600


def late_overlay(suite: str) -> GuestTests:
    boot = Boot(is_overlay_late=True)
    env = (*LSM, ("TMPDIR", "/mnt"))
    return GuestTests(suite, ("tests/kernel/lsm_late_overlay.py",), GUEST_S, scratch="/mnt/pytest", env=env, boot=boot)


@pytest.mark.parametrize("job", for_each_kernel(late_overlay))
def test_drift_is_told_once_overlayfs_is_there(guests: GuestPool, job: GuestTests) -> None:
    guests.answer(job)
