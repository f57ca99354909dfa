"""Correlations over event time: all kinds, groups, order, re-arming, bounds."""

from collections.abc import Sequence

import pytest

from monitor.config.settings import EngineSettings
from monitor.engine.correlate import Correlator
from monitor.engine.windows import count_in_order
from monitor.model.alert import Detection
from monitor.model.process import Context
from monitor.model.rule import Rule
from monitor.rules.ruleset import CompiledCorrelation, RuleSet
from tests.support import make

FIRST, SECOND_RULE, THIRD = make.rule("first"), make.rule("second"), make.rule("third")


def correlator(*correlations: CompiledCorrelation, **settings: int) -> Correlator:
    return Correlator(RuleSet(correlations=correlations), EngineSettings(**settings))


def see(made: Correlator, rule: Rule, at_s: float, path: str = "/etc/a", tgid: int = 1) -> list[str]:
    """Feed one detection; the names of the correlations that fire."""
    event = make.file_open(path, ktime_ns=int(at_s * make.SECOND), tgid=tgid)
    failures: list[tuple[Rule, str]] = []
    fired = made.feed([Detection(rule, make.context(event))], failures)
    assert not failures
    return [one.detection.rule.name for one in fired]


def by_tgid(context: Context) -> int:
    return context.event.tgid  # type: ignore[union-attr]


def path_of(context: Context) -> str:
    return context.event.path  # type: ignore[union-attr]


def test_event_count_fires_when_a_window_has_enough() -> None:
    made = correlator(make.correlation("event_count", FIRST, count=3, seconds=10))

    assert [see(made, FIRST, at) for at in (0, 20, 25, 29)] == [[], [], [], ["event_count"]]


def test_events_at_both_ends_of_the_window_count_and_beyond_do_not() -> None:
    made = correlator(make.correlation("event_count", FIRST, count=2, seconds=10))

    assert see(made, FIRST, 0) == []
    assert see(made, FIRST, 10.001) == []
    assert see(made, FIRST, 20.001) == ["event_count"]


def test_a_window_fires_once_and_again_only_with_events_of_a_new_window() -> None:
    made = correlator(make.correlation("event_count", FIRST, count=3, seconds=10))

    fired_at = [at for at in range(40) if see(made, FIRST, at)]
    assert fired_at == [2, 13, 24, 35]


def test_groups_are_counted_apart() -> None:
    made = correlator(make.correlation("event_count", FIRST, count=2, group_by=(by_tgid,)))

    assert see(made, FIRST, 0, tgid=1) == []
    assert see(made, FIRST, 1, tgid=2) == []
    assert see(made, FIRST, 2, tgid=2) == ["event_count"]


def test_value_count_counts_different_values() -> None:
    made = correlator(make.correlation("value_count", FIRST, count=3, value_of=path_of))

    assert [see(made, FIRST, at, path) for at, path in enumerate(["/a", "/b", "/a", "/b"])] == [[], [], [], []]
    assert see(made, FIRST, 5, "/c") == ["value_count"]


def test_temporal_wants_all_rules_in_any_order() -> None:
    made = correlator(make.correlation("temporal", FIRST, SECOND_RULE, count=2, seconds=10))

    assert see(made, SECOND_RULE, 0) == []
    assert see(made, SECOND_RULE, 1) == []
    assert see(made, FIRST, 5) == ["temporal"]


def test_temporal_ordered_wants_their_order() -> None:
    made = correlator(make.correlation("temporal_ordered", FIRST, SECOND_RULE, THIRD, count=3, seconds=10))

    assert see(made, SECOND_RULE, 0) == []
    assert see(made, FIRST, 1) == []
    assert see(made, THIRD, 2) == []
    assert see(made, SECOND_RULE, 3) == []
    assert see(made, THIRD, 4) == ["temporal_ordered"]


def test_a_flood_of_one_step_does_not_hide_the_sequence() -> None:
    made = correlator(
        make.correlation("temporal_ordered", FIRST, SECOND_RULE, THIRD, count=3, seconds=100), correlation_events_max=16
    )
    see(made, FIRST, 0)
    for number in range(5_000):
        see(made, SECOND_RULE, 1 + number / 1_000)

    assert see(made, THIRD, 50) == ["temporal_ordered"]


def test_an_event_that_comes_late_completes_its_window() -> None:
    made = correlator(make.correlation("temporal_ordered", FIRST, SECOND_RULE, count=2, seconds=10))

    assert see(made, SECOND_RULE, 105) == []
    assert see(made, FIRST, 100) == ["temporal_ordered"]


def test_a_late_event_finds_the_window_it_belongs_to_and_no_other() -> None:
    made = correlator(make.correlation("event_count", FIRST, count=3, seconds=10))
    for at in (100, 101, 120):
        assert see(made, FIRST, at) == []

    assert see(made, FIRST, 115) == []
    assert see(made, FIRST, 108) == ["event_count"]


def test_fewer_than_is_told_when_the_window_is_over() -> None:
    made = correlator(make.correlation("event_count", FIRST, count=3, seconds=10, operator="lt"))

    assert see(made, FIRST, 0) == []
    assert see(made, FIRST, 11) == ["event_count"]
    fired = made.expire(int(60 * make.SECOND), 100)
    assert [one.detection.rule.name for one in fired] == ["event_count"]
    assert made.expire(int(90 * make.SECOND), 100) == []


def test_equal_to_is_not_told_when_there_were_more() -> None:
    made = correlator(make.correlation("event_count", FIRST, count=2, seconds=10, operator="eq"))
    for at in (0, 1, 2):
        assert see(made, FIRST, at) == []

    assert made.expire(int(100 * make.SECOND), 100) == []


def test_a_boolean_condition_is_asked_about_the_rules_seen() -> None:
    def is_met(seen: Sequence[str]) -> bool:
        return FIRST.id in seen and (SECOND_RULE.id in seen or THIRD.id in seen)

    made = correlator(make.correlation("temporal", FIRST, SECOND_RULE, THIRD, is_met=is_met))

    assert see(made, SECOND_RULE, 0) == []
    assert see(made, FIRST, 1) == ["temporal"]


def test_correlations_build_on_correlations() -> None:
    below = make.correlation("event_count", FIRST, count=2, name="below")
    above = make.correlation("temporal", below.rule, SECOND_RULE, count=2, name="above")
    made = correlator(below, above)

    see(made, SECOND_RULE, 0)
    see(made, FIRST, 1)
    assert see(made, FIRST, 2) == ["below", "above"]


def test_an_event_that_two_base_rules_match_is_counted_once() -> None:
    made = correlator(make.correlation("event_count", FIRST, SECOND_RULE, count=2))
    context = make.context(make.file_open())

    assert made.feed([Detection(FIRST, context), Detection(SECOND_RULE, context)], []) == []


def test_a_getter_that_raises_disables_its_correlation_once() -> None:
    def broken(context: Context) -> str:
        raise KeyError("x")

    made = correlator(make.correlation("event_count", FIRST, group_by=(broken,)))
    failures: list[tuple[Rule, str]] = []
    for _ in range(3):
        made.feed([Detection(FIRST, make.context(make.file_open()))], failures)

    assert [(rule.name, reason) for rule, reason in failures] == [("event_count", "KeyError: 'x'")]


def test_groups_and_events_are_bounded_and_evictions_counted() -> None:
    made = correlator(make.correlation("event_count", FIRST, count=50, group_by=(by_tgid,)), correlation_groups_max=8)
    for number in range(1_000):
        see(made, FIRST, number / 1_000, tgid=number % 20)

    assert made.group_count == 8
    assert made.groups_evicted > 900


def test_groups_are_forgotten_when_nothing_of_them_can_matter() -> None:
    made = correlator(make.correlation("event_count", FIRST, seconds=10, group_by=(by_tgid,)))
    for number in range(50):
        see(made, FIRST, 0, tgid=number)

    made.expire(41 * make.SECOND, 30)
    assert made.group_count == 20
    made.expire(41 * make.SECOND, 30)
    assert made.group_count == 0


def test_a_reload_keeps_what_unchanged_correlations_have_seen() -> None:
    same = make.correlation("event_count", FIRST, count=2)
    made = correlator(same)
    see(made, FIRST, 0)
    made.replace_rules(RuleSet(correlations=(make.correlation("event_count", FIRST, count=2),)))
    assert see(made, FIRST, 1) == ["event_count"]

    see(made, FIRST, 200)
    made.replace_rules(RuleSet(correlations=(make.correlation("event_count", FIRST, count=2, seconds=5),)))
    assert see(made, FIRST, 201) == []


@pytest.mark.parametrize(
    ("tags", "expected"), [([], 0), ([0, 1, 2], 3), ([2, 1, 0], 1), ([0, 2, 1, 2], 3), ([1, 1, 1], 1), ([0, 0, 2], 2)]
)
def test_rules_in_order(tags: list[int], expected: int) -> None:
    assert count_in_order(tags) == expected
