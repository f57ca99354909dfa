"""The risk formula: decay, repeats, inheritance, bounds."""

import math

import pytest

from monitor.config.settings import EngineSettings
from monitor.engine.score import Ancestor, Scores
from tests.support.make import SECOND

HALF_LIFE_S = 1_800.0
NOW = 10_000 * SECOND


@pytest.fixture
def scores() -> Scores:
    return Scores(EngineSettings())


def add(
    scores: Scores, name: str, score: int, at_s: float = 10_000, *, subject: str = "web", actionable: bool = True
) -> None:
    rule = (f"id-{name}", name, score)
    scores.add("container", subject, rule, int(at_s * SECOND), is_actionable=actionable)


def test_one_detection_is_its_rules_score(scores: Scores) -> None:
    add(scores, "a", 60)

    risk = scores.risk("container", "web", NOW)
    assert risk.score == pytest.approx(60)
    assert [(part.rule, part.weight, part.count) for part in risk.contributions] == [("a", pytest.approx(0.6), 1)]


def test_different_rules_add_up_to_less_than_their_sum(scores: Scores) -> None:
    add(scores, "a", 60)
    add(scores, "b", 50)

    assert scores.risk("container", "web", NOW).score == pytest.approx(100 * (1 - 0.4 * 0.5))


def test_risk_halves_its_weights_each_half_life(scores: Scores) -> None:
    add(scores, "a", 60)

    later = NOW + int(HALF_LIFE_S * SECOND)
    assert scores.risk("container", "web", later).score == pytest.approx(30)


def test_a_repeat_counts_half_and_a_thousand_hardly_more_than_three(scores: Scores) -> None:
    add(scores, "a", 40)
    add(scores, "a", 40)
    twice = scores.risk("container", "web", NOW)
    assert twice.score == pytest.approx(100 * (1 - 0.6 * 0.8))
    assert twice.contributions[0].count == 2

    for _ in range(1_000):
        add(scores, "a", 40)
    often = scores.risk("container", "web", NOW)
    assert often.score < 62
    assert often.contributions[0].count == 1_002


def test_a_rule_that_fires_again_after_a_day_is_as_bad_as_at_first(scores: Scores) -> None:
    add(scores, "a", 60, at_s=10_000)
    add(scores, "a", 60, at_s=96_400)

    assert scores.risk("container", "web", 96_400 * SECOND).score == pytest.approx(60)


def test_the_contributions_explain_the_score(scores: Scores) -> None:
    add(scores, "a", 60, at_s=9_000)
    add(scores, "b", 30, at_s=9_500)
    add(scores, "b", 30, at_s=9_900)

    risk = scores.risk("container", "web", NOW)
    product = math.prod(1 - part.weight * 2 ** (-part.age_s / HALF_LIFE_S) for part in risk.contributions)
    assert 100 * (1 - product) == pytest.approx(risk.score)


def test_a_lineage_inherits_half_of_what_was_done_before_it_began(scores: Scores) -> None:
    scores.add("lineage", "sshd", ("1", "a", 60), NOW - SECOND, is_actionable=True)
    scores.add("lineage", "sshd", ("2", "later", 60), NOW + SECOND, is_actionable=True)

    risk = scores.risk("lineage", "shell", NOW + SECOND, [Ancestor("sshd", NOW)])
    assert risk.score == pytest.approx(30, abs=0.1)
    assert [(part.rule, part.inherited) for part in risk.contributions] == [("a", True)]


def test_grandparents_give_a_quarter(scores: Scores) -> None:
    scores.add("lineage", "top", ("1", "a", 80), NOW, is_actionable=True)

    risk = scores.risk("lineage", "leaf", NOW, [Ancestor("middle", NOW), Ancestor("top", NOW)])
    assert risk.score == pytest.approx(20)


def test_what_may_not_respond_is_seen_and_does_not_act(scores: Scores) -> None:
    add(scores, "claimed", 60, actionable=False)
    add(scores, "seen", 30)

    assert scores.risk("container", "web", NOW).score == pytest.approx(72)
    assert scores.risk("container", "web", NOW, is_actionable=True).score == pytest.approx(30)


def test_a_score_of_zero_counts_nothing(scores: Scores) -> None:
    add(scores, "a", 0)

    assert scores.risk("container", "web", NOW).score == 0


def test_subjects_are_bounded_and_the_light_ones_go_first() -> None:
    scores = Scores(EngineSettings(subjects_max=10))
    add(scores, "bad", 90, subject="bad")
    for number in range(12):
        add(scores, "small", 5, subject=f"s{number}")

    assert len(scores) == 10
    assert scores.evicted == 3
    assert scores.risk("container", "bad", NOW).score == pytest.approx(90)


def test_faded_subjects_are_forgotten(scores: Scores) -> None:
    add(scores, "a", 60)
    scores.expire(NOW + int(5 * HALF_LIFE_S * SECOND), 100)
    assert len(scores) == 1
    scores.expire(NOW + int(30 * HALF_LIFE_S * SECOND), 100)
    assert len(scores) == 0


def test_the_top_is_sorted_by_risk_now(scores: Scores) -> None:
    for number in range(20):
        add(scores, "a", 10 + number, subject=f"s{number}")

    assert [risk.subject_id for risk in scores.top(3, NOW)] == ["s19", "s18", "s17"]
