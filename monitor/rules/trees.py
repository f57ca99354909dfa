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
    for node in flat:
        if not isinstance(node, Text):
            merged.setdefault(node, node)
            continue
        key = (node.field, node.match, node.cased)
        before = merged.get(key)
        values = before.values if isinstance(before, Text) else ()
        merged[key] = Text(node.field, node.match, tuple(dict.fromkeys((*values, *node.values))), node.cased)
    unique = tuple(merged.values())
    return unique[0] if len(unique) == 1 else Or(unique)
