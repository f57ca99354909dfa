"""The sensors' own tests under other kernels: facts of processes; which opens, changes and other calls are reported."""

import pytest

from tests.support.vm_pool import GuestPool
from tests.support.vm_tests import GuestTests, for_each_kernel

pytestmark = pytest.mark.vm

GUEST_S = 580
FILES = (
    "tests/kernel/test_process_sensor.py",
    "tests/kernel/test_process_arguments.py",
    "tests/kernel/test_change_sensor.py",
    "tests/kernel/test_access_sensor.py",
    "tests/kernel/test_connection_sensor.py",
    *(f"tests/kernel/test_open_filter_{what}.py" for what in ("paths", "access", "failures", "scopes", "policy")),
)
NOT_ON_OVERLAY = "tests/kernel/test_process_sensor.py::test_an_exec_has_program_arguments_folder_and_parent"
"""The guest's root is an overlay of two file systems; there stat(2) shows a device that no file system has. What else
it tests, test_observation.py does."""

VARIANTS = {"bookworm": "not [cast", "trixie": "not [typed", "sid": "not [typed"}
"""Of the file sensor: the one that the loader takes there."""


def sensors(suite: str) -> GuestTests:
    return GuestTests(suite, ("-k", VARIANTS[suite], f"--deselect={NOT_ON_OVERLAY}", *FILES), GUEST_S)


@pytest.mark.parametrize("job", for_each_kernel(sensors))
def test_the_sensors_pass_their_tests(guests: GuestPool, job: GuestTests) -> None:
    guests.answer(job)
