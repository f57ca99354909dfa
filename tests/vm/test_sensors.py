"""The sensors' own tests under other kernels (``--long``): facts of processes, which opens and changes are reported."""

from pathlib import Path

import pytest

from tests.support.vm_tests import run_tests_in_guest

pytestmark = [pytest.mark.vm, pytest.mark.long]

GUEST_S = 580
FILES = (
    "tests/kernel/test_process_sensor.py",
    "tests/kernel/test_process_arguments.py",
    "tests/kernel/test_change_sensor.py",
    *(f"tests/kernel/test_open_filter_{what}.py" for what in ("paths", "access", "failures", "scopes", "policy")),
)
NOT_ON_OVERLAY = "tests/kernel/test_process_sensor.py::test_an_exec_has_program_arguments_folder_and_parent"
"""The guest's root is an overlay of two file systems; there stat(2) shows a device that no file system has. What else
it tests, test_observation.py does."""

VARIANTS = {"bookworm": "not [cast", "trixie": "not [typed", "sid": "not [typed"}
"""Of the file sensor: the one that the loader takes there."""


@pytest.mark.parametrize("suite", VARIANTS)
def test_the_sensors_pass_their_tests(suite: str, tmp_path: Path) -> None:
    words = ["-k", VARIANTS[suite], f"--deselect={NOT_ON_OVERLAY}", *FILES]

    run_tests_in_guest(suite, words, tmp_path, timeout_s=GUEST_S)
