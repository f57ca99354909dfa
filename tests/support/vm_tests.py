"""Run tests of ours under another kernel: pytest itself, in the guest, with this machine's files."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.vm import run_in_guest
from tests.support.vm_kernel import FetchError, get_kernel

REPOSITORY = Path(__file__).resolve().parents[2]


def run_tests_in_guest(
    suite: str,
    words: Sequence[str],
    results: Path,
    *,
    timeout_s: float,
    scratch: str = "/run/pytest",
    env: Mapping[str, str] | None = None,
) -> str:
    """Run pytest with ``words`` under the kernel of a Debian suite; answers what it printed.

    ``scratch`` is its folder for temporary files: of a tmpfs, because on the guest's root, an overlay, files have no
    handles and a device that no file system has.
    """
    try:
        kernel = get_kernel(suite)
    except FetchError as error:
        pytest.skip(f"no kernel of Debian {suite}: {error}")
    done = run_in_guest(
        kernel,
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={scratch}", *words],
        results,
        folder=REPOSITORY,
        env={"STOCKADE_KERNEL_TESTS": "1", **(env or {})},
        timeout_s=timeout_s,
    )
    told = f"Linux {kernel.release}\n{done.stdout[-20_000:]}"
    assert done.status == 0, f"{told}\n{done.stderr}\n{done.console[-3000:]}"
    return told
