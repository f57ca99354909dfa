"""What the gate says becomes events: whose they are, and that a flood of them stays bounded."""

import pytest
from msgspec import structs

from monitor.gate import wire
from monitor.gate.policy import pack_vector
from monitor.model.events import Denial
from monitor.model.ids import CgroupId
from monitor.model.process import Process
from monitor.runtime.hold_events import (
    FOLD_NS,
    KEYS_MAX,
    NS_PER_TICK,
    DenialFolder,
    HeldTaskIds,
    build_denial,
    find_task_ids,
)
from tests.support import make

STARTED_NS = 7 * NS_PER_TICK + 123
HELD = wire.Denial(
    generation=5,
    ktime_ns=1000,
    is_denied=True,
    terms=pack_vector(0b101),
    event="exec",
    path="/opt/x",
    device=8,
    inode=9,
    tid=21,
    tgid=20,
    parent_tgid=1,
    start_ticks=7,
    file_mode=0o100755,
    link_count=0,
    uid=1000,
    executable="/bin/sh",
    cgroup_id=77,
    cgroup_path="/docker/x",
)
IDS = HeldTaskIds(STARTED_NS, 3, CgroupId(77))


class Table:
    """One process, one cgroup."""

    def __init__(self, process: Process | None, cgroup_id: int | None = None) -> None:
        self._process, self._cgroup_id = process, cgroup_id

    def find_process(self, tgid: int, start_boottime_ns: int, within_ns: int) -> Process | None:
        assert (tgid, start_boottime_ns, within_ns) == (20, 7 * NS_PER_TICK, NS_PER_TICK)
        return self._process

    def find_cgroup_id(self, path: str) -> CgroupId | None:
        assert path == "/all/docker/x"
        return None if self._cgroup_id is None else CgroupId(self._cgroup_id)


def process(executed_ktime_ns: int) -> Process:
    image = make.image("/bin/sh")
    image = structs.replace(image, exec=structs.replace(image.exec, ktime_ns=executed_ktime_ns))
    return structs.replace(
        make.context(make.exec()).process,
        key=make.context(make.exec()).process.key._replace(start_boottime_ns=STARTED_NS),
        image=image,
        exec_id=3,
        cgroup_id=CgroupId(12),
    )


@pytest.mark.parametrize(
    ("table", "ids"),
    [
        (Table(process(900)), HeldTaskIds(STARTED_NS, 3, CgroupId(12))),
        (Table(process(1100)), HeldTaskIds(STARTED_NS, 2, CgroupId(12))),
        (Table(None, 13), HeldTaskIds(7 * NS_PER_TICK, 0, CgroupId(13))),
        (Table(None), HeldTaskIds(7 * NS_PER_TICK, 0, CgroupId(77))),
    ],
    ids=["known", "has executed another program since", "not known", "its cgroup neither"],
)
def test_a_held_task_is_named_as_the_sensors_name_it(table: Table, ids: HeldTaskIds) -> None:
    assert find_task_ids(table, HELD, "/all/docker/x") == ids


def test_a_denial_says_what_was_tried() -> None:
    event = build_denial(HELD, IDS)

    assert (event.action, event.tier, event.generation, event.terms) == ("exec", "hold", 5, (0, 2))
    assert (event.path, event.device, event.inode, event.is_deleted) == ("/opt/x", 8, 9, True)
    assert (event.tgid, event.start_boottime_ns, event.exec_id, event.cgroup_id, event.uid) == (
        20,
        STARTED_NS,
        3,
        77,
        1000,
    )
    assert build_denial(structs.replace(HELD, path=""), IDS).is_path_truncated


def denied(ktime_ns: int, path: str = "/opt/x") -> Denial:
    return build_denial(structs.replace(HELD, ktime_ns=ktime_ns, path=path), IDS)


def test_equal_denials_are_told_at_once_and_once_more() -> None:
    told: list[Denial] = []
    folder = DenialFolder(told.append)
    for ktime_ns in range(10):
        folder.take(denied(ktime_ns), "/bin/sh")
    folder.take(denied(3), "/bin/other")
    assert [(event.ktime_ns, event.count) for event in told] == [(0, 1), (3, 1)]

    folder.tell(FOLD_NS - 1)
    assert len(told) == 2
    folder.tell(FOLD_NS + 3)
    assert [(event.ktime_ns, event.count) for event in told[2:]] == [(9, 9)]
    folder.take(denied(FOLD_NS + 4), "/bin/sh")
    assert told[-1].count == 1


def test_of_many_different_ones_a_containers_are_told_together() -> None:
    told: list[Denial] = []
    folder = DenialFolder(told.append)
    for number in range(10 * KEYS_MAX):
        folder.take(denied(number, f"/opt/{number}"), "/bin/sh")
    folder.tell(2 * FOLD_NS)

    assert len(told) == KEYS_MAX + 2
    assert sum(event.count for event in told) == 10 * KEYS_MAX
