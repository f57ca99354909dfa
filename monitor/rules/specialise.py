"""Simplify a rule's tree for events of which something is known before any rule is asked.

Known are the last component of the path (of the program or the opened file) and
which fields the event lacks. Tests that this decides become constants, whole
branches fall away, and a rule that cannot be true any more is no candidate.
"""

from collections.abc import Collection

from msgspec import Struct

from monitor.rules.ir import FALSE, TRUE, And, AnyNode, Cidr, Exists, FieldRef, Flag, Glob, Not, Number, Or, Regex, Text


class KnownEvents(Struct, frozen=True):
    """What all events of some kind have in common."""

    path_field: str
    name_field: str
    names: frozenset[str]
    """The last component of ``path_field`` is (folded) one of these."""
    is_other: bool = False
    """It is none of them instead."""
    absent: tuple[str, ...] = ()
    """Fields that these events lack; one that ends with a dot means all that begin with it."""
    present: frozenset[str] = frozenset()
    """Fields that these events have."""

    def can_be(self, name: str) -> bool:
        """Whether such an event can have this (folded) name."""
        return (name in self.names) is not self.is_other

    def lacks(self, field: str) -> bool:
        """Whether such an event has no value for this field."""
        return any(field.startswith(name) if name.endswith(".") else field == name for name in self.absent)


def specialise(node: AnyNode, events: KnownEvents) -> AnyNode:
    """A tree that has the same value for all of these events; ``FALSE`` and ``TRUE`` stand for constants."""
    match node:
        case And(nodes):
            return _fold_all([specialise(part, events) for part in nodes])
        case Or(nodes):
            return _fold_any([specialise(part, events) for part in nodes])
        case Not(inner):
            return _negate(specialise(inner, events))
        case _ if events.lacks(node.field) or (isinstance(node, FieldRef) and events.lacks(node.other)):
            return FALSE
        case Exists(field):
            return TRUE if field in events.present else node
        case Text(field, match, values, cased) if field == events.path_field and match in {"exact", "suffix"}:
            return _keep(node, [value for value in values if _fits(value, match, events)], cased=cased)
        case Text(field, "exact", values, cased) if field == events.name_field:
            return _keep(node, [value for value in values if events.can_be(value.lower())], cased=cased)
        case Glob(field, parts) if field == events.path_field and isinstance(parts[-1], str):
            return node if _fits(parts[-1], "suffix", events) else FALSE
        case Text() | Glob() | Regex() | Number() | Flag() | FieldRef() | Cidr():
            return node


def _fits(value: str, match: str, events: KnownEvents) -> bool:
    """Whether a path of such an event can be, or end with, ``value``."""
    if match == "suffix" and "/" not in value:
        return True
    return events.can_be(value.lower().rpartition("/")[2])


def _keep(node: Text, values: Collection[str], *, cased: bool) -> AnyNode:
    if not values:
        return FALSE
    return node if len(values) == len(node.values) else Text(node.field, node.match, tuple(values), cased)


def _fold_all(parts: list[AnyNode]) -> AnyNode:
    if FALSE in parts or any(isinstance(part, Not) and part.node in parts for part in parts):
        return FALSE
    kept = tuple(part for part in parts if part != TRUE)
    return kept[0] if len(kept) == 1 else And(kept)


def _fold_any(parts: list[AnyNode]) -> AnyNode:
    if TRUE in parts:
        return TRUE
    kept = tuple(part for part in parts if part != FALSE)
    return kept[0] if len(kept) == 1 else Or(kept)


def _negate(node: AnyNode) -> AnyNode:
    if node == TRUE:
        return FALSE
    return TRUE if node == FALSE else Not(node)
