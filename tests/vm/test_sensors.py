"""The sensors' own tests under other kernels (``--long``): facts of processes, which opens and changes are reported."""

import sys
from pathlib import Path

import pytest

from tests.support.vm import run_in_guest
from tests.support.vm_kernel import FetchError, get_kernel

pytestmark = [pytest.mark.vm, pytest.mark.long]

REPOSITORY = Path(__file__).resolve().parents[2]
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
    try:
        kernel = get_kernel(suite)
    except FetchError as error:
        pytest.skip(f"no kernel of Debian {suite}: {error}")
    words = ["-q", "-p", "no:cacheprovider", "-k", VARIANTS[suite], f"--deselect={NOT_ON_OVERLAY}", *FILES]
    words.append("--basetemp=/run/pytest")  # a tmpfs: on the overlay files have no handles, and a device of their own

    done = run_in_guest(
        kernel,
        [sys.executable, "-m", "pytest", *words],
        tmp_path,
        folder=REPOSITORY,
        env={"STOCKADE_KERNEL_TESTS": "1"},
        timeout_s=GUEST_S,
    )

    assert done.status == 0, f"Linux {kernel.release}\n{done.stdout[-20_000:]}\n{done.stderr}\n{done.console[-3000:]}"
