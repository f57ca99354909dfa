"""Run tests of ours under another kernel: pytest itself, in the guest, with this machine's files."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.vm import PLAIN, Boot, run_in_guest
from tests.support.vm_kernel import get_kernel

REPOSITORY = Path(__file__).resolve().parents[2]
KERNELS = ("bookworm", "trixie", "sid")
"""The oldest, Debian 12's; Debian 13's; the newest, of Debian's development branch."""
LSM = (("STOCKADE_TEST_TIER", "lsm"), ("STOCKADE_TEST_PATIENCE", "5"))
"""Environment of tests that deny."""


def for_each_kernel(make: Callable[[str], Any], *, always: Collection[str] = ()) -> Sequence[Any]:
    """A job for each kernel, as cases of a parametrized test; kernels beyond ``always`` only with ``--vm=all``."""
    return [
        pytest.param(make(suite), id=suite, marks=() if suite in always else pytest.mark.every_kernel)
        for suite in KERNELS
    ]


@dataclass(frozen=True, slots=True)
class GuestTests:
    """What one guest runs: a job of :class:`tests.support.vm_pool.GuestPool`."""

    suite: str
    """Of Debian: whose kernel."""

    words: tuple[str, ...]
    """Of pytest: files, and options."""

    timeout_s: float

    scratch: str = "/run/pytest"
    """The folder for temporary files: of a tmpfs, because on the guest's root, an overlay, files have no handles and a
    device that no file system has."""

    env: tuple[tuple[str, str], ...] = ()

    boot: Boot = PLAIN

    def run(self, results: Path) -> str:
        """Boot and run; answers what pytest printed.

        Raises:
            FetchError: there is no such kernel.
            GuestError: the guest ended before the tests did.
            AssertionError: a test failed; with all that was printed.
        """
        kernel = get_kernel(self.suite)
        done = run_in_guest(
            kernel,
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={self.scratch}", *self.words],
            results,
            folder=REPOSITORY,
            env={"STOCKADE_KERNEL_TESTS": "1", **dict(self.env)},
            timeout_s=self.timeout_s,
            boot=self.boot,
        )
        told = f"Linux {kernel.release}\n{done.stdout[-20_000:]}"
        assert done.status == 0, f"{told}\n{done.stderr}\n{done.console[-3000:]}"
        return told


def run_tests_in_guest(
    suite: str,
    words: Sequence[str],
    results: Path,
    *,
    timeout_s: float,
    scratch: str = "/run/pytest",
    env: Mapping[str, str] | None = None,
) -> str:
    """Run pytest in a guest now, beside no other; answers what it printed."""
    return GuestTests(suite, tuple(words), timeout_s, scratch, tuple((env or {}).items())).run(results)
