"""Tier ``lsm`` under other kernels: the kernel tests of enforcement, with denial by BPF LSM."""

import pytest

from tests.support.vm import Boot
from tests.support.vm_pool import GuestPool
from tests.support.vm_tests import LSM, GuestTests, for_each_kernel

pytestmark = pytest.mark.vm

GUEST_S = 900
ARGUMENTS = "tests/kernel/test_enforcement_arguments.py"
LIFE = "tests/kernel/test_enforcement_life.py"
RELOAD = ("tests/kernel/lsm_reload.py", "tests/kernel/lsm_endings.py")
CRASH = f"{LIFE}::test_a_crash_leaves_denial_in_place_and_a_restart_takes_it_over"
FILES = (
    "tests/kernel/test_enforcement.py",
    ARGUMENTS,
    "tests/kernel/test_enforcement_ways.py",
    "tests/kernel/lsm_opens.py",
    "tests/kernel/lsm_names.py",
    "tests/kernel/lsm_mappings.py",
    "tests/kernel/lsm_accesses.py",
    "tests/kernel/lsm_sockets.py",
    "tests/kernel/test_change_sensor.py",
    "tests/kernel/lsm_changes.py",
)


def denial(suite: str) -> GuestTests:
    return GuestTests(suite, FILES, GUEST_S, env=LSM)


def denial_with_a_crash(suite: str) -> GuestTests:
    return GuestTests(suite, (CRASH,), GUEST_S, env=LSM)


def life(suite: str) -> GuestTests:
    return GuestTests(suite, (LIFE, *RELOAD), 3 * GUEST_S, env=LSM)


def hardened(suite: str) -> GuestTests:
    return GuestTests(suite, (ARGUMENTS,), GUEST_S, env=LSM, boot=Boot(is_hardened=True))


def known_files(suite: str) -> GuestTests:
    return GuestTests(suite, ("tests/containers/test_known_files.py",), GUEST_S, scratch="/tmp/pytest", env=LSM)


@pytest.mark.parametrize("job", for_each_kernel(denial, always=("bookworm", "sid")))
def test_the_kernel_denies(guests: GuestPool, job: GuestTests) -> None:
    guests.answer(job)


@pytest.mark.parametrize("job", [denial_with_a_crash("bookworm")], ids=["bookworm"])
def test_denial_outlives_a_crash(guests: GuestPool, job: GuestTests) -> None:
    guests.answer(job)


@pytest.mark.parametrize("job", for_each_kernel(life))
def test_denial_outlives_the_service(guests: GuestPool, job: GuestTests) -> None:
    guests.answer(job)


@pytest.mark.parametrize("job", for_each_kernel(hardened))
def test_arguments_are_found_wherever_the_kernel_is(guests: GuestPool, job: GuestTests) -> None:
    """With KASLR, 5-level page tables and mitigations: another place for the kernel and its page tables."""
    guests.answer(job)


@pytest.mark.parametrize("job", for_each_kernel(known_files))
def test_the_file_at_a_path_in_containers_of_one_image(guests: GuestPool, job: GuestTests) -> None:
    """Their overlays lie over the guest's own."""
    guests.answer(job)
