"""Repeats are held back and counted; a first alert never."""

from monitor.engine.suppress import Suppressor, build_key
from tests.support.make import SECOND

WINDOW = 60 * SECOND
KEY = build_key("rule", "web", "/bin/sh", "/etc/shadow")


def test_a_first_alert_is_no_repeat() -> None:
    assert not Suppressor(WINDOW, 10).is_repeat(KEY, 0)


def test_repeats_within_the_window_are_counted_and_told_with_the_next() -> None:
    suppressor = Suppressor(WINDOW, 10)
    assert suppressor.show(KEY, 0) == 0
    for at in range(1, 60):
        assert suppressor.is_repeat(KEY, at * SECOND)
        suppressor.hold([KEY])

    assert not suppressor.is_repeat(KEY, WINDOW)
    assert suppressor.show(KEY, WINDOW) == 59
    assert suppressor.is_repeat(KEY, WINDOW + SECOND)
    assert suppressor.held == 59


def test_an_older_event_that_comes_late_is_a_repeat_too() -> None:
    suppressor = Suppressor(WINDOW, 10)
    suppressor.show(KEY, 100 * SECOND)

    assert suppressor.is_repeat(KEY, 90 * SECOND)
    assert not suppressor.is_repeat(KEY, 10 * SECOND)


def test_what_is_evicted_is_shown_again_and_its_count_told_by_the_statistics() -> None:
    suppressor = Suppressor(WINDOW, 2)
    suppressor.show(KEY, 0)
    suppressor.hold([KEY])
    for number in range(5):
        suppressor.show(build_key("other", str(number)), 1)

    assert not suppressor.is_repeat(KEY, 2)
    assert (len(suppressor), suppressor.evicted, suppressor.untold) == (2, 4, 1)


def test_entries_of_long_ago_are_forgotten() -> None:
    suppressor = Suppressor(WINDOW, 10)
    suppressor.show(KEY, 0)
    suppressor.expire(9 * WINDOW, 10)
    assert len(suppressor) == 1
    suppressor.expire(10 * WINDOW, 10)
    assert len(suppressor) == 0


def test_parts_of_a_key_do_not_run_into_each_other() -> None:
    assert build_key("r", "ab", "c") != build_key("r", "a", "bc")
    assert build_key("r", "\udcff") == build_key("r", "\udcff")
