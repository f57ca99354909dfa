"""Find for each rule the file names that it requires, so that an event meets only rules that could match.

A necessary condition is derived from the tree: the last path component of the
executable (process events) or of the opened file. Rules without one meet every
event of their class.
"""

from collections.abc import Callable, Iterable

from monitor.model.events import Event, FileOpen
from monitor.model.process import Context
from monitor.rules.ir import And, AnyNode, Glob, Or, Text
from monitor.rules.ruleset import CompiledRule, EventIndex

Names = frozenset[str] | None
"""Folded names, one of which is required; None: no requirement is known."""

NAMES_MAX = 512
"""A rule that requires more names than this is asked for every event: the table stays small."""


def required_names(node: AnyNode, path_field: str, name_field: str) -> Names:
    """The last components of ``path_field`` without which the tree cannot be true."""
    match node:
        case And(nodes):
            found = [names for part in nodes if (names := required_names(part, path_field, name_field)) is not None]
            return min(found, key=len, default=None)
        case Or(nodes):
            return _union(required_names(part, path_field, name_field) for part in nodes)
        case Text(field, match, values) if field == path_field:
            return _union(_last_component(value, match) for value in values)
        case Text(field, "exact", values) if field == name_field:
            return frozenset(value.lower() for value in values)
        case Glob(field, parts) if field == path_field and isinstance(parts[-1], str):
            return _last_component(parts[-1], "suffix")
        case _:
            return None


def _union(parts: Iterable[Names]) -> Names:
    names: set[str] = set()
    for part in parts:
        if part is None:
            return None
        names |= part
    return frozenset(names)


def _last_component(text: str, match: str) -> Names:
    if match not in {"exact", "suffix"} or (match == "suffix" and "/" not in text):
        return None
    return frozenset({text.lower().rpartition("/")[2]})


def _program_name(context: Context) -> str:
    return context.image.name.lower()


def _opened_name(context: Context) -> str:
    event = context.event
    assert type(event) is FileOpen  # this index is asked for opens only
    return event.path.rpartition("/")[2].lower()


def index_rules(rules: Iterable[tuple[type[Event], AnyNode, CompiledRule]]) -> dict[type[Event], EventIndex]:
    """The index of each event class that some rule is about."""
    by_event: dict[type[Event], list[tuple[Names, CompiledRule]]] = {}
    for event, condition, rule in rules:
        fields = ("file.path", "file.name") if event is FileOpen else ("process.executable", "process.name")
        names = required_names(condition, *fields)
        bounded = None if names is not None and len(names) > NAMES_MAX else names
        by_event.setdefault(event, []).append((bounded, rule))
    return {event: _index_event(event, entries) for event, entries in by_event.items()}


def _index_event(event: type[Event], entries: list[tuple[Names, CompiledRule]]) -> EventIndex:
    every_name = {name for names, _ in entries if names is not None for name in names}
    name_of: Callable[[Context], str] = _opened_name if event is FileOpen else _program_name
    return EventIndex(
        by_name={name: tuple(rule for names, rule in entries if names is None or name in names) for name in every_name},
        otherwise=tuple(rule for names, rule in entries if names is None),
        name_of=name_of,
    )
