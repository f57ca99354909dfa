"""The score: bounded, the same for every order of arrival, explained by its contributions."""

import math
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from monitor.config.settings import EngineSettings
from monitor.engine.score import Ancestor, Scores
from monitor.model.alert import Risk
from tests.support.make import SECOND

NOW = 20_000 * SECOND
Hit = tuple[int, int, bool]
hits = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 20_000), st.booleans()), max_size=120)


def judge(found: list[Hit], **bounds: int) -> tuple[Risk, Risk]:
    scores = Scores(EngineSettings(**bounds))
    for number, at_s, is_actionable in found:
        score = 5 + 7 * number  # one score for a rule
        rule = (f"id-{number}", f"rule-{number}", score)
        scores.add("lineage", "x", rule, at_s * SECOND, is_actionable=is_actionable)
    above = [Ancestor("x", NOW)]
    return scores.risk("lineage", "x", NOW), scores.risk("lineage", "child", NOW, above)


@settings(deadline=None)
@given(hits, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(found: list[Hit], random: Random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)

    for bounds in ({}, {"contributions_max": 5}):
        assert judge(found, **bounds)[0].score == approx(judge(shuffled, **bounds)[0].score, abs=1e-9)


@settings(deadline=None)
@given(hits)
def test_the_score_is_within_bounds_and_a_child_never_has_more(found: list[Hit]) -> None:
    own, inherited = judge(found)

    assert 0 <= inherited.score <= own.score <= 100
    assert all(0 <= part.weight <= 1 for part in own.contributions)
    assert len(own.contributions) <= 64


@settings(deadline=None)
@given(hits)
def test_the_contributions_give_the_score(found: list[Hit]) -> None:
    own, _ = judge(found)
    if any(part.weight == 1 for part in own.contributions):
        return
    product = math.prod(1 - part.weight * 2 ** (-part.age_s / 1_800) for part in own.contributions)

    assert 100 * (1 - product) == approx(own.score, abs=1e-6)


@settings(deadline=None)
@given(hits, st.tuples(st.integers(0, 12), st.integers(0, 20_000), st.booleans()))
def test_another_detection_never_lowers_the_score(found: list[Hit], more: Hit) -> None:
    assert judge([*found, more])[0].score >= judge(found)[0].score - 1e-9
