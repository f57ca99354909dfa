"""The cgroup table: whose cgroup it is, what the kernel and the runtimes' clients are told, bounds."""

import pytest

from monitor.engine.containers import ContainerTable
from monitor.model.effects import Effect, ResolveContainer, TagCgroup, UntagCgroup
from monitor.model.events import ContainerResolved
from monitor.model.ids import CgroupId
from tests.support import make

A = make.CONTAINER_ID
B = "b2" * 32


@pytest.fixture
def table() -> ContainerTable:
    return ContainerTable(64, 30 * make.SECOND)


def create(table: ContainerTable, path: str, number: int) -> list[Effect]:
    effects: list[Effect] = []
    table.create(CgroupId(number), path, effects)
    return effects


def owner(table: ContainerTable, number: int) -> str | None:
    cgroup = table.find_cgroup(number)
    assert cgroup is not None
    return None if cgroup.container is None else cgroup.container.id


def test_a_new_container_is_tagged_and_its_runtime_asked_once(table: ContainerTable) -> None:
    effects = create(table, f"/docker/{A}", 10)
    below = create(table, f"/docker/{A}/sub", 11)

    assert effects == [
        ResolveContainer(make.container(cgroup_id=CgroupId(10))),
        TagCgroup(CgroupId(10), True),
    ]
    assert below == [TagCgroup(CgroupId(11), True)]
    assert owner(table, 11) == A


def test_a_host_cgroup_is_tagged_as_the_hosts(table: ContainerTable) -> None:
    assert create(table, "/system.slice/cron.service", 5) == [TagCgroup(CgroupId(5), False)]
    assert owner(table, 5) is None


def test_what_a_runtime_inside_makes_is_nested_and_never_a_container_of_its_own(table: ContainerTable) -> None:
    create(table, f"/docker/{A}", 10)
    effects = create(table, f"/docker/{A}/docker/{B}", 12)

    cgroup = table.find_cgroup(12)
    assert cgroup is not None
    assert cgroup.container is not None
    assert (cgroup.container.id, cgroup.container.nested_id) == (A, B)
    assert not any(isinstance(effect, ResolveContainer) for effect in effects)
    assert [one.id for one in table.containers()] == [A]


def test_a_child_seen_before_its_containers_own_cgroup_finds_it(table: ContainerTable) -> None:
    create(table, f"/docker/{A}/sub", 11)
    create(table, f"/docker/{A}", 10)

    known = table.find_container(A)
    assert known is not None
    assert known.cgroup_id == 10
    assert owner(table, 11) == A


def test_a_promoted_cgroup_takes_all_below_with_it(table: ContainerTable) -> None:
    for path, number in (("/web", 20), ("/web/sub", 21), ("/webber", 22)):
        create(table, path, number)
    effects: list[Effect] = []

    table.promote(CgroupId(20), "runc", effects)

    assert {effect for effect in effects if isinstance(effect, TagCgroup)} == {
        TagCgroup(CgroupId(20), True),
        TagCgroup(CgroupId(21), True),
    }
    assert (owner(table, 20), owner(table, 21), owner(table, 22)) == ("web", "web", None)
    assert create(table, "/web/later", 23) == [TagCgroup(CgroupId(23), True)]


def test_two_free_names_that_are_equal_are_two_containers(table: ContainerTable) -> None:
    create(table, "/a/web", 20)
    create(table, "/b/web", 21)
    effects: list[Effect] = []
    table.promote(CgroupId(20), "runc", effects)
    table.promote(CgroupId(21), "runc", effects)

    assert (owner(table, 20), owner(table, 21)) == ("web", "b/web")


def test_a_name_reaches_every_cgroup_of_the_container(table: ContainerTable) -> None:
    create(table, f"/docker/{A}", 10)
    create(table, f"/docker/{A}/docker/{B}", 12)

    table.resolve(ContainerResolved(0, A, "web", "nginx:1.27", (("team", "shop"),)))

    for number, nested in ((10, ""), (12, B)):
        cgroup = table.find_cgroup(number)
        assert cgroup is not None
        assert cgroup.container is not None
        assert (cgroup.container.name, cgroup.container.pending, cgroup.container.nested_id) == ("web", False, nested)


def test_an_answer_about_an_unknown_container_is_ignored(table: ContainerTable) -> None:
    assert table.resolve(ContainerResolved(0, "none", "web", "nginx")) is None


def test_a_removed_cgroup_is_untagged_at_once_and_remembered_a_while(table: ContainerTable) -> None:
    create(table, f"/docker/{A}", 10)
    effects: list[Effect] = []
    table.remove(CgroupId(10), make.SECOND, effects)

    assert effects == [UntagCgroup(CgroupId(10))]
    assert owner(table, 10) == A
    table.expire(31 * make.SECOND, 100)
    assert table.find_cgroup(10) is None
    assert table.containers() == []


def test_a_restarted_container_is_the_same_one(table: ContainerTable) -> None:
    create(table, f"/docker/{A}", 10)
    table.resolve(ContainerResolved(0, A, "web", "nginx"))
    table.remove(CgroupId(10), make.SECOND, [])
    create(table, f"/docker/{A}", 30)
    table.expire(60 * make.SECOND, 100)

    known = table.find_container(A)
    assert known is not None
    assert (known.cgroup_id, known.name) == (30, "web")


def test_a_container_that_makes_cgroups_without_end_stays_one_container(table: ContainerTable) -> None:
    create(table, f"/docker/{A}", 10)
    for number in range(1_000):
        create(table, f"/docker/{A}/x{number}", 100 + number)

    assert len(table) <= 256
    assert owner(table, 10) == A
    assert table.cgroups_evicted > 700


def test_containers_are_bounded(table: ContainerTable) -> None:
    for number in range(200):
        create(table, f"/docker/{number:064x}", 100 + number)

    assert table.container_count == 64
    assert table.containers_evicted == 136
