"""One event through every layer: record, decode, engine, effects.

The same pipeline serves a live run, a replay and a rule test; they differ in what
feeds it and in the sinks. Waits for nothing.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from msgspec import Struct

from monitor.engine.engine import Engine
from monitor.model.effects import (
    DisableRule,
    Effect,
    EmitAlert,
    EmitEvent,
    ResolveContainer,
    Respond,
    TagCgroup,
    UntagCgroup,
)
from monitor.model.events import AnyEvent, FileChange, FileOpen, ServiceFailure
from monitor.model.process import Context
from monitor.runtime.ports import ContainerLookup, EventSink, KernelTags, Recorder, Responder
from monitor.runtime.visibility import OpenVisibility
from monitor.wire.decoder import Buffer, DecodeError, decode_record

_LOG: Final = logging.getLogger(__name__)
_FILE_EVENTS: Final = frozenset({FileOpen, FileChange})


class Ports(Struct):
    """The pipeline's neighbours; None where a run has none (a replay tags no cgroup)."""

    sinks: Sequence[EventSink] = ()
    tags: Sequence[KernelTags] = ()
    lookup: ContainerLookup | None = None
    responder: Responder | None = None
    recorder: Recorder | None = None
    gate: Callable[[AnyEvent], AnyEvent | None] | None = None
    """Sees each record's event before the engine does: what it answers is fed instead (None: nothing)."""
    visibility: OpenVisibility | None = None
    """Which opens and changes of files are streamed; None streams all."""


class PipelineCounters(Struct):
    """What the pipeline itself counts."""

    decode_errors: int = 0
    sink_failures: int = 0
    tag_failures: int = 0
    hidden_opens: int = 0
    """Opens and changes that the kernel's filter let through and nobody asked for."""


class Pipeline:
    """Feeds the engine and performs what it wants."""

    def __init__(self, engine: Engine, ports: Ports) -> None:
        self.engine = engine
        self.ports = ports
        self.counters = PipelineCounters()
        self._counts: dict[type, int] = {}

    def feed_record(self, data: Buffer, offset: int, length: int) -> None:
        """Take one record of a ring."""
        try:
            event = decode_record(data, offset, length)
        except DecodeError as error:
            self.counters.decode_errors += 1
            _LOG.debug("undecodable record: %s", error)
            return
        gate = self.ports.gate
        if gate is not None:
            admitted = gate(event)  # type: ignore[arg-type]  # TaskEvent itself is never made
            if admitted is not event:
                if admitted is not None:
                    self.feed_event(admitted)
                return
        if self.ports.recorder is not None:
            self.ports.recorder.write_record(data, offset, length)
        self._handle(event)  # type: ignore[arg-type]  # as above

    def feed_event(self, event: AnyEvent) -> None:
        """Take one event that user space made."""
        if self.ports.recorder is not None:
            self.ports.recorder.write_event(event)
        self._handle(event)

    def event_counts(self) -> dict[type, int]:
        """Events handled so far, by class."""
        return dict(self._counts)

    def _handle(self, event: AnyEvent) -> None:
        kind = type(event)
        counts = self._counts
        counts[kind] = counts.get(kind, 0) + 1
        for effect in self.engine.handle(event):
            if type(effect) is EmitEvent:
                self._emit_event(effect.context)
            else:
                self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case EmitEvent():
                self._emit_event(effect.context)
            case EmitAlert():
                self._emit_alert(effect)
            case TagCgroup() | UntagCgroup():
                self._tag(effect)
            case ResolveContainer():
                if self.ports.lookup is not None:
                    self.ports.lookup.request(effect.container)
            case Respond():
                if self.ports.responder is not None:
                    self.ports.responder.respond(effect.verdict, effect.context)
            case DisableRule():
                _LOG.error("rule %s is off: %s", effect.rule_id, effect.reason)
            case _:
                assert_never(effect)

    def _emit_event(self, context: Context) -> None:
        visibility = self.ports.visibility
        if visibility is not None and type(context.event) in _FILE_EVENTS and not visibility.shows(context):
            self.counters.hidden_opens += 1
            return
        for sink in self.ports.sinks:
            try:
                sink.publish_event(context)
            except Exception as error:  # a sink is one of the three places for a broad except (CONVENTIONS)
                self._sink_failed(sink, error)

    def _emit_alert(self, effect: EmitAlert) -> None:
        for sink in self.ports.sinks:
            try:
                sink.publish_alert(effect.alert)
            except Exception as error:  # as above
                self._sink_failed(sink, error)

    def _sink_failed(self, sink: EventSink, error: Exception) -> None:
        """Count; the first failure of a run becomes an alert on the sinks that still work."""
        self.counters.sink_failures += 1
        _LOG.error("sink %s failed: %r", type(sink).__name__, error)
        if self.counters.sink_failures == 1:
            self.feed_event(ServiceFailure(0, type(sink).__name__, repr(error)))

    def _tag(self, effect: TagCgroup | UntagCgroup) -> None:
        for tags in self.ports.tags:
            if isinstance(effect, UntagCgroup):
                tags.untag_cgroup(effect.cgroup_id)
                continue
            try:
                tags.tag_cgroup(effect.cgroup_id, is_container=effect.is_container)
            except OSError:
                self.counters.tag_failures += 1
