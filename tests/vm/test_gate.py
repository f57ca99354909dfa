"""Tier hold under Debian 12's kernel, where only the overlay's own mark sees what is executed through it."""

import pytest

from tests.support.vm_pool import GuestPool
from tests.support.vm_tests import GuestTests, for_each_kernel

pytestmark = pytest.mark.vm

GUEST_S = 900
FILES = ("tests/kernel/test_gate.py", "tests/kernel/test_gate_life.py", "tests/kernel/test_hold_ways.py")
SERVICE = ("tests/containers/test_hold.py", "-k", "runc")
PATIENCE = (("STOCKADE_TEST_PATIENCE", "5"),)


def gate(suite: str) -> GuestTests:
    return GuestTests(suite, FILES, GUEST_S, scratch="/dev/shm/pytest", env=PATIENCE)


def service(suite: str) -> GuestTests:
    return GuestTests(suite, SERVICE, GUEST_S, scratch="/dev/shm/pytest", env=PATIENCE)


@pytest.mark.parametrize("job", for_each_kernel(gate, always=("bookworm",)))
def test_the_gate_passes_its_tests(guests: GuestPool, job: GuestTests) -> None:
    guests.answer(job)


@pytest.mark.parametrize("job", for_each_kernel(service))
def test_the_service_holds_what_runs_in_containers(guests: GuestPool, job: GuestTests) -> None:
    guests.answer(job)
