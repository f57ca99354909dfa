"""The file-open sensor on real opens: whose opens are reported, and how many of them."""

import os
import struct
from pathlib import Path

import pytest

from monitor.model.interest import OpenPattern, PatternKind
from monitor.wire import _layout as layout
from tests.support.open_patterns import exact, paths, read, touch
from tests.support.open_sensor import VARIANTS, OpenSensor

pytestmark = pytest.mark.kernel

COUNTER_OWN_EVENTS = 0


def test_scopes_are_told_apart_by_the_cgroup_and_an_unknown_one_is_both(sensor: OpenSensor, tmp_path: Path) -> None:
    on_host, inside = touch(tmp_path / "host"), touch(tmp_path / "inside")
    sensor.watch([exact(on_host, in_containers=False), exact(inside, on_host=False)])

    def opened() -> list[str]:
        for path in (on_host, inside):
            read(path)
        return [event.path for event in sensor.read() if not event.is_write]

    assert opened() == [str(on_host), str(inside)]
    read(on_host)
    (event,) = sensor.read()
    sensor.tag_cgroup(event.cgroup_id, layout.CGROUP_HOST)
    assert opened() == [str(on_host)]
    sensor.tag_cgroup(event.cgroup_id, layout.CGROUP_CONTAINER)
    assert opened() == [str(inside)]


def test_every_open_of_one_scope_can_be_asked_for(sensor: OpenSensor, tmp_path: Path) -> None:
    anything = touch(tmp_path / "anything")
    sensor.watch([OpenPattern(PatternKind.ANY, "", on_host=False, writes=False)])
    read(anything)
    (event,) = sensor.read()

    sensor.tag_cgroup(event.cgroup_id, layout.CGROUP_HOST)
    read(anything)

    assert event.path == str(anything)
    assert sensor.read() == []


def test_our_own_opens_are_counted_and_not_reported(sensor: OpenSensor, tmp_path: Path) -> None:
    target = touch(tmp_path / "file")
    sensor.watch([exact(target)])
    pidfd = os.pidfd_open(os.getpid())
    key = struct.pack("<i", pidfd)
    before = sensor.count(COUNTER_OWN_EVENTS)

    sensor.object.map_update("own_tasks", key, struct.pack("<I", 1))
    for _ in range(3):
        read(target)
    sensor.object.map_delete("own_tasks", key)
    os.close(pidfd)

    assert sensor.read() == []
    assert sensor.count(COUNTER_OWN_EVENTS) - before == 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_limiter_holds_back_is_counted_exactly(variant: str, tmp_path: Path) -> None:
    target, other = touch(tmp_path / "flood"), touch(tmp_path / "other")
    with OpenSensor(variant, limit_per_s=20) as sensor:
        sensor.watch([exact(target), exact(other)])
        for _ in range(500):
            read(target)
        read(other)
        events = sensor.read_all()

        flood = [event for event in events if event.path == str(target)]
        assert len(events) + sensor.count_losses() == 501
        assert len(flood) < 100
        assert paths(events[-1:]) == [str(other)], "the first open of another pattern passes the empty bucket"
