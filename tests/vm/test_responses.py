"""Freezing, thawing and killing containers under other kernels, in a guest whose cgroups are cgroup2 alone."""

import sys
from pathlib import Path

import pytest

from tests.support.vm import run_in_guest
from tests.support.vm_kernel import FetchError, get_kernel

pytestmark = pytest.mark.vm

REPOSITORY = Path(__file__).resolve().parents[2]
GUEST_S = 400
SUITES = ("bookworm", pytest.param("trixie", marks=pytest.mark.long), pytest.param("sid", marks=pytest.mark.long))
FILE = "tests/kernel/test_container_jobs.py"


@pytest.mark.parametrize("suite", SUITES)
def test_containers_freeze_thaw_and_die(suite: str, tmp_path: Path) -> None:
    try:
        kernel = get_kernel(suite)
    except FetchError as error:
        pytest.skip(f"no kernel of Debian {suite}: {error}")
    words = ["-q", "-rA", "-p", "no:cacheprovider", "--basetemp=/tmp/pytest", FILE]

    done = run_in_guest(
        kernel,
        [sys.executable, "-m", "pytest", *words],
        tmp_path,
        folder=REPOSITORY,
        env={"STOCKADE_KERNEL_TESTS": "1"},
        timeout_s=GUEST_S,
    )

    print(f"Linux {kernel.release}\n{done.stdout}")
    assert done.status == 0, f"Linux {kernel.release}\n{done.stdout[-20_000:]}\n{done.stderr}\n{done.console[-3000:]}"
