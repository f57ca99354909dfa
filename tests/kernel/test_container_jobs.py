"""Freeze, thaw and kill, step by step, on cgroups that the test made: what the kernel may do in between."""

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.host.cgroup_folders import CgroupFolders
from monitor.host.cgroups import TagHierarchy, find_tag_hierarchy
from monitor.host.mounts import read_mounts
from monitor.model.container import Container
from monitor.model.ids import CgroupId
from monitor.model.responses import COMMAND, DONE, FAILED, UNCHANGED, Order
from monitor.responders import freezer
from monitor.responders.container_jobs import fail, freeze_container, kill_container, thaw_container
from monitor.responders.frozen import FrozenBook
from monitor.responders.ports import Host
from monitor.responders.worker import ResponseWorker
from tests.support.response_hosts import build_host, finish
from tests.support.responses import wait_until

pytestmark = pytest.mark.kernel

NAME = f"stockade-test-{os.getpid()}"


def find_mount(kind: str) -> Path | None:
    """Of cgroup2 (``cgroup2``) or a v1 controller."""
    for mount in read_mounts():
        if mount.filesystem == "cgroup2" == kind or (mount.filesystem == "cgroup" and kind in mount.options):
            return mount.point
    return None


class Group:
    """A cgroup of ours, in one hierarchy or in several."""

    def __init__(self, kinds: tuple[str, ...], name: str = NAME) -> None:
        mounts = [find_mount(kind) for kind in kinds]
        if None in mounts:
            pytest.skip(f"this machine has no {' and '.join(kinds)} hierarchies")
        self.folders = [mount / name for mount in mounts if mount]
        for folder in self.folders:
            folder.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        number = 0 if kinds[0] == "cgroup2" else read_hierarchy_id(kinds[0])
        hierarchy = TagHierarchy("cgroup2", self.folders[0].parent, number, "")
        self.cgroup_id: CgroupId = hierarchy.build_id(self.folders[0].stat().st_ino)

    @property
    def container(self) -> Container:
        return Container(NAME, "runc", self.cgroup_id, f"/{NAME}")

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A process in all of it."""
        script = "".join(f"echo $$ > {folder}/cgroup.procs && " for folder in self.folders) + 'exec "$@"'
        process = subprocess.Popen(["sh", "-c", script, "sh", *command])
        self._processes.append(process)
        number = str(process.pid)
        wait_until(lambda: number in (self.folders[-1] / "cgroup.procs").read_text().split(), "the process")
        return process

    def order(self, action: str, **more: object) -> Order:
        return Order(1, action, "container", NAME, self.container, asked_by=COMMAND, **more)  # type: ignore[arg-type]

    def thaw(self) -> None:
        for folder in self.folders:
            for name, text in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
                if (folder / name).exists():
                    (folder / name).write_text(text)

    def remove(self) -> None:
        self.thaw()
        for process in self._processes:
            process.kill()
            process.wait()
        for folder in self.folders:
            if folder.exists():
                wait_until(lambda folder=folder: try_rmdir(folder), f"{folder} to be empty")  # type: ignore[misc]


def try_rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def read_hierarchy_id(controller: str) -> int:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next(int(line.split(":")[0]) for line in lines if controller in line.split(":")[1].split(","))


@pytest.fixture
def host() -> Host:
    return build_host()


@pytest.fixture
def book(tmp_path: Path) -> FrozenBook:
    return FrozenBook(tmp_path, "boot")


@pytest.fixture
def group() -> Iterator[Group]:
    """On cgroup2."""
    made = Group(("cgroup2",))
    yield made
    made.remove()


@pytest.fixture
def v1_group() -> Iterator[Group]:
    made = Group(("pids", "freezer"))
    yield made
    made.remove()


def state_of(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


class TestFreeze:
    def test_and_thaw_on_each_freezer(self, host: Host, book: FrozenBook) -> None:
        for kinds, file, frozen in (
            (("cgroup2",), "cgroup.events", "frozen 1"),
            (("pids", "freezer"), "freezer.state", "FROZEN"),
        ):
            group = Group(kinds)
            try:
                group.start("sleep", "300")
                outcome = finish(freeze_container(host, book, group.order("freeze", for_s=60.0)))
                assert (outcome.result, outcome.processes, outcome.note) == (DONE, 1, "")
                assert frozen in (group.folders[-1] / file).read_text()
                assert book.entries[0].until_boottime_ns - book.entries[0].since_boottime_ns == 60 * 10**9
                outcome = finish(thaw_container(host, book, group.order("thaw")))
                assert (outcome.result, outcome.note) == (DONE, "")
                assert frozen not in (group.folders[-1] / file).read_text()
                assert book.entries == ()
            finally:
                group.remove()

    def test_one_that_is_gone(self, host: Host, book: FrozenBook, group: Group) -> None:
        order = group.order("freeze")
        group.remove()
        with pytest.raises(FileNotFoundError) as caught:
            finish(freeze_container(host, book, order))
        outcome = fail(order, caught.value)
        assert (outcome.result, outcome.note) == (UNCHANGED, "it has ended (the cgroup has been removed)")

    def test_one_without_processes(self, host: Host, book: FrozenBook, group: Group) -> None:
        with pytest.raises(FileNotFoundError, match="no process is left in it"):
            finish(freeze_container(host, book, group.order("freeze")))
        assert book.entries == ()

    def test_one_that_vanishes_half_way(self, host: Host, book: FrozenBook, group: Group) -> None:
        """Between the look for its freezer and the freezing."""
        process = group.start("sleep", "300")

        class Vanishing(CgroupFolders):
            def find_freezer(self, cgroup_id: CgroupId) -> CgroupId:
                found = super().find_freezer(cgroup_id)
                process.kill()
                process.wait()
                wait_until(lambda: try_rmdir(group.folders[0]), "the cgroup's end")
                return found

        order = group.order("freeze")
        with pytest.raises(FileNotFoundError) as caught:
            finish(freeze_container(host._replace(folders=Vanishing()), book, order))
        assert fail(order, caught.value).result == UNCHANGED
        assert book.entries == ()

    def test_one_that_ends_while_it_is_frozen(self, host: Host, book: FrozenBook, group: Group) -> None:
        process = group.start("sleep", "300")
        assert finish(freeze_container(host, book, group.order("freeze"))).result == DONE
        process.kill()
        process.wait()
        wait_until(lambda: try_rmdir(group.folders[0]), "the cgroup's end")

        outcome = finish(thaw_container(host, book, group.order("thaw")))
        assert (outcome.result, outcome.note) == (UNCHANGED, "it ended while it was frozen")
        assert book.entries == ()

    def test_one_that_somebody_else_froze(self, host: Host, book: FrozenBook, group: Group) -> None:
        group.start("sleep", "300")
        (group.folders[0] / "cgroup.freeze").write_text("1")

        outcome = finish(freeze_container(host, book, group.order("freeze")))
        assert (outcome.result, outcome.note) == (UNCHANGED, "it is frozen already, and not by stockade (paused?)")
        outcome = finish(thaw_container(host, book, group.order("thaw")))
        assert outcome.result == UNCHANGED
        assert outcome.note.startswith("it is frozen, but not by stockade: thaw it with what froze it")

    def test_a_busy_kernel_is_asked_again(
        self, host: Host, book: FrozenBook, group: Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        group.start("sleep", "300")
        write, refusals = freezer.write_file, [errno.EBUSY, errno.EAGAIN]

        def refuse_twice(folder: int, name: str, text: str) -> None:
            if refusals:
                raise OSError(refusals.pop(), "busy")
            write(folder, name, text)

        monkeypatch.setattr(freezer, "write_file", refuse_twice)
        assert finish(freeze_container(host, book, group.order("freeze"))).result == DONE
        assert not refusals

    def test_what_cannot_be_frozen_is_not_in_the_book(
        self, host: Host, book: FrozenBook, group: Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        group.start("sleep", "300")

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(freezer, "write_file", refuse)
        with pytest.raises(PermissionError) as caught:
            finish(freeze_container(host, book, group.order("freeze")))
        assert book.entries == ()
        outcome = fail(group.order("freeze"), caught.value)
        assert outcome.result == FAILED
        assert "CAP_DAC_OVERRIDE" in outcome.note

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
            assert (state_of(inside), state_of(entering)) == ("D", "S")
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
    @pytest.mark.parametrize("kinds", [("cgroup2",), ("pids", "freezer"), ("pids",)])
    def test_all_of_it_whatever_the_hierarchy(self, host: Host, book: FrozenBook, kinds: tuple[str, ...]) -> None:
        group = Group(kinds)
        try:
            group.start("sh", "-c", "for i in 1 2 3 4; do sleep 300 & done; wait")
            wait_until(lambda: len((group.folders[0] / "cgroup.procs").read_text().split()) == 5, "five processes")
            outcome = finish(kill_container(host, book, group.order("kill")))
            assert (outcome.result, outcome.processes, outcome.note) == (DONE, 5, "")
            for folder in group.folders:
                assert "frozen 1" not in read(folder / "cgroup.events")
                assert read(folder / "freezer.state") in ("", "THAWED\n")
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

    def test_an_empty_one(self, host: Host, book: FrozenBook, group: Group) -> None:
        outcome = finish(kill_container(host, book, group.order("kill")))
        assert (outcome.result, outcome.note) == (UNCHANGED, "no process was left in it")


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_container_that_the_monitor_runs_in_is_left_alone(book: FrozenBook, group: Group, tmp_path: Path) -> None:
    """Through the worker, as a verdict comes: neither frozen nor killed, and said."""
    process = group.start("sleep", "300")
    host = build_host()._replace(own_tgid=process.pid)
    outcomes = []
    worker = ResponseWorker(host, book, outcomes.append)
    worker.start()
    for action in ("freeze", "kill"):
        assert worker.submit(group.order(action))
    wait_until(lambda: len(outcomes) == 2, "the outcomes")
    worker.stop()

    assert [(each.result, each.note) for each in outcomes] == [(FAILED, "the monitor itself runs in it")] * 2
    assert state_of(process) == "S"


def test_orders_about_one_container_are_carried_out_one_after_the_other(book: FrozenBook, group: Group) -> None:
    group.start("sleep", "300")
    outcomes = []
    worker = ResponseWorker(build_host(), book, outcomes.append)
    for number, action in enumerate(("freeze", "thaw", "freeze", "kill")):
        worker.submit(group.order(action)._replace(number=number))
    worker.start()
    wait_until(lambda: len(outcomes) == 4, "the outcomes")
    worker.stop()

    assert [(each.order.action, each.result) for each in outcomes] == [
        ("freeze", DONE),
        ("thaw", DONE),
        ("freeze", DONE),
        ("kill", DONE),
    ]
    assert book.entries == ()


def test_a_deadline_thaws_and_a_worker_that_stops_does_not(book: FrozenBook, group: Group) -> None:
    process = group.start("sleep", "300")
    outcomes = []
    worker = ResponseWorker(build_host(), book, outcomes.append)
    worker.start()
    begin = time.monotonic()
    worker.submit(group.order("freeze", for_s=1.0))
    wait_until(lambda: len(outcomes) == 2, "the thaw")
    assert 0.9 < time.monotonic() - begin < 4
    assert (outcomes[1].order.asked_by, outcomes[1].result) == ("deadline", DONE)
    worker.submit(group.order("freeze", for_s=1.0))
    wait_until(lambda: len(outcomes) == 3, "the second freeze")
    worker.stop()

    assert "frozen 1" in (group.folders[0] / "cgroup.events").read_text()
    assert [entry.container_id for entry in book.entries] == [NAME]
    assert process.poll() is None


def test_an_id_that_is_no_cgroup_is_gone() -> None:
    hierarchy = find_tag_hierarchy()
    with pytest.raises(FileNotFoundError, match="has been removed"):
        CgroupFolders().open(hierarchy.build_id(0xFFFFFFF))
