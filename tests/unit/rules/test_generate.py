"""``generate``: what is counted is silent (the default) unless its correlation says otherwise. Through an engine."""

from pathlib import Path

import pytest

from tests.support import make
from tests.support.rule_texts import IDS, load_text, rule_text

BASE = rule_text("sel: {Image|endswith: /nc}\ncondition: sel", extra="name: base\n", number=1)


def counting(extra: str = "", *, name: str = "twice", number: int = 2, base: str = "base", count: int = 2) -> str:
    return f"""\
title: {name}
name: {name}
id: {IDS[number]}
level: high
correlation:
  type: event_count
  rules: [{base}]
  timespan: 1m
  condition: {{gte: {count}}}
{extra}"""


def alerting(folder: Path, *texts: str) -> list[str]:
    """The rules of each alert, when the base's program is started twice."""
    engine, story = make.engine(load_text(folder, *texts), risk_alert_at=101), make.Story()
    for _ in range(2):
        story.run(story.actor(), "/usr/bin/nc")
    effects = make.play(engine, story.events)
    return [" ".join(one.rule.name for one in alert.detections) for alert in make.alerts(effects)]


@pytest.mark.parametrize("generate", ["", "  generate: false\n"])
def test_a_base_rule_is_silent_and_still_counted(tmp_path: Path, generate: str) -> None:
    assert alerting(tmp_path, BASE, counting(generate)) == ["twice"]


def test_a_base_rule_alerts_too_where_the_correlation_generates(tmp_path: Path) -> None:
    assert alerting(tmp_path, BASE, counting("  generate: true\n")) == ["base", "base twice"]


def test_a_rule_that_nothing_counts_alerts(tmp_path: Path) -> None:
    assert alerting(tmp_path, BASE) == ["base"], "the second alert is an equal one"


def test_one_correlation_that_does_not_generate_silences_the_base(tmp_path: Path) -> None:
    both = counting("  generate: true\n"), counting(name="again", number=3)

    assert alerting(tmp_path, BASE, *both) == ["twice again"]


def test_a_counted_correlation_is_silent_too(tmp_path: Path) -> None:
    outer = counting(name="outer", number=3, base="twice", count=1)

    assert alerting(tmp_path, BASE, counting(), outer) == ["outer"]
    assert alerting(tmp_path, BASE, counting("  generate: true\n"), outer) == ["base", "base outer"]


def test_a_correlation_that_cannot_count_here_silences_nobody(tmp_path: Path) -> None:
    inactive = counting().replace("event_count", "value_sum").replace("{gte: 2}", "{gte: 2, field: process.pid}")

    assert alerting(tmp_path, BASE, inactive) == ["base"]
