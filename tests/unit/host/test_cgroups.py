"""Which hierarchy tags containers, on hosts made of files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.host import cgroups
from monitor.host.cgroups import (
    CgroupSupportError,
    TagHierarchy,
    find_cgroup_path,
    find_tag_hierarchy,
    parse_memberships,
    read_memberships,
    recheck_hierarchy,
    walk_cgroups,
)

CONTAINER = "ab" * 32


class Host:
    """A ``/proc`` and cgroup mounts in a folder. Its cgroup roots have inode numbers of a part of a tree."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.cgroup2 = folder / "cgroup2"
        self.pids = folder / "pids"
        self.lines: list[str] = []
        self.add_process("self", {})

    def mount(self, filesystem: str, options: str = "rw", root: str = "/") -> Path:
        point = self.cgroup2 if filesystem == "cgroup2" else self.pids
        point.mkdir(exist_ok=True)
        self.lines.append(f"31 23 0:28 {root} {point} rw,relatime - {filesystem} {filesystem} {options}\n")
        (self.proc / "self/mountinfo").write_text("".join(self.lines))
        return point

    def add_process(self, name: str, paths: dict[str, str], mount_namespace: int = 1) -> None:
        folder = self.proc / name
        (folder / "ns").mkdir(parents=True)
        lines = {"8:pids": "/", "4:memory": "/", "0:": "/"} | paths
        (folder / "cgroup").write_text("".join(f"{key}:{path}\n" for key, path in lines.items()))
        (folder / "ns/mnt").symlink_to(f"mnt:[{mount_namespace}]")
        (folder / "mountinfo").touch()

    def find(self) -> TagHierarchy:
        return find_tag_hierarchy(self.proc)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_cgroup2_alone(host: Host) -> None:
    host.mount("cgroup2")

    found = host.find()

    assert (found.kind, found.mount, found.hierarchy_id, found.controller) == ("cgroup2", host.cgroup2, 0, "")


def test_hybrid_without_containers_is_cgroup2(host: Host) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")

    assert host.find().kind == "cgroup2"


def test_v1_alone_gives_controller_and_number(host: Host) -> None:
    host.mount("cgroup", "rw,pids")

    found = host.find()

    assert (found.kind, found.mount, found.hierarchy_id, found.controller) == ("v1", host.pids, 8, "pids")


def test_v1_without_pids_takes_memory(host: Host) -> None:
    host.mount("cgroup", "rw,memory")

    assert (host.find().controller, host.find().hierarchy_id) == ("memory", 4)


def test_a_container_known_to_v1_only_decides(host: Host) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    host.add_process("5", {"8:pids": f"/docker/{CONTAINER}"})

    assert host.find().kind == "v1"


def test_a_container_known_to_both_does_not(host: Host) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    host.add_process("5", {"8:pids": f"/docker/{CONTAINER}", "0:": f"/docker/{CONTAINER}"})

    assert host.find().kind == "cgroup2"


def test_what_a_container_makes_inside_itself_does_not_sway(host: Host) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    host.add_process("5", {"8:pids": f"/docker/{CONTAINER}/{'cd' * 32}", "0:": f"/docker/{CONTAINER}"})

    assert host.find().kind == "cgroup2"


def test_a_free_name_decides_in_another_mount_namespace_only(host: Host) -> None:
    host.mount("cgroup", "rw,pids")
    host.mount("cgroup2")
    host.add_process("5", {"8:pids": "/of-an-administrator"})
    assert host.find().kind == "cgroup2"

    host.add_process("6", {"8:pids": "/of-plain-runc"}, mount_namespace=2)
    assert host.find().kind == "v1"


def test_the_first_container_can_change_the_choice(host: Host) -> None:
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


def test_nothing_mounted_says_what_to_do(host: Host) -> None:
    (host.proc / "self/mountinfo").write_text("")

    with pytest.raises(CgroupSupportError, match="mount -t cgroup2"):
        host.find()


def test_a_part_of_the_tree_is_told(host: Host) -> None:
    host.mount("cgroup2", root="/docker/abc")
    (host.cgroup2 / "below").mkdir()

    found = host.find()

    assert (found.is_whole, found.prefix) == (False, "/docker/abc")
    assert [event.path for event in walk_cgroups(found)] == ["/docker/abc", "/docker/abc/below"]


@pytest.mark.parametrize("root", ["/", "/..", "/../other"])
def test_the_root_of_a_namespace_is_no_prefix(host: Host, root: str) -> None:
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
    found = find_tag_hierarchy()
    path = find_cgroup_path(found, 1)

    assert path is not None
    assert path.startswith("/")


def test_a_process_that_is_gone_has_no_cgroup(tmp_path: Path) -> None:
    assert read_memberships(404, tmp_path) == {}
    assert find_cgroup_path(hierarchy_at(tmp_path), 404, tmp_path) is None


@given(st.binary())
def test_any_bytes_are_memberships(content: bytes) -> None:
    list(parse_memberships(content))
