"""Scopes that nothing can meet are found; what is not easy to see is believed."""

from pathlib import Path

import pytest

from monitor.rules.scopes import can_hold
from tests.support.rule_texts import DENY, load_text, rule_text

A, B = "a" * 64, "b" * 64


def holds(folder: Path, detection: str, extra: str = DENY) -> bool:
    (deny,) = load_text(folder, rule_text(detection, extra=extra)).denials
    assert deny.terms
    return can_hold(deny)


@pytest.mark.parametrize(
    "detection",
    [
        f"{{s: {{Image: /x, container.id: {A}}}, t: {{container.id: {B}}}, condition: s and t}}",
        f"{{s: {{Image: /x, container.id: {A}}}, f: {{container.id: {A}}}, condition: s and not f}}",
        f"{{s: {{Image: /x, container.id|exists: false}}, t: {{container.id: {A}}}, condition: s and t}}",
        "{s: {Image: /x, container.id|exists: false, container.name: web}, condition: s}",
        f"{{s: {{Image: /x, container.id: {A}}}, t: {{container.id|startswith: bb}}, condition: s and t}}",
        "{s: {Image: /x, container.name: web}, f: {container.id|exists: true}, condition: s and not f}",
    ],
)
def test_no_container_and_not_the_host(tmp_path: Path, detection: str) -> None:
    assert not holds(tmp_path, detection)


@pytest.mark.parametrize(
    "detection",
    [
        "{s: {Image: /x}, condition: s}",
        f"{{s: {{Image: /x, container.id: [{A}, {B}]}}, f: {{container.id: {A}}}, condition: s and not f}}",
        f"{{s: {{Image: /x}}, f: {{container.id: {A}}}, condition: s and not f}}",
        "{s: {Image: /x, container.id|exists: false}, condition: s}",
        "{s: {Image: /x, container.name|startswith: we}, t: {container.name|endswith: b}, condition: s and t}",
        "{s: {Image: /x, container.image.name: nginx, container.name|exists: false}, condition: s}",
        "{s: {Image: /x, container.labels.a: b}, t: {container.id|exists: true}, condition: s and t}",
        "{s: {Image: /x, container.id: a}, t: {Image: /y}, u: {container.id: b}, condition: s or (t and u)}",
    ],
)
def test_somewhere(tmp_path: Path, detection: str) -> None:
    assert holds(tmp_path, detection)


def test_a_rule_for_the_host_about_a_container(tmp_path: Path) -> None:
    extra = "stockade: {response: deny, scope: host}\n"

    assert not holds(tmp_path, f"{{s: {{Image: /x, container.id: {A}}}, condition: s}}", extra)
