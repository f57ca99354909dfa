"""Run a recording through the same pipeline as a live run: no kernel, no clock, the same bytes each time."""

from collections.abc import Iterable, Sequence

from monitor.config.settings import Settings
from monitor.engine.engine import Engine
from monitor.engine.guardrails import GuardrailFacts
from monitor.model.events import AnyEvent
from monitor.rules.response import ResponsePolicy
from monitor.rules.ruleset import RuleSet
from monitor.runtime.pipeline import Pipeline, Ports
from monitor.runtime.ports import EventSink
from monitor.runtime.visibility import OpenVisibility
from monitor.sinks.origin import Origin
from monitor.wire.recording import RecordingHeader


def origin_of(header: RecordingHeader) -> Origin:
    """Host, boot and clock of the recorded run."""
    return Origin(header.boot_id, header.host_name, header.wall_offset_ns)


def build_replay_pipeline(
    header: RecordingHeader, settings: Settings, rules: RuleSet, responses: ResponsePolicy, sinks: Sequence[EventSink]
) -> Pipeline:
    """A pipeline with an engine as at the recording's start; nothing is tagged, looked up or answered."""
    facts = GuardrailFacts(actions=frozenset())
    engine = Engine(
        rules, settings.engine, mode=settings.mode, responses=responses, boot_id=header.boot_id, facts=facts
    )
    visibility = OpenVisibility(rules.open_patterns, settings.observe)
    return Pipeline(engine, Ports(sinks=sinks, visibility=visibility))


def replay(events: Iterable[AnyEvent], pipeline: Pipeline) -> int:
    """Feed all events of a :class:`~monitor.wire.recording.RecordingReader`; answer how many.

    Raises:
        RecordingError: the file is damaged; what came before has been replayed.
    """
    count = 0
    for event in events:
        pipeline.feed_event(event)
        count += 1
    return count
