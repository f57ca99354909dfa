"""The sensor for processes that get hold of others, on real calls."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.model.events import AccessKind, ProcessAccess
from monitor.wire import _layout as layout
from tests.support.accesses import LOOKS, PRELUDE, TARGET, TRACEME
from tests.support.activity_sensor import AccessSensor, every_access
from tests.support.names import DONE, Doer, doing

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def sensor() -> Iterator[AccessSensor]:
    with AccessSensor() as loaded:
        yield loaded


@pytest.fixture
def doer(sensor: AccessSensor, tmp_path: Path) -> Iterator[Doer]:
    sensor.watch([every_access()])
    with doing(None, tmp_path, PRELUDE) as running:
        running.do("pass")
        sensor.read_all()
        yield running
        running.do("os.kill(target, signal.SIGKILL)")


def told(sensor: AccessSensor, doer: Doer) -> list[ProcessAccess]:
    own = {doer.pid, *doer.children()}
    return [event for event in sensor.read_all() if event.tgid in own]


@pytest.mark.parametrize(
    ("act", "action", "is_known"),
    [
        ("attach()", AccessKind.ATTACH, True),
        ("seize()", AccessKind.SEIZE, True),
        ("read()", AccessKind.READ, False),
        ("write()", AccessKind.WRITE, False),
        ("take()", AccessKind.DESCRIPTOR, True),
    ],
)
def test_each_way_is_told_once_with_its_target(
    sensor: AccessSensor, doer: Doer, act: str, action: AccessKind, is_known: bool
) -> None:
    (target,) = doer.children()
    assert doer.do(act) == DONE

    (event,) = told(sensor, doer)

    assert (event.action, event.tgid) == (action, doer.pid)
    assert event.target_pid == (0 if action is AccessKind.DESCRIPTOR else target)
    assert (event.target_tgid, event.target_executable) == ((target, TARGET) if is_known else (0, ""))
    assert (event.target_start_boottime_ns > 0) is is_known


def test_of_traceme_the_target_is_who_calls(sensor: AccessSensor, doer: Doer) -> None:
    assert doer.do(TRACEME) == DONE

    (event,) = [event for event in sensor.read_all() if event.action is AccessKind.TRACEME]

    assert event.key == (event.target_tgid, event.target_start_boottime_ns)
    assert event.target_executable.startswith("/usr/bin/python3")


@pytest.mark.parametrize(
    "act",
    [
        LOOKS,
        "target, own = os.getpid(), target; read(); take(); target = own",
        "trace(ATTACH, 1 << 22)",
    ],
    ids=["looks", "itself", "nobody"],
)
def test_what_is_no_access_is_not_told(sensor: AccessSensor, doer: Doer, act: str) -> None:
    doer.do(act)

    assert told(sensor, doer) == []


def test_where_nobody_asks_nothing_is_told(sensor: AccessSensor, doer: Doer) -> None:
    doer.do("attach()")
    (event,) = told(sensor, doer)
    sensor.tag_cgroup(event.cgroup_id, layout.CGROUP_HOST)
    sensor.watch([every_access(on_host=False)])
    doer.do("attach()")
    assert told(sensor, doer) == []
    sensor.watch([every_access(in_containers=False)])
    doer.do("attach()")
    assert [event.action for event in told(sensor, doer)] == [AccessKind.ATTACH]
