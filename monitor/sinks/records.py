"""A record: an event or an alert that was published, with all that its document needs."""

from msgspec import Struct

from monitor.model.alert import Alert
from monitor.model.process import Context
from monitor.sinks.ecs import build_alert_document, build_event_document
from monitor.sinks.ecs_fill import Document
from monitor.sinks.origin import Origin

Record = Context | Alert


class Numbered(Struct, frozen=True, gc=False):
    """A record and its place among all that were published."""

    sequence: int
    """From 1, without gaps, events and alerts together."""
    record: Record
    wall_offset_ns: int
    """As it was when the record was published: a clock that steps later does not move it."""


def build_document(numbered: Numbered, origin: Origin, mode: str) -> Document:
    """Describe a record as of the time when it was published."""
    if numbered.wall_offset_ns != origin.wall_offset_ns:
        origin = Origin(origin.boot_id, origin.host_name, numbered.wall_offset_ns)
    record = numbered.record
    if isinstance(record, Alert):
        return build_alert_document(record, origin, sequence=numbered.sequence, mode=mode)
    return build_event_document(record, origin, sequence=numbered.sequence)
