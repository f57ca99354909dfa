"""Read selections: maps of items, lists of them, keywords; each mistake at its place.

What an item means is :mod:`monitor.rules.lowering`, which needs pySigma: it is
imported when the first item comes, since a file without items (a response
policy) is read at every start of the service.
"""

from typing import Any

import yaml
from msgspec import Struct

from monitor.rules.categories import Category
from monitor.rules.field import FieldKind
from monitor.rules.fields import find_field
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
    if node.tag == "tag:yaml.org,2002:null":
        context.file.error(node, f"{what} is empty")
        return FALSE
    return _read_item("", node, node, context)


def _read_item(key: str, key_node: yaml.Node, value_node: yaml.Node, context: ReadingContext) -> AnyNode:
    if not _is_key(key, key_node, context):
        return FALSE
    file = context.file
    nodes = file.items(value_node)
    if not nodes:
        file.error(value_node, f"{key or 'keyword'} has an empty list: it would match nothing")
        return FALSE
    values = [_read_value(key, node, file) for node in nodes]
    if context.is_foreign or any(value is _BAD for value in values):
        return FALSE
    try:
        return _lower_item(key, values, context.keyword_fields)
    except UnavailableError as missing:
        context.missing_here.append(str(missing))
    except ItemError as error:
        for node, reason in _find_culprits(key, nodes, values, context) or [(value_node, str(error))]:
            file.error(node, reason)
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
    if category is not None and events is not None and not category.event_names & events:
        raise ItemError(f"{name} is no field of {category.name} events")


_BAD: Any = object()


def _read_value(key: str, node: yaml.Node, file: YamlFile) -> Plain:
    name, *modifiers = key.split("|")
    try:
        if isinstance(node, yaml.MappingNode):
            raise ValueError(
                f"must be a value or a list of values; a modifier is part of the key: {name}|endswith: ..."
            )
        value = file.scalar(node)
        if _is_about_text(name, modifiers):
            _check_as_written(value, str(node.value))
        return value
    except ValueError as error:
        file.error(node, str(error))
        return _BAD  # type: ignore[no-any-return]  # a mark that no caller hands on


def _is_about_text(name: str, modifiers: list[str]) -> bool:
    field = find_field(name) if name else None
    return not modifiers and (field is None or field.kind in {FieldKind.TEXT, FieldKind.TEXTS})


def _check_as_written(value: Plain, written: str) -> None:
    """``0640`` is 416 in YAML, ``1.50`` is 1.5: a text that was written so would never match."""
    if isinstance(value, int | float) and not isinstance(value, bool) and str(value) != written:
        raise ValueError(f"{written[:40]} is the number {value} in YAML; quote it")


def _find_culprits(
    key: str, nodes: list[yaml.Node], values: list[Plain], context: ReadingContext
) -> list[tuple[yaml.Node, str]]:
    """Which values of a list are wrong by themselves, and why."""
    found: list[tuple[yaml.Node, str]] = []
    for node, value in zip(nodes, values, strict=True):
        try:
            _lower_item(key, [value], context.keyword_fields)
        except ItemError as error:
            found.append((node, str(error)))
        except UnavailableError:
            continue
    return found


def _lower_item(key: str, values: list[Plain], keyword_fields: tuple[str, ...]) -> AnyNode:
    from monitor.rules.lowering import lower_item  # noqa: PLC0415  # pySigma takes 0.3 s to import

    return lower_item(key, values, keyword_fields)


def _check_modifiers(modifiers: list[str]) -> None:
    from monitor.rules.lowering import check_modifiers  # noqa: PLC0415  # as above

    check_modifiers(modifiers)
