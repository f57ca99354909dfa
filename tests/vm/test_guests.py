"""How guests are run: what is tried again, and what runs beside what. Nothing is booted here."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from tests.support.vm import is_fault_of_emulation
from tests.support.vm_kernel import FetchError
from tests.support.vm_pool import GuestPool

KNOWN_PANIC = """\
[    3.914122] Oops: int3: 0000 [#1] SMP NOPTI
[    3.914999] CPU: 1 UID: 0 PID: 87 Comm: sh Not tainted 7.2.13+deb14-amd64 #1 PREEMPT(lazy)  Debian 7.2.13-1
[    3.915555] RIP: 0010:__kmalloc_cache_noprof+0x5/0x420
[    3.999999] Kernel panic - not syncing: Fatal exception
"""


@pytest.mark.parametrize(
    ("console", "is_fault"),
    [
        (KNOWN_PANIC, True),
        ("", True),
        (KNOWN_PANIC.replace("int3", "general protection fault"), False),
        (KNOWN_PANIC.replace("__kmalloc_cache_noprof", "security_file_open"), False),
        ("[    1.2] Kernel panic - not syncing: Attempted to kill init!\n", False),
        ("[    1.2] systemd[1]: Failed to find module 'autofs4'\n", False),
    ],
)
def test_only_the_known_faults_of_emulation_are_tried_again(console: str, is_fault: bool) -> None:
    assert is_fault_of_emulation(console) is is_fault


@dataclass(frozen=True)
class Meeting:
    """A job that ends when the other one has begun."""

    both: ClassVar[threading.Barrier] = threading.Barrier(2)
    name: str

    def run(self, results: Path) -> str:
        assert list(results.iterdir()) == []
        self.both.wait(10)
        return self.name


@dataclass(frozen=True)
class Failing:
    error: type[Exception]

    def run(self, _: Path) -> None:
        raise self.error("a reason")


def test_guests_run_beside_each_other_and_each_answers_its_own(tmp_path: Path) -> None:
    first, second = Meeting("first"), Meeting("second")
    with GuestPool([first, second, first], tmp_path, at_once=2) as pool:
        assert (pool.answer(second), pool.answer(first)) == ("second", "first")


def test_what_went_wrong_in_a_guest_is_the_tests_failure(tmp_path: Path) -> None:
    with GuestPool([Failing(AssertionError)], tmp_path) as pool, pytest.raises(AssertionError, match="a reason"):
        pool.answer(Failing(AssertionError))


def test_a_kernel_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    with GuestPool([Failing(FetchError)], tmp_path) as pool, pytest.raises(pytest.skip.Exception, match="a reason"):
        pool.answer(Failing(FetchError))
