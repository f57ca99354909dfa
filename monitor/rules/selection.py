"""Read selections: maps of items, lists of them, keywords; each mistake at its place.

What an item means is :mod:`monitor.rules.lowering`, which needs pySigma: it is
imported when the first item comes, since a file without items (a response
policy) is read at every start of the service.
"""

from typing import Any

import yaml
from msgspec import Struct

from monitor.rules.categories import Category
from monitor.rules.ir import FALSE, AnyNode
from monitor.rules.items import ItemError, UnavailableError, get_field
from monitor.rules.trees import all_of, any_of
from monitor.rules.yaml_nodes import Plain, YamlFile


class ReadingContext(Struct):
    """What reading a rule's conditions depends on, and what it finds out on the way."""

    file: YamlFile
    keyword_fields: tuple[str, ...]
    missing_here: list[str]
    """Reasons why the rule cannot be active, in the order found."""
    is_foreign: bool = False
    """The rule is of another system: its field names are not ours to judge."""
    category: Category | None = None
    """What the rule is about; None: events of any class."""


def read_selection(node: yaml.Node, context: ReadingContext, what: str) -> AnyNode:
    """The predicate of a map of items (all hold), or of a list of maps or keywords (one holds)."""
    if isinstance(node, yaml.MappingNode):
        entries = context.file.entries(node, what)
        if not entries and not node.value:
            context.file.error(node, f"{what} is empty: it would match everything")
        return all_of([_read_item(entry.key, entry.key_node, entry.value, context) for entry in entries])
    if isinstance(node, yaml.SequenceNode):
        if not node.value:
            context.file.error(node, f"{what} is an empty list: it would match nothing")
        return any_of([read_selection(part, context, what) for part in node.value])
    return _read_item("", node, node, context)


def _read_item(key: str, key_node: yaml.Node, value_node: yaml.Node, context: ReadingContext) -> AnyNode:
    if not _is_key(key, key_node, context):
        return FALSE
    nodes = context.file.items(value_node)
    if not nodes:
        context.file.error(value_node, f"{key or 'keyword'} has an empty list: it would match nothing")
        return FALSE
    values = [_read_value(node, context.file) for node in nodes]
    if context.is_foreign or any(value is _BAD for value in values):
        return FALSE
    try:
        return _lower_item(key, values, context.keyword_fields)
    except UnavailableError as missing:
        context.missing_here.append(str(missing))
    except ItemError as error:
        node, reason = _find_culprit(key, nodes, values, context) or (value_node, str(error))
        context.file.error(node, reason)
    return FALSE


def _is_key(key: str, key_node: yaml.Node, context: ReadingContext) -> bool:
    """Report an unknown field or modifier where the key stands, not where the value does."""
    name, *modifiers = key.split("|")
    try:
        _check_modifiers(modifiers)
        if not context.is_foreign and name:
            _check_has_field(context.category, name)
    except UnavailableError:
        return True  # said when the value is read
    except ItemError as error:
        context.file.error(key_node, str(error), offset=key.find("|") + 1 if "modifier" in str(error) else 0)
        return False
    return True


def _check_has_field(category: Category | None, name: str) -> None:
    events = get_field(name).events
    if category is not None and events is not None and category.event.__name__ not in events:
        raise ItemError(f"{name} is no field of {category.name} events")


_BAD: Any = object()


def _read_value(node: yaml.Node, file: YamlFile) -> Plain:
    try:
        return file.scalar(node)
    except ValueError as error:
        file.error(node, str(error))
        return _BAD  # type: ignore[no-any-return]  # a mark that no caller hands on


def _find_culprit(
    key: str, nodes: list[yaml.Node], values: list[Plain], context: ReadingContext
) -> tuple[yaml.Node, str] | None:
    """Which single value of a list is wrong."""
    for node, value in zip(nodes, values, strict=True):
        try:
            _lower_item(key, [value], context.keyword_fields)
        except ItemError as error:
            return node, str(error)
        except UnavailableError:
            continue
    return None


def _lower_item(key: str, values: list[Plain], keyword_fields: tuple[str, ...]) -> AnyNode:
    from monitor.rules.lowering import lower_item  # noqa: PLC0415  # pySigma takes 0.3 s to import

    return lower_item(key, values, keyword_fields)


def _check_modifiers(modifiers: list[str]) -> None:
    from monitor.rules.lowering import check_modifiers  # noqa: PLC0415  # as above

    check_modifiers(modifiers)
