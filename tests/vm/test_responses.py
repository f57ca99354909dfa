"""Freezing, thawing and killing containers under other kernels, in a guest whose cgroups are cgroup2 alone."""

from pathlib import Path

import pytest

from tests.support.vm_tests import run_tests_in_guest

pytestmark = pytest.mark.vm

GUEST_S = 400
SUITES = ("bookworm", pytest.param("trixie", marks=pytest.mark.long), pytest.param("sid", marks=pytest.mark.long))
FILE = "tests/kernel/test_container_jobs.py"


@pytest.mark.parametrize("suite", SUITES)
def test_containers_freeze_thaw_and_die(suite: str, tmp_path: Path) -> None:
    print(run_tests_in_guest(suite, ["-rA", FILE], tmp_path, timeout_s=GUEST_S, scratch="/tmp/pytest"))
