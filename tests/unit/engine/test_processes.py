"""The process table: ancestry, programs by number, any order of arrival, bounds."""

from sys import getsizeof
from typing import Any

import pytest

from monitor.engine import long_images, processes
from monitor.engine.earlier_images import IMAGE_BYTES
from monitor.engine.images import EMPTY_IMAGE, LONG_BYTES, SLIM_CHARS
from monitor.engine.processes import ProcessTable, image_at
from monitor.model.events import ProcessExec, ProcessExit, ProcessFork
from monitor.model.ids import ProcessKey, Tgid
from tests.support import make

KEEP_NS = 30 * make.SECOND
ROOM = 1 << 20


@pytest.fixture
def table() -> ProcessTable:
    return ProcessTable(1_000, ROOM, KEEP_NS)


def feed(table: ProcessTable, story: make.Story) -> None:
    for event in story.events:
        match event:
            case ProcessFork():
                table.fork(event)
            case ProcessExec():
                table.exec(event)
            case ProcessExit():
                table.exit(event)


def find(table: ProcessTable, actor: make.Actor) -> processes.Row:
    row = table.find(actor.tgid, actor.start)
    assert row is not None
    return row


def test_a_child_shares_its_parents_program_until_it_runs_another(table: ProcessTable) -> None:
    story = make.Story()
    nginx = story.run(story.actor(), "/usr/sbin/nginx")
    child = story.fork(nginx)
    feed(table, story)

    row = find(table, child)
    assert row.image is find(table, nginx).image
    assert row.parent_key == nginx.key

    table.exec(make.exec("/bin/sh", tgid=child.tgid, start_boottime_ns=child.start, exec_id=child.exec_id + 1))
    assert row.image.name == "sh"
    assert row.parent_image is not None
    assert row.parent_image.name == "nginx"


def test_a_double_fork_keeps_the_program_that_forked(table: ProcessTable) -> None:
    story = make.Story()
    nginx = story.run(story.actor(), "/usr/sbin/nginx")
    middle = story.fork(nginx)
    daemon = story.fork(middle)
    story.exit(middle)
    story.exec(daemon, "/tmp/implant", parent_tgid=1, parent_start_boottime_ns=1)
    feed(table, story)

    row = find(table, daemon)
    assert row.parent_key == middle.key
    assert row.parent_image is not None
    assert row.parent_image.executable == "/usr/sbin/nginx"
    assert row.ancestors[:2] == ("/usr/sbin/nginx", "/usr/sbin/nginx")


def test_the_parent_image_is_that_of_the_fork_and_not_of_today(table: ProcessTable) -> None:
    story = make.Story()
    parent = story.run(story.actor(), "/usr/bin/python3")
    child = story.fork(parent)
    story.exec(parent, "/usr/bin/sleep")
    story.exec(child, "/usr/bin/id")
    feed(table, story)

    assert find(table, child).parent_image.name == "python3"  # type: ignore[union-attr]
    assert find(table, parent).image.name == "sleep"


def test_an_event_finds_the_program_it_happened_in(table: ProcessTable) -> None:
    story = make.Story()
    actor = story.run(story.actor(), "/bin/one")
    story.exec(actor, "/bin/two")
    story.exec(actor, "/bin/three")
    feed(table, story)

    row = find(table, actor)
    assert [image_at(row, number).name for number in (2, 3, 4)] == ["one", "two", "three"]
    assert image_at(row, 9) is EMPTY_IMAGE


def run_many(table: ProcessTable, count: int, story: make.Story | None = None, **facts: Any) -> processes.Row:
    """One process that runs ``p0``, ``p1`` and so on, as its programs 2, 3..."""
    story = story or make.Story()
    actor = story.fork(story.actor(), **facts)
    for number in range(count):
        story.exec(actor, f"/bin/p{number}", **facts)
    feed(table, story)
    return find(table, actor)


def test_no_series_of_execs_is_too_quick_for_its_programs_to_be_known(table: ProcessTable) -> None:
    row = run_many(table, 400)

    assert [image_at(row, number + 2).name for number in (0, 1, 5, 200, 399)] == ["p0", "p1", "p5", "p200", "p399"]


def test_earlier_programs_are_bounded_by_what_they_take(table: ProcessTable) -> None:
    row = run_many(table, 1_500)

    assert image_at(row, 2) is EMPTY_IMAGE
    assert image_at(row, 1_501).name == "p1499"
    assert 400 < len(row.earlier_images or ()) < ROOM / IMAGE_BYTES
    assert table.images_forgotten == 1_499 + 1 - len(row.earlier_images or ())


def test_a_flood_costs_its_own_cgroup_its_earlier_programs(table: ProcessTable) -> None:
    story = make.Story()
    victim = run_many(table, 3, story, cgroup_id=7)
    run_many(table, 5_000, story, cgroup_id=666)

    assert [image_at(victim, number).name for number in (2, 3, 4)] == ["p0", "p1", "p2"]


def test_earlier_programs_are_forgotten_when_no_late_event_can_ask_for_them(table: ProcessTable) -> None:
    row = run_many(table, 50)
    last = row.image.exec.ktime_ns
    table.expire(last + KEEP_NS + make.SECOND, 10)
    assert image_at(row, 40).name == "p38"

    table.expire(last + KEEP_NS + make.SECOND, 1_000)

    assert image_at(row, 40) is EMPTY_IMAGE
    assert row.image.name == "p49"


def test_a_fork_after_its_childs_exec_mends_the_parent(table: ProcessTable) -> None:
    story = make.Story()
    nginx = story.run(story.actor(), "/usr/sbin/nginx")
    child = story.fork(nginx)
    fork = story.events.pop()
    story.exec(child, "/bin/sh", parent_tgid=1, parent_start_boottime_ns=1)
    story.tell(fork)
    feed(table, story)

    row = find(table, child)
    assert row.image.name == "sh"
    assert row.parent_key == nginx.key
    assert row.parent_image.name == "nginx"  # type: ignore[union-attr]
    assert image_at(row, child.exec_id - 1).name == "nginx"


def test_an_exit_before_its_fork_and_exec_leaves_an_ended_process(table: ProcessTable) -> None:
    story = make.Story()
    child = story.run(story.actor(), "/bin/true")
    story.exit(child)
    table.exec(make.exec("/usr/bin/bash", tgid=900, start_boottime_ns=9_000, exec_id=1))
    for event in reversed(story.events):
        feed(table, make.Story(events=[event]))

    row = find(table, child)
    assert row.exited_ktime_ns
    assert row.image.name == "true"
    assert row.parent_image.name == "bash"  # type: ignore[union-attr]


def test_a_late_exec_record_does_not_replace_a_newer_program(table: ProcessTable) -> None:
    story = make.Story()
    actor = story.run(story.actor(), "/bin/one")
    story.exec(actor, "/bin/two")
    story.events[-1], story.events[-2] = story.events[-2], story.events[-1]
    feed(table, story)

    row = find(table, actor)
    assert row.image.name == "two"
    assert image_at(row, 2).name == "one"


def test_an_unknown_parent_gets_a_placeholder_that_a_later_exec_fills(table: ProcessTable) -> None:
    row, parent = table.fork(make.fork(parent_tgid=77, parent_start_boottime_ns=700))

    assert parent.is_placeholder
    assert row.image is EMPTY_IMAGE
    assert table.placeholders == 1

    table.exec(make.exec("/usr/sbin/cron", tgid=77, start_boottime_ns=700, exec_id=2))
    assert not parent.is_placeholder
    assert parent.image.name == "cron"


def test_pids_are_reused_and_lives_are_not_mixed(table: ProcessTable) -> None:
    story = make.Story()
    first = story.exec(story.fork(story.actor(), tgid=5_000), "/bin/first")
    second = story.exec(story.fork(story.actor(), tgid=5_000), "/bin/second")
    feed(table, story)

    assert find(table, first).image.name == "first"
    assert find(table, second).image.name == "second"
    assert table.exits_lost == 1
    assert find(table, first).exited_ktime_ns


def test_an_exited_process_is_kept_thirty_seconds_of_event_time(table: ProcessTable) -> None:
    story = make.Story()
    actor = story.run(story.actor(), "/bin/true")
    story.exit(actor)
    feed(table, story)
    ended = story.now_ns

    table.expire(ended + KEEP_NS - 1, 100)
    assert table.find(actor.tgid, actor.start) is not None
    table.expire(ended + KEEP_NS, 100)
    assert table.find(actor.tgid, actor.start) is None


def test_expiry_does_no_more_than_its_budget(table: ProcessTable) -> None:
    story = make.Story()
    for _ in range(10):
        story.exit(story.fork(story.actor()))
    feed(table, story)
    before = len(table)

    table.expire(story.now_ns + 2 * KEEP_NS, 4)
    assert len(table) >= before - 4


def test_the_start_up_walk_fills_the_table_and_later_events_tell_the_program_number(table: ProcessTable) -> None:
    table.exec(make.exec("/usr/sbin/sshd", tgid=50, start_boottime_ns=500, exec_id=0, from_proc=True, parent_tgid=0))
    row, _ = table.exec(
        make.exec(
            "/usr/bin/bash",
            tgid=51,
            start_boottime_ns=510,
            exec_id=0,
            from_proc=True,
            parent_tgid=50,
            parent_start_boottime_ns=500,
        )
    )
    assert row.parent_image.name == "sshd"  # type: ignore[union-attr]
    assert image_at(row, 17).name == "bash"
    assert row.exec_id == 17

    table.exec(make.exec("/usr/bin/vim", tgid=51, start_boottime_ns=510, exec_id=18))
    assert image_at(row, 17).name == "bash"


def test_what_the_ring_told_is_not_overwritten_by_the_walk(table: ProcessTable) -> None:
    table.exec(make.exec("/bin/new", tgid=51, start_boottime_ns=510, exec_id=3))
    table.exec(make.exec("/bin/old", tgid=51, start_boottime_ns=510, exec_id=2, from_proc=True))

    row = table.find(51, 510)
    assert row is not None
    assert row.image.name == "new"


def test_a_fork_bomb_evicts_its_own_and_is_counted() -> None:
    table = ProcessTable(100, ROOM, KEEP_NS)
    daemon, _ = table.exec(make.exec("/usr/sbin/cron", tgid=60, start_boottime_ns=600))
    for number in range(1_000):
        table.fork(make.fork(tgid=10_000 + number, start_boottime_ns=10_000 + number, cgroup_id=666))

    assert len(table) <= 100
    assert table.evicted + table.exited_early >= 900
    assert table.find(60, 600) is daemon


def test_exited_processes_take_at_most_an_eighth_of_the_table() -> None:
    table = ProcessTable(100, ROOM, KEEP_NS)
    for number in range(1_000):
        table.fork(make.fork(tgid=10_000 + number, start_boottime_ns=10_000 + number))
        table.exit(make.exit(tgid=10_000 + number, start_boottime_ns=10_000 + number))

    assert len(table) <= 14
    assert table.exited_early > 900


def test_long_command_lines_are_cut_when_too_many_processes_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_images, "LONG_IMAGES_BYTES", 3 * 8_800)
    table = ProcessTable(1_000, ROOM, KEEP_NS)
    for number in range(5):
        table.exec(make.exec("/bin/java", args=("java", "x" * 4_000), tgid=70 + number, start_boottime_ns=7))

    kept = [table.find(70 + number, 7) for number in range(5)]
    sizes = [len(row.image.command_line) for row in kept if row is not None]
    assert sizes[0] < 300 < sizes[4]
    assert table.images_cut == 2
    first = kept[0]
    assert first is not None
    assert first.image.exec.args_truncated
    assert first.image.exec.args_omitted_bytes == len("java") + 1 + 4_001 - SLIM_CHARS


def test_the_key_is_a_process_key(table: ProcessTable) -> None:
    row, _ = table.fork(make.fork(tgid=5, start_boottime_ns=6))

    assert row.key == ProcessKey(Tgid(5), 6)
    assert row.key.start_boottime_ns == 6


@pytest.mark.parametrize("argument", ["ab", "\u4e00"], ids=["short", "wide"])
@pytest.mark.parametrize("bytes_of_arguments", [900, 4_000])
def test_a_flood_of_many_short_arguments_takes_no_more_than_one_of_few_long_ones(
    argument: str, bytes_of_arguments: int
) -> None:
    """Each is a text of its own in memory, and takes tens of bytes however short it is."""
    table = ProcessTable(8 * 1_000, ROOM, KEEP_NS)
    count = bytes_of_arguments // (len(argument.encode()) + 1)
    for number in range(1_500):
        args = tuple((f"{argument} " * count).split())
        table.exec(make.exec("/bin/x", args=args, tgid=100 + number, start_boottime_ns=7))

    images = [row.image for number in range(1_500) if (row := table.find(100 + number, 7))]
    taken = [sum(map(getsizeof, image.exec.args)) + getsizeof(image.command_line) for image in images]
    assert len(images) == 1_500
    assert sum(taken) < long_images.LONG_IMAGES_BYTES + 1_500 * LONG_BYTES
