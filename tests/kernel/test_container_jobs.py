"""Freeze, thaw and kill, step by step, on cgroups that the test made: what the kernel may do in between."""

import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.host.cgroup_folders import CgroupFolders
from monitor.host.cgroups import find_tag_hierarchy
from monitor.model.ids import CgroupId
from monitor.model.responses import DONE, FAILED, UNCHANGED
from monitor.responders import freezer
from monitor.responders.container_jobs import fail, freeze_container, kill_container, thaw_container
from monitor.responders.frozen import FrozenBook
from monitor.responders.ports import Host
from monitor.responders.worker import ResponseWorker
from tests.support.own_cgroups import (
    NAME,
    Group,
    assert_freezes_and_thaws,
    assert_kills_all,
    state_of,
    try_rmdir,
)
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
def group() -> Iterator[Group]:
    """On cgroup2."""
    made = Group(("cgroup2",))
    yield made
    made.remove()


class TestFreeze:
    def test_and_thaw(self, host: Host, book: FrozenBook, group: Group) -> None:
        assert_freezes_and_thaws(host, book, group, "cgroup.events", "frozen 1")

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


class TestKill:
    def test_all_of_it(self, host: Host, book: FrozenBook, group: Group) -> None:
        assert_kills_all(host, book, group)

    def test_an_empty_one(self, host: Host, book: FrozenBook, group: Group) -> None:
        outcome = finish(kill_container(host, book, group.order("kill")))
        assert (outcome.result, outcome.note) == (UNCHANGED, "no process was left in it")


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
    wait_until(lambda: state_of(process) == "S", "the sleep")  # it may have started just now


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
    assert time.monotonic() - begin > 0.9
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
