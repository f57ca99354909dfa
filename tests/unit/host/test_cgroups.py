"""Which hierarchy tags containers, on hosts made of files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.host import cgroups
from monitor.host.cgroups import (
    CgroupSupportError,
    TagHierarchy,
    find_alternative,
    find_host_mount_namespaces,
    find_tag_hierarchy,
    parse_memberships,
    read_memberships,
    recheck_hierarchy,
    walk_cgroups,
)
from tests.support.cgroup_hosts import CONTAINER, CgroupHost


@pytest.fixture
def host(tmp_path: Path) -> CgroupHost:
    return CgroupHost(tmp_path)


def test_cgroup2_alone(host: CgroupHost) -> None:
    host.mount("cgroup2")

    found = host.find()

    assert (found.kind, found.mount, found.hierarchy_id, found.controller) == ("cgroup2", host.cgroup2, 0, "")


def test_hybrid_without_containers_is_cgroup2(host: CgroupHost) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")

    assert host.find().kind == "cgroup2"


def test_v1_alone_gives_controller_and_number(host: CgroupHost) -> None:
    host.mount("cgroup", "rw,pids")

    found = host.find()

    assert (found.kind, found.mount, found.hierarchy_id, found.controller) == ("v1", host.pids, 8, "pids")


def test_v1_without_pids_takes_memory(host: CgroupHost) -> None:
    host.mount("cgroup", "rw,memory")

    assert (host.find().controller, host.find().hierarchy_id) == ("memory", 4)


def test_a_container_known_to_v1_only_decides(host: CgroupHost) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    host.add_process("5", {"8:pids": f"/docker/{CONTAINER}"})

    assert host.find().kind == "v1"


def test_a_container_known_to_both_does_not(host: CgroupHost) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    host.add_process("5", {"8:pids": f"/docker/{CONTAINER}", "0:": f"/docker/{CONTAINER}"})

    assert host.find().kind == "cgroup2"


def test_what_a_container_makes_inside_itself_does_not_sway(host: CgroupHost) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    host.add_process("5", {"8:pids": f"/docker/{CONTAINER}/{'cd' * 32}", "0:": f"/docker/{CONTAINER}"})

    assert host.find().kind == "cgroup2"


def test_a_free_name_decides_in_another_mount_namespace_only(host: CgroupHost) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    host.add_process("5", {"8:pids": "/of-an-administrator"})
    assert host.find().kind == "cgroup2"

    host.add_process("6", {"8:pids": "/of-plain-runc"}, mount_namespace=2)
    assert host.find().kind == "v1"


def test_the_first_container_can_change_the_choice(host: CgroupHost) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    chosen = host.find()
    host.add_process("5", {"8:pids": f"/docker/{CONTAINER}"})
    host.add_process("6", {})

    assert recheck_hierarchy(chosen, [6], host.proc) == chosen
    assert recheck_hierarchy(chosen, [5], host.proc).kind == "v1"
    assert recheck_hierarchy(chosen, None, host.proc).kind == "v1"
    assert recheck_hierarchy(host.find(), [6], host.proc).kind == "v1"
    assert recheck_hierarchy(chosen, [404], host.proc) == chosen


@pytest.mark.parametrize("cgroup2", ["/", "/system.slice/containerd.service"])
def test_a_container_that_stays_in_its_daemons_cgroup2_is_one_of_v1(host: CgroupHost, cgroup2: str) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    host.add_process("6", {"8:pids": "/of-plain-runc", "0:": cgroup2}, mount_namespace=2)

    assert host.find().kind == "v1"


@pytest.mark.parametrize("pids", ["/", "/system.slice", "/system.slice/web.service"])
def test_a_service_with_mounts_of_its_own_is_no_container(host: CgroupHost, pids: str) -> None:
    """A service manager puts it at the same place in v1, or above where it has not switched the controller on."""
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    host.add_process("6", {"8:pids": pids, "0:": "/system.slice/web.service"}, mount_namespace=2)

    assert host.find().kind == "cgroup2"


def test_a_hardened_service_takes_no_host_process_for_a_container(host: CgroupHost) -> None:
    """Its own mount namespace is not the host's."""
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    (host.proc / "self/ns/mnt").unlink()
    (host.proc / "self/ns/mnt").symlink_to("mnt:[9]")
    host.add_process("6", {"8:pids": "/user"})

    assert host.find().kind == "cgroup2"
    assert find_host_mount_namespaces(host.proc) == {1, 9}


def test_only_cgroup2_has_an_alternative(host: CgroupHost) -> None:
    host.mount("cgroup2")
    assert find_alternative(host.find(), host.proc) is None

    host.mount("cgroup", "rw,pids")
    found = find_alternative(host.find(), host.proc)
    assert found is not None
    assert found.name == "v1 pids"
    assert find_alternative(found, host.proc) is None


def test_ids_of_different_hierarchies_never_meet(host: CgroupHost) -> None:
    host.mount("cgroup2")
    host.mount("cgroup", "rw,pids")
    two = host.find()
    one = find_alternative(two, host.proc)
    assert one is not None

    assert two.build_id(77) == 77
    assert one.build_id(77) != 77
    assert one.is_of(one.build_id(77))
    assert not one.is_of(two.build_id(77))
    assert one.build_id(77) < 1 << 53, "a double holds it"


def test_nothing_mounted_says_what_to_do(host: CgroupHost) -> None:
    (host.proc / "self/mountinfo").write_text("")

    with pytest.raises(CgroupSupportError, match="mount -t cgroup2"):
        host.find()


def test_a_part_of_the_tree_is_told(host: CgroupHost) -> None:
    host.mount("cgroup2", root="/docker/abc")
    (host.cgroup2 / "below").mkdir()

    found = host.find()

    assert (found.is_whole, found.prefix) == (False, "/docker/abc")
    assert [event.path for event in walk_cgroups(found)] == ["/docker/abc", "/docker/abc/below"]


@pytest.mark.parametrize("root", ["/", "/..", "/../other"])
def test_the_root_of_a_namespace_is_no_prefix(host: CgroupHost, root: str) -> None:
    host.mount("cgroup2", root=root)

    assert host.find().prefix == ""


def hierarchy_at(mount: Path) -> TagHierarchy:
    return TagHierarchy("cgroup2", mount, 0, "")


def test_the_walk_goes_from_parents_to_children(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "d").mkdir()
    (tmp_path / "cgroup.procs").touch()
    (tmp_path / "link").symlink_to("a")

    events = list(walk_cgroups(hierarchy_at(tmp_path)))

    assert events[0].path == "/"
    assert sorted(event.path for event in events) == ["/", "/a", "/a/b", "/a/b/c", "/d"]
    paths = [event.path for event in events]
    assert paths.index("/a") < paths.index("/a/b") < paths.index("/a/b/c")
    assert {event.path: event.cgroup_id for event in events}["/a/b"] == (tmp_path / "a/b").stat().st_ino


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "a\nb").mkdir()
    (Path(str(tmp_path)) / "x\udcff").mkdir()

    assert sorted(event.path for event in walk_cgroups(hierarchy_at(tmp_path))) == ["/", "/a\nb", "/x\\xff"]


def test_a_tree_deeper_than_any_path_is_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(40):
        Path("n" * 200).mkdir()
        monkeypatch.chdir("n" * 200)
    monkeypatch.chdir(tmp_path)

    assert max(len(event.path) for event in walk_cgroups(hierarchy_at(tmp_path))) == 40 * 201


def test_the_depth_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a/a/a/a").mkdir(parents=True)
    monkeypatch.setattr(cgroups, "_DEPTH_MAX", 2)

    assert len(list(walk_cgroups(hierarchy_at(tmp_path)))) == 3


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_walk_that_is_abandoned_leaves_no_descriptor(tmp_path: Path, steps: int) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    before = sorted(fd.name for fd in Path("/proc/self/fd").iterdir())

    walk = walk_cgroups(hierarchy_at(tmp_path))
    for _ in range(steps):
        next(walk)
    del walk

    assert sorted(fd.name for fd in Path("/proc/self/fd").iterdir()) == before


def test_memberships() -> None:
    text = b"9:name=systemd:/x\n3:cpu,cpuacct:/with:colon\n0::/two\n"

    assert list(parse_memberships(text)) == [
        (9, ("name=systemd",), "/x"),
        (3, ("cpu", "cpuacct"), "/with:colon"),
        (0, ("",), "/two"),
    ]


def test_our_own_cgroup_is_found() -> None:
    assert read_memberships(1)[find_tag_hierarchy().controller].startswith("/")


def test_a_process_that_is_gone_has_no_cgroup(tmp_path: Path) -> None:
    assert read_memberships(404, tmp_path) == {}


@given(st.binary())
def test_any_bytes_are_memberships(content: bytes) -> None:
    list(parse_memberships(content))
