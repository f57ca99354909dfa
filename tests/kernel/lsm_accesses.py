"""What BPF LSM denies of getting hold of other processes: run in the guest by ``test_enforcement``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.accesses import ACCESSES, LOOKS, PRELUDE, TARGET, TRACEME
from tests.support.enforcement import Denier
from tests.support.names import DONE, REFUSED, Doer, doing
from tests.support.rule_texts import DENY, rule_text

pytestmark = pytest.mark.kernel

NOBODY = "{s: {Image: /nowhere}, condition: s}"


@pytest.fixture
def doer(loaded_denier: Denier, tmp_path: Path) -> Iterator[Doer]:
    deny(loaded_denier, tmp_path, NOBODY)
    with doing(loaded_denier.cgroup, tmp_path, PRELUDE) as running:
        yield running
        running.do("os.kill(target, signal.SIGKILL)")


def deny(denier: Denier, folder: Path, detection: str) -> None:
    denier.deny(folder, rule_text(detection, category="process_access", extra=DENY))
    denier.denials()


def told(denier: Denier) -> list[tuple[str, str]]:
    return [(denial.action, denial.path) for denial in denier.denials()]


@pytest.mark.parametrize(
    "detection",
    [
        "{s: {Image|startswith: /usr/bin/python3}, condition: s}",
        f"{{s: {{TargetImage: {TARGET}}}, condition: s}}",
        "{s: {user.id: 0}, f: {Image: /usr/bin/gdb}, condition: s and not f}",
    ],
    ids=["program", "target", "other programs"],
)
def test_no_process_gets_hold_of_another(loaded_denier: Denier, doer: Doer, tmp_path: Path, detection: str) -> None:
    for act in (*ACCESSES, TRACEME, LOOKS):
        assert (act, doer.do(act)) == (act, DONE)
    assert told(loaded_denier) == []
    deny(loaded_denier, tmp_path, detection)

    for act in ACCESSES:
        assert (act, doer.do(act), told(loaded_denier)) == (act, REFUSED, [("process-access", TARGET)])
    assert doer.do(LOOKS) == DONE
    assert told(loaded_denier) == []


def test_nobody_lets_itself_be_traced(loaded_denier: Denier, doer: Doer, tmp_path: Path) -> None:
    """Of that call the target is who calls."""
    deny(loaded_denier, tmp_path, "{s: {TargetImage|startswith: /usr/bin/python3}, condition: s}")

    assert doer.do(TRACEME) == REFUSED
    ((action, path),) = told(loaded_denier)
    assert action == "traceme"
    assert path.startswith("/usr/bin/python3")
    assert [doer.do(act) for act in ACCESSES] == [DONE] * len(ACCESSES), "their target is another program"


def test_the_host_may_trace(loaded_denier: Denier, tmp_path: Path) -> None:
    deny(loaded_denier, tmp_path, "{s: {user.id: 0}, condition: s}")

    with doing(loaded_denier.cgroup.parent, tmp_path, PRELUDE) as outside:
        assert [outside.do(act) for act in (*ACCESSES, TRACEME)] == [DONE] * (len(ACCESSES) + 1)
        outside.do("os.kill(target, signal.SIGKILL)")
    assert told(loaded_denier) == []
