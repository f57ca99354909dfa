"""Every program of every object is loaded under other kernels, and how much the verifier looked at is compared.

As this machine's clang makes it; with ``--vm=all`` as the other Debian's does, too.
The record is ``verifier-statistics.json``. A change that makes a program much larger than it was there fails here; when
that is meant, the record is renewed: ``sudo scripts/test --vm tests/vm/test_verifier.py --renew-verifier-statistics``.
"""

import json
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.verifier import Statistics, build_objects, compare
from tests.support.vm import RESULTS, run_in_guest
from tests.support.vm_kernel import get_kernel
from tests.support.vm_pool import GuestPool
from tests.support.vm_tests import REPOSITORY, for_each_kernel

GUEST_S = 900
RECORD = Path(__file__).with_name("verifier-statistics.json")
COMPILERS = {"14": "clang-14", "19": "clang-19"}
"""Debian 12's and Debian 13's, by version. Either Debian has one of them as ``clang``."""


class Measured(NamedTuple):
    """Of one kernel and one compiler."""

    release: str
    version: str
    """Of clang."""

    statistics: Statistics


@dataclass(frozen=True, slots=True)
class Loading:
    """A job of :class:`GuestPool`: all objects of a compiler are loaded under the kernel of a Debian suite."""

    suite: str
    is_own: bool
    """Whether by this machine's ``clang``; else by the other one of :data:`COMPILERS`."""

    def run(self, results: Path) -> Measured | None:
        """Nothing where there is no other compiler."""
        version = read_own_version()
        compiler = "clang"
        if not self.is_own:
            version = next(each for each in COMPILERS if each != version)
            compiler = COMPILERS[version]
            if not shutil.which(compiler):
                return None
        kernel = get_kernel(self.suite)
        (results / version).mkdir()
        for path in build_objects(compiler, results / "build"):
            shutil.copy(path, results / version)
        words = ["tests.vm.verifier_acts", str(RESULTS), version]
        done = run_in_guest(
            kernel, [sys.executable, "-m", *words], results, folder=REPOSITORY, env={}, timeout_s=GUEST_S
        )
        assert done.status == 0, f"{done.stderr}\n{done.console[-3000:]}"
        found = json.loads((results / "statistics.json").read_text())
        return Measured(kernel.release, version, found[version])


def load_by_own(suite: str) -> Loading:
    return Loading(suite, is_own=True)


def load_by_other(suite: str) -> Loading:
    return Loading(suite, is_own=False)


def read_own_version() -> str:
    """Of ``clang``: one of :data:`COMPILERS`."""
    said = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"clang version (\d+)", said)
    assert found, said
    assert found[1] in COMPILERS, f"clang {found[1]}: the record knows {' and '.join(COMPILERS)}"
    return found[1]


def read_record() -> dict[str, Any]:
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def renew_record(suite: str, measured: Measured) -> None:
    """Of this kernel and this compiler."""
    record = read_record()
    verified = record.get(suite, {}).get("verified instructions", {})
    verified[f"clang {measured.version}"] = {
        name: number if isinstance(number, int) else None for name, number in measured.statistics.items()
    }
    record[suite] = {"kernel": measured.release, "verified instructions": verified}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


@pytest.mark.vm
@pytest.mark.parametrize("job", for_each_kernel(load_by_own, always=("bookworm", "sid")))
def test_every_program_loads_and_none_has_grown(
    request: pytest.FixtureRequest, guests: GuestPool, job: Loading
) -> None:
    measured: Measured | None = guests.answer(job)
    if not measured:
        warnings.warn("clang-14 or clang-19 is not installed: what it compiles was not loaded", stacklevel=1)
        return
    if request.config.getoption("--renew-verifier-statistics"):
        renew_record(job.suite, measured)
    verified = read_record().get(job.suite, {}).get("verified instructions", {})
    recorded = verified.get(f"clang {measured.version}", {})
    problems = list(compare(recorded, measured.statistics))
    assert not problems, "\n".join([f"Linux {measured.release}, clang {measured.version}:", *problems])


@pytest.mark.vm
@pytest.mark.parametrize("job", for_each_kernel(load_by_other))
def test_the_other_compilers_load_too(request: pytest.FixtureRequest, guests: GuestPool, job: Loading) -> None:
    test_every_program_loads_and_none_has_grown(request, guests, job)


@pytest.mark.parametrize(
    ("before", "now", "is_problem"),
    [
        (10_000, 10_900, False),
        (10_000, 12_000, True),
        (100, 190, False),
        (10_000, 10, False),
        (None, "refused: unknown func", False),
        (None, 100, False),
        (10_000, "refused: unknown func", True),
    ],
)
def test_growth_is_seen(before: int | None, now: int | str, is_problem: bool) -> None:
    assert bool(list(compare({"on_exec": before}, {"on_exec": now}))) is is_problem


def test_a_program_that_is_new_or_gone_wants_another_record() -> None:
    assert list(compare({"old": 1}, {"new": 2})) == ["new: not recorded; 2", "old: recorded, and no such program"]
