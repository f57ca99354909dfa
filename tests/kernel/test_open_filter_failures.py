"""The file-open sensor on opens that fail, and on patterns that ask for those alone."""

import os
from pathlib import Path

import pytest

from monitor.model.interest import OpenPattern, PatternKind
from monitor.rules.categories import CATEGORIES
from monitor.rules.ir import Text
from monitor.rules.open_filter import build_open_patterns
from tests.support.open_patterns import exact, paths, prefix, read, suffix, touch
from tests.support.open_sensor import COUNTER_OPEN_WALKS, OpenSensor

pytestmark = pytest.mark.kernel

FAILURES_ONLY = {"reads": False, "writes": False, "failed": True}


def fail(path: Path | str, flags: int = os.O_RDONLY) -> None:
    with pytest.raises(OSError):
        read(path, flags)


def test_failed_opens_are_reported_when_asked_for_and_their_path_is_a_claim(sensor: OpenSensor, tmp_path: Path) -> None:
    sensor.watch([exact(tmp_path / "asked", failed=True), exact(tmp_path / "not-asked"), suffix(".gone", failed=True)])

    for name in ("asked", "not-asked", "a.gone", "other"):
        fail(tmp_path / name, os.O_WRONLY)
    events = sensor.read()

    assert paths(events) == [str(tmp_path / "asked"), str(tmp_path / "a.gone")]
    assert all(event.is_path_claimed and event.errno == 2 and event.fd == -1 and event.is_write for event in events)


def test_a_rule_about_failures_alone_leaves_opens_that_succeed_in_the_kernel(
    sensor: OpenSensor, tmp_path: Path
) -> None:
    target, folder = touch(tmp_path / "target"), touch(tmp_path / "folder" / "file")
    condition = Text("file.path", "exact", (str(target),), cased=True)
    sensor.watch(
        [
            *build_open_patterns(condition, CATEGORIES["file_access_failed"], "rule"),
            prefix(f"{folder.parent}/", **FAILURES_ONLY),
            suffix("/file", **FAILURES_ONLY),
        ]
    )
    before = sensor.count(COUNTER_OPEN_WALKS)

    for path in (target, folder):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_TRUNC):
            read(path, flags)
    walks = sensor.count(COUNTER_OPEN_WALKS) - before
    for path in (target, folder):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            fail(path, flags | os.O_DIRECTORY)

    events = sensor.read()
    assert paths(events) == [str(target)] * 3 + [str(folder)] * 3
    assert {event.errno for event in events} == {20}
    assert walks == 0, "no open that succeeds is looked at"


def test_failures_everywhere_are_no_reason_to_send_opens_that_succeed(sensor: OpenSensor, tmp_path: Path) -> None:
    file = touch(tmp_path / "file")
    sensor.watch([OpenPattern(PatternKind.ANY, "", **FAILURES_ONLY)])

    read(file)
    fail(tmp_path / "nothing")

    assert paths(sensor.read()) == [str(tmp_path / "nothing")]


def test_failures_and_reads_of_one_path_are_asked_for_by_two_patterns(sensor: OpenSensor, tmp_path: Path) -> None:
    file = touch(tmp_path / "file")
    sensor.watch([exact(file, **FAILURES_ONLY), exact(file, writes=False)])

    read(file, os.O_WRONLY)
    read(file)
    fail(file, os.O_RDONLY | os.O_DIRECTORY)

    assert [(event.is_write, event.errno) for event in sensor.read()] == [(False, 0), (False, 20)]
