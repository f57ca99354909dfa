"""Freeze and kill on v1: the freezer is a hierarchy of its own, and the frozen do not die."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.model.responses import DONE
from monitor.responders.container_jobs import freeze_container, kill_container
from monitor.responders.frozen import FrozenBook
from monitor.responders.ports import Host
from tests.support.own_cgroups import NAME, Group, assert_freezes_and_thaws, assert_kills_all, state_of
from tests.support.response_hosts import build_host, finish
from tests.support.responses import wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture
def host() -> Host:
    return build_host()


@pytest.fixture
def book(tmp_path: Path) -> FrozenBook:
    return FrozenBook(tmp_path, "boot")


@pytest.fixture
def v1_group() -> Iterator[Group]:
    made = Group(("pids", "freezer"))
    yield made
    made.remove()


class TestFreeze:
    def test_and_thaw(self, host: Host, book: FrozenBook, v1_group: Group) -> None:
        assert_freezes_and_thaws(host, book, v1_group, "freezer.state", "FROZEN")

    def test_a_freezer_cgroup_that_others_share_is_refused(self, host: Host, book: FrozenBook) -> None:
        tagged, shared = Group(("pids",)), Group(("freezer",), f"{NAME}-shared")
        try:
            process = tagged.start("sleep", "300")
            (shared.folders[0] / "cgroup.procs").write_text(str(process.pid))
            other = shared.start("sleep", "300")
            with pytest.raises(OSError, match=f"others share its freezer cgroup .process {other.pid}."):
                finish(freeze_container(host, book, tagged.order("freeze")))
            assert state_of(other) == "S"
        finally:
            shared.thaw()
            tagged.remove()
            shared.remove()

    def test_a_task_that_is_still_entering_does_not_stand_in_the_way(
        self, host: Host, book: FrozenBook, v1_group: Group
    ) -> None:
        """A runtime joins one hierarchy after another: in the tag's already, not yet in the freezer's."""
        inside = v1_group.start("sleep", "300")
        entering = subprocess.Popen(["sleep", "300"])
        try:
            (v1_group.folders[0] / "cgroup.procs").write_text(str(entering.pid))
            assert finish(freeze_container(host, book, v1_group.order("freeze"))).result == DONE
            assert (state_of(inside), state_of(entering) in {"R", "S"}) == ("D", True)
            (v1_group.folders[1] / "cgroup.procs").write_text(str(entering.pid))
            wait_until(lambda: state_of(entering) == "D", "it to be frozen as it enters")
        finally:
            v1_group.thaw()
            entering.kill()
            entering.wait()

    def test_one_without_a_cgroup_in_the_freezer_is_refused(self, host: Host, book: FrozenBook) -> None:
        group = Group(("pids",))
        try:
            group.start("sleep", "300")
            with pytest.raises(OSError, match="no cgroup of its own in the v1 freezer"):
                finish(freeze_container(host, book, group.order("freeze")))
        finally:
            group.remove()


class TestKill:
    @pytest.mark.parametrize("kinds", [("pids", "freezer"), ("pids",)])
    def test_all_of_it_with_a_freezer_and_without(self, host: Host, book: FrozenBook, kinds: tuple[str, ...]) -> None:
        group = Group(kinds)
        try:
            assert_kills_all(host, book, group)
        finally:
            group.remove()

    def test_cgroups_below_it_too(self, host: Host, book: FrozenBook, v1_group: Group) -> None:
        process = v1_group.start("sleep", "300")
        below = v1_group.folders[0] / "below"
        below.mkdir()
        try:
            (below / "cgroup.procs").write_text(str(process.pid))
            assert finish(kill_container(host, book, v1_group.order("kill"))).processes == 1
            assert process.wait(5) == -9
        finally:
            below.rmdir()
