"""Build predicate trees small: what is one test becomes one node."""

from collections.abc import Iterable

from monitor.rules.ir import And, AnyNode, Or, Text


def all_of(nodes: Iterable[AnyNode]) -> AnyNode:
    """All of them; ANDs inside are flattened."""
    flat: list[AnyNode] = []
    for node in nodes:
        flat += node.nodes if isinstance(node, And) else (node,)
    unique = tuple(dict.fromkeys(flat))
    return unique[0] if len(unique) == 1 else And(unique)


def any_of(nodes: Iterable[AnyNode]) -> AnyNode:
    """At least one of them; ORs inside are flattened, and text tests that differ in the value only become one."""
    flat: list[AnyNode] = []
    for node in nodes:
        flat += node.nodes if isinstance(node, Or) else (node,)
    merged: dict[object, AnyNode] = {}
    values: dict[object, dict[str, None]] = {}
    for node in flat:
        if isinstance(node, Text):
            key = (node.field, node.match, node.cased)
            values.setdefault(key, {}).update(dict.fromkeys(node.values))
            merged[key] = node
        else:
            merged[node] = node
    for place, several in values.items():
        node = merged[place]
        assert isinstance(node, Text)
        merged[place] = Text(node.field, node.match, tuple(several), node.cased)
    unique = tuple(merged.values())
    return unique[0] if len(unique) == 1 else Or(unique)
