"""Whom an access was about, by the number that the call was given."""

from collections.abc import Callable

import pytest

from monitor.engine.access_targets import LOOKS_PER_S, AccessTargets
from monitor.engine.processes import ProcessTable, Row
from monitor.model.events import Namespaces, ProcessAccess
from monitor.model.process import Context
from tests.support import make

HOST, INNER = Namespaces(pid=1), Namespaces(pid=2)


@pytest.fixture
def table() -> ProcessTable:
    return ProcessTable(100, 1 << 20, 30 * make.SECOND)


def run(table: ProcessTable, tgid: int, number: int, namespaces: Namespaces) -> Row:
    """A program whose number is that, in that namespace."""
    event = make.exec(f"/bin/p{tgid}", tgid=tgid, start_boottime_ns=tgid, namespace_tgid=number, namespaces=namespaces)
    return table.exec(event)[0]


def complete(table: ProcessTable, caller: Row, target_pid: int) -> ProcessAccess:
    event = make.process_access(target_pid=target_pid, tgid=caller.key.tgid)
    return AccessTargets(table).complete(event, caller.image)


def test_the_hosts_numbers_are_everybodys(table: ProcessTable) -> None:
    caller, _ = run(table, 10, 10, HOST), run(table, 20, 3, INNER)

    found = complete(table, caller, 20)

    assert (found.target_tgid, found.target_start_boottime_ns, found.target_executable) == (20, 20, "/bin/p20")


def test_a_containers_numbers_are_its_own(table: ProcessTable) -> None:
    caller = run(table, 10, 1, INNER)
    run(table, 3, 3, HOST)
    run(table, 20, 3, INNER)

    assert complete(table, caller, 3).target_executable == "/bin/p20"


def test_a_process_that_executed_nothing_is_not_taken_for_its_parent(table: ProcessTable) -> None:
    caller = run(table, 10, 1, INNER)
    table.fork(make.fork(tgid=11, start_boottime_ns=11, parent_tgid=10, parent_start_boottime_ns=10))

    assert complete(table, caller, 1).target_tgid == 10


def test_who_has_ended_since_is_found_and_who_ended_before_is_not(table: ProcessTable) -> None:
    caller, target = run(table, 10, 1, INNER), run(table, 20, 3, INNER)
    event = make.process_access(target_pid=3, tgid=10)
    targets = AccessTargets(table)

    for ended, found in ((event.ktime_ns + 1, 20), (event.ktime_ns - 1, 0)):
        target.exited_ktime_ns = ended
        assert targets.complete(event, caller.image).target_tgid == found


def test_a_number_that_another_process_has_got_is_that_ones(table: ProcessTable) -> None:
    caller, first = run(table, 10, 1, INNER), run(table, 20, 3, INNER)
    event = make.process_access(target_pid=3, tgid=10)
    targets = AccessTargets(table)
    assert targets.complete(event, caller.image).target_tgid == 20

    first.exited_ktime_ns = event.ktime_ns - 1
    run(table, 21, 3, INNER)
    assert targets.complete(event, caller.image).target_tgid == 21


def test_looking_is_rationed(table: ProcessTable) -> None:
    caller, targets = run(table, 10, 1, INNER), AccessTargets(table)
    run(table, 20, 3, INNER)
    missing, there = make.process_access(target_pid=4, tgid=10), make.process_access(target_pid=3, tgid=10)

    for _ in range(LOOKS_PER_S):
        assert targets.complete(missing, caller.image).target_tgid == 0
    assert targets.complete(there, caller.image).target_tgid == 0
    assert targets.complete(make.later(there, 1), caller.image).target_tgid == 20
    assert targets.complete(there, caller.image).target_tgid == 20, "it is known now"


def test_the_exec_of_the_target_is_waited_for() -> None:
    """Rings are read out of order with each other."""
    engine = make.engine(make.rule_set([(make.rule("read"), ProcessAccess, is_about("/bin/target"))]))
    caller = make.exec(tgid=10, start_boottime_ns=10, namespace_tgid=10)
    target = make.exec("/bin/target", tgid=20, start_boottime_ns=20, namespace_tgid=20)
    access = make.process_access(target_pid=20, tgid=10, start_boottime_ns=10, ktime_ns=caller.ktime_ns + 2)
    cgroup = make.cgroup_create("/", make.HOST_CGROUP)

    played = make.play(
        engine, [cgroup, caller, access, make.later(target, 1e-9), make.tick(caller.ktime_ns + make.SECOND)]
    )

    assert make.names(make.alerts(played)) == ["read"]


def is_about(executable: str) -> Callable[[Context], bool]:
    def judge(context: Context) -> bool:
        return isinstance(context.event, ProcessAccess) and context.event.target_executable == executable

    return judge


def test_whom_nobody_knows_stays_unknown(table: ProcessTable) -> None:
    found = complete(table, run(table, 10, 1, INNER), 7)

    assert (found.target_tgid, found.target_executable) == (0, "")
