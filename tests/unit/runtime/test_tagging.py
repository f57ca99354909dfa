"""The choice of the hierarchy at work, on hosts made of files: what changes it, and what becomes of old tags."""

from pathlib import Path

import pytest

from monitor.host.cgroups import TagHierarchy
from monitor.model.events import AnyEvent, CgroupCreate, CgroupRemove, Namespaces
from monitor.model.ids import CgroupId, TaskFacts, Tgid
from monitor.runtime.tagging import CHECKS_PER_S, FULL_CHECK_EVERY_NS, SETTLE_NS, Tagging
from tests.support import make
from tests.support.cgroup_hosts import CONTAINER, CgroupHost

OTHER_MOUNTS = 2
LATER = 200 * make.SECOND


class Kernel:
    """Stands for the sensors: remembers what it was told, and has the tasks that a test says."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.tasks: list[TaskFacts] = []

    def read_tasks(self) -> list[TaskFacts]:
        return self.tasks

    def set_tag_hierarchy(self, hierarchy: TagHierarchy) -> None:
        self.told.append((hierarchy.controller, hierarchy.hierarchy_id))


class Scene:
    """A host with cgroup2 and v1 pids, and what was fed to the engine."""

    def __init__(self, folder: Path, *filesystems: str) -> None:
        self.host = CgroupHost(folder)
        for filesystem in filesystems:
            self.host.mount(filesystem, "rw,pids")
        self.kernel = Kernel()
        self.fed: list[AnyEvent] = []
        self.containers: set[int] = set()
        self.tagging = Tagging(
            self.host.find(), self.kernel, self.fed.append, lambda number: number not in self.containers,
            proc=self.host.proc,
        )  # fmt: skip

    def exec(self, tgid: int, ktime_ns: int = make.SECOND, mounts: int = OTHER_MOUNTS) -> AnyEvent | None:
        namespaces = Namespaces(mnt=mounts)
        return self.tagging.admit(make.exec("/bin/sh", tgid=tgid, ktime_ns=ktime_ns, namespaces=namespaces))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, "cgroup2", "cgroup")


def test_a_host_without_a_choice_is_not_watched(tmp_path: Path) -> None:
    assert not Scene(tmp_path / "two", "cgroup2").tagging.is_watching
    assert not Scene(tmp_path / "one", "cgroup").tagging.is_watching


def test_an_exec_in_a_container_of_v1_changes_the_hierarchy_and_gets_its_tag(scene: Scene) -> None:
    (scene.host.pids / "docker" / CONTAINER).mkdir(parents=True)
    (scene.host.cgroup2 / "old").mkdir()
    scene.host.add_process("7", {"8:pids": f"/docker/{CONTAINER}"}, OTHER_MOUNTS)
    own = CgroupId((8 << 40) + 5)
    scene.kernel.tasks = [TaskFacts(Tgid(7), 10_000, 2, own, Tgid(0), 0)]

    seen = scene.exec(7)

    assert scene.kernel.told == [("pids", 8)]
    assert scene.tagging.hierarchy.name == "v1 pids"
    assert getattr(seen, "cgroup_id", None) == own
    created = [event.path for event in scene.fed if isinstance(event, CgroupCreate)]
    removed = [event.path for event in scene.fed if isinstance(event, CgroupRemove)]
    assert created == ["/", "/docker", f"/docker/{CONTAINER}"]
    assert removed == ["/", "/old"]


def test_what_is_told_of_the_old_hierarchy_is_kept_out_until_the_rings_are_empty_of_it(scene: Scene) -> None:
    scene.host.add_process("7", {"8:pids": f"/docker/{CONTAINER}"}, OTHER_MOUNTS)
    scene.kernel.tasks = [TaskFacts(Tgid(7), 10_000, 2, CgroupId((8 << 40) + 5), Tgid(0), 0)]
    scene.exec(7)
    old, new = (CgroupCreate(1, CgroupId(number), "/docker/x") for number in (5, (8 << 40) + 5))

    assert scene.tagging.admit(old) is None
    assert scene.tagging.admit(new) is new
    assert scene.tagging.is_watching
    scene.tagging.on_tick(scene.tagging._settled_ktime_ns + SETTLE_NS)
    assert not scene.tagging.is_watching


@pytest.mark.parametrize("mounts", [1, OTHER_MOUNTS])
def test_an_exec_of_the_host_changes_nothing(scene: Scene, mounts: int) -> None:
    scene.host.add_process("7", {}, mounts)

    assert scene.exec(7, mounts=mounts) is not None
    assert scene.kernel.told == []


def test_a_container_that_cgroup2_knows_is_not_looked_at(scene: Scene) -> None:
    scene.host.add_process("7", {"8:pids": f"/docker/{CONTAINER}"}, OTHER_MOUNTS)
    scene.containers = {make.HOST_CGROUP}

    scene.exec(7)

    assert scene.kernel.told == []


def test_who_makes_namespaces_hides_a_container_for_seconds_at_most(scene: Scene) -> None:
    scene.tagging.on_tick(make.SECOND)
    for number in range(CHECKS_PER_S):
        scene.host.add_process(str(100 + number), {}, 100 + number)
        scene.exec(100 + number, mounts=100 + number)
    scene.host.add_process("7", {"8:pids": f"/docker/{CONTAINER}"}, OTHER_MOUNTS)
    scene.exec(7)
    assert scene.kernel.told == []

    scene.tagging.on_tick(2 * make.SECOND)
    assert scene.kernel.told == []
    scene.tagging.on_tick(make.SECOND + FULL_CHECK_EVERY_NS)
    assert scene.kernel.told == [("pids", 8)]


def test_a_process_that_has_ended_is_made_up_for_by_a_look_at_all(scene: Scene) -> None:
    scene.tagging.on_tick(make.SECOND)
    scene.exec(404)
    scene.host.add_process("7", {"8:pids": f"/docker/{CONTAINER}"}, OTHER_MOUNTS)

    scene.tagging.on_tick(LATER)

    assert scene.kernel.told == [("pids", 8)]


def test_a_container_from_before_the_first_tick_is_found(scene: Scene) -> None:
    scene.host.add_process("7", {"8:pids": f"/docker/{CONTAINER}"}, OTHER_MOUNTS)

    scene.tagging.on_tick(1)

    assert scene.kernel.told == [("pids", 8)]


def test_a_hierarchy_that_cannot_be_read_is_left_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.host.add_process("7", {"8:pids": f"/docker/{CONTAINER}"}, OTHER_MOUNTS)

    def fail() -> list[TaskFacts]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(scene.kernel, "read_tasks", fail)
    scene.exec(7)

    assert scene.kernel.told == [("pids", 8), ("", 0)]
    assert scene.tagging.hierarchy.name == "cgroup2"
    assert not scene.tagging.is_watching
