"""Ids of documents, given to filters as people paste them, name the same program in the same life of a process."""

from collections.abc import Callable
from typing import Any

import pytest

from monitor.model.process import Context
from monitor.rules.filters import parse_filter
from monitor.sinks.ecs import build_alert_document, build_event_document
from monitor.sinks.origin import Origin
from tests.support import make

ORIGIN = Origin(make.BOOT_ID, "node-1", 0)


def tell(story: make.Story) -> list[Context]:
    return make.contexts(make.play(make.engine(), story.events))


def show(context: Context) -> dict[str, Any]:
    return build_event_document(context, ORIGIN, sequence=1)


def matching(filter_: str, contexts: list[Context]) -> list[str]:
    """``action`` of each event that the filter takes."""
    takes: Callable[[Context], bool] = parse_filter(filter_)
    return [show(context)["event"]["action"] for context in contexts if takes(context)]


@pytest.fixture
def contexts() -> list[Context]:
    """A shell forks a child that executes a program, which opens a file, executes another one and ends."""
    story = make.Story()
    child = story.fork(story.actor())
    story.exec(child, "/usr/bin/cat")
    story.open(child, "/etc/shadow")
    story.exec(child, "/usr/bin/id")
    story.exit(child)
    return tell(story)


def test_the_id_of_a_document_finds_all_that_this_program_did(contexts: list[Context]) -> None:
    fork, cat, _, id_, _ = (show(context)["process"]["entity_id"] for context in contexts)

    assert matching(f"process.entity_id: {fork}", contexts) == ["fork"]
    assert matching(f"process.entity_id: {cat}", contexts) == ["exec", "open"]
    assert matching(f"process.entity_id: {id_.upper()}", contexts) == ["exec", "exit"]
    assert matching(f"process.entity_id: [{cat}, {id_}] and event.action: exec", contexts) == ["exec", "exec"]


def test_the_id_of_a_parent_finds_its_children() -> None:
    story = make.Story()
    shell = story.run(story.actor(), "/bin/sh")
    story.run(shell, "/usr/bin/cat")
    subshell = story.fork(shell)
    story.run(subshell, "/usr/bin/id")
    contexts = tell(story)
    documents = [show(context)["process"] for context in contexts]
    shell_id = next(document["entity_id"] for document in documents if document["executable"] == "/bin/sh")

    assert matching(f"process.parent.entity_id: {shell_id}", contexts) == ["fork", "exec", "fork"]
    assert documents[-1]["executable"] == "/usr/bin/id"
    assert documents[-1]["parent"]["entity_id"] == show(contexts[4])["process"]["entity_id"], "the subshell's own id"


def test_what_is_unknown_has_no_id() -> None:
    (alert,) = make.alerts(make.engine().handle(make.loss()))

    assert "process" not in show(alert.context)
    assert not parse_filter("process.entity_id|exists: true")(alert.context)
    assert not parse_filter("process.parent.entity_id|exists: true")(alert.context)


def test_an_alert_about_a_move_says_who_moved() -> None:
    engine, story = make.engine(), make.Story()
    story.cgroup(f"/docker/{make.CONTAINER_ID}", 50)
    story.cgroup("/elsewhere", 51)
    inside = story.exec(story.fork(story.actor(), cgroup_id=50), "/bin/sh")
    story.move(inside, "/elsewhere", 51)
    effects = make.play(engine, story.events)

    (alert,) = make.alerts(effects)
    moved: dict[str, Any] = build_alert_document(alert, ORIGIN, sequence=1, mode="audit")
    started = show(make.contexts(effects)[-1])
    assert moved["process"]["executable"] == "/bin/sh"
    assert moved["process"]["entity_id"] == started["process"]["entity_id"]
