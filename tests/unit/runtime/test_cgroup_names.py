"""How /proc shows a cgroup, in the host's view and in a cgroup namespace."""

from pathlib import Path

from monitor.host.cgroups import TagHierarchy
from monitor.runtime.cgroup_names import CgroupNames

WHOLE = TagHierarchy("cgroup2", Path("/sys/fs/cgroup"), 0, "")


def part(prefix: str = "") -> TagHierarchy:
    return TagHierarchy("cgroup2", Path("/sys/fs/cgroup"), 0, "", prefix, is_whole=False)


def show(proc: Path, path: str) -> None:
    (proc / "7").mkdir(exist_ok=True)
    (proc / "7" / "cgroup").write_text(f"0::{path}\n")


def test_the_whole_tree_is_shown_as_it_is(tmp_path: Path) -> None:
    names = CgroupNames(WHOLE, tmp_path)

    assert not names.learn("/docker/x", 7)
    assert names.show("/docker/x") == names.complete("/docker/x") == "/docker/x"


def test_a_part_that_says_where_it_is_mounted_from(tmp_path: Path) -> None:
    names = CgroupNames(part("/pod"), tmp_path)

    assert (names.show("/pod/docker/x"), names.show("/pod")) == ("/docker/x", "/")
    assert (names.complete("/docker/x"), names.complete("/")) == ("/pod/docker/x", "/pod")


def test_a_part_that_does_not_is_learnt_from_a_process(tmp_path: Path) -> None:
    names = CgroupNames(part(), tmp_path)
    assert not names.learn("/outer/x", 7), "it has ended"
    show(tmp_path, "/x/below")
    assert not names.learn("/outer/x", 7), "it is in a cgroup of its own"
    show(tmp_path, "/x")
    assert names.learn("/outer/x", 7)

    assert names.show("/outer/x") == "/x"
    assert names.complete("/x") == "/outer/x"
    assert not names.learn("/elsewhere/x", 7), "once"
