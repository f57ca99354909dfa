"""Turn predicate trees into closures, once, so that an event costs as little as it can.

What is done for speed: texts are folded when compiled; several values become one
``endswith`` of a tuple or one set; in an AND the cheap conditions are asked
first; nothing is allocated for an event. What each field is: :mod:`monitor.rules.fields`.
"""

import ipaddress
from collections.abc import Callable
from typing import assert_never

import re2

from monitor.model.process import Context
from monitor.rules.field import Field, FieldKind, Predicate, TextGetter
from monitor.rules.fields import find_field
from monitor.rules.ir import (
    And,
    AnyNode,
    Cidr,
    Exists,
    FieldRef,
    Flag,
    Glob,
    Not,
    Number,
    Or,
    Regex,
    Text,
    TextMatch,
)
from monitor.rules.regex_bank import RegexBank, RegexError, compile_regex
from monitor.rules.regex_literals import find_literal_prefix
from monitor.rules.text_tests import TextTest, build_glob_test, build_text_test

_FIELD_COST = {
    "process.executable": 1,
    "process.parent.executable": 2,
    "process.name": 2,
    "file.path": 2,
    "process.command_line": 2,
    "process.args": 12,
    "process.thread.capabilities.effective": 60,
    "process.thread.capabilities.permitted": 60,
}


class CompileError(ValueError):
    """A tree that no lowering makes: an unknown field, or a test that this kind of field cannot have."""


class Compiler:
    """Makes the closures of one rule set: what its rules have in common is shared."""

    def __init__(self) -> None:
        self._banks: dict[str, RegexBank] = {}
        self._made: dict[AnyNode, Predicate] = {}

    def compile(self, node: AnyNode) -> Predicate:
        """The closure of a tree. Raises :class:`CompileError`."""
        made = self._made.get(node)
        if made is None:
            made = self._made[node] = self._compile(node)
        return made

    def _compile(self, node: AnyNode) -> Predicate:
        match node:
            case And(nodes):
                return _compile_and(tuple(self.compile(part) for part in sorted(nodes, key=estimate_cost)))
            case Or(nodes):
                return _compile_or(tuple(self.compile(part) for part in sorted(nodes, key=estimate_cost)))
            case Not(inner):
                return _compile_not(self.compile(inner))
            case Text():
                return _compile_text(node)
            case Glob():
                return _compile_glob(node)
            case Regex():
                return self._compile_regex(node)
            case Number():
                return _compile_number(node)
            case Flag():
                return _compile_flag(node)
            case Exists():
                return _compile_exists(node)
            case FieldRef():
                return _compile_fieldref(node)
            case Cidr():
                return _compile_cidr(node)
            case _:
                assert_never(node)

    def _compile_regex(self, node: Regex) -> Predicate:
        field = _field(node.field, FieldKind.TEXT, FieldKind.TEXTS)
        try:
            if field.kind is FieldKind.TEXTS:
                return _any_element(field, _search_present(node), cased=True)
            bank = self._banks.setdefault(field.name, RegexBank())
            number = bank.add(node.pattern, node.flags)
        except RegexError as error:
            raise CompileError(str(error)) from error
        get, find = _text_getter(field, cased=True), bank.find
        prefix = "" if "i" in node.flags else find_literal_prefix(node.pattern, node.flags)
        if prefix:  # most texts end here, without the bank's pass
            return lambda context: get(context).startswith(prefix) and number in find(get(context))
        return lambda context: number in find(get(context))


def compile_predicate(node: AnyNode) -> Predicate:
    """The closure of one tree by itself. Raises :class:`CompileError`."""
    return Compiler().compile(node)


def estimate_cost(node: AnyNode) -> int:
    """How long a condition takes, in no unit: only the order counts."""
    match node:
        case And(nodes) | Or(nodes):
            return 1 + sum(estimate_cost(part) for part in nodes)
        case Not(inner):
            return 1 + estimate_cost(inner)
        case Flag() | Number() | Exists():
            return 2
        case Text(field, kind, values):
            return _FIELD_COST.get(field, 3) + (1 + len(values) if kind == "contains" else 0)
        case Glob(field, parts):
            return _FIELD_COST.get(field, 3) + (40 if 1 in parts else 2 * len(parts))
        case Regex(field):
            return _FIELD_COST.get(field, 3) + 10
        case FieldRef(field):
            return _FIELD_COST.get(field, 3) + 6
        case Cidr():
            return 50
        case _:
            assert_never(node)


def _field(name: str, *kinds: FieldKind) -> Field:
    field = find_field(name)
    if field is None:
        raise CompileError(f"unknown field {name}")
    if kinds and field.kind not in kinds:
        raise CompileError(f"field {name} is a {field.kind.value}")
    return field


def _compile_and(parts: tuple[Predicate, ...]) -> Predicate:
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda context: first(context) and second(context)
    if len(parts) == 3:
        one, two, three = parts
        return lambda context: one(context) and two(context) and three(context)

    def all_match(context: Context) -> bool:
        for part in parts:  # noqa: SIM110  # all() with a generator takes three times as long
            if not part(context):
                return False
        return True

    return all_match


def _compile_or(parts: tuple[Predicate, ...]) -> Predicate:
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda context: first(context) or second(context)

    def any_matches(context: Context) -> bool:
        for part in parts:  # noqa: SIM110
            if part(context):
                return True
        return False

    return any_matches


def _compile_not(part: Predicate) -> Predicate:
    return lambda context: not part(context)


def _compile_text(node: Text) -> Predicate:
    if not node.values or "" in node.values:
        raise CompileError(f"empty value for {node.field}")
    field = _field(node.field, FieldKind.TEXT, FieldKind.TEXTS)
    if field.kind is FieldKind.TEXTS:
        test = build_text_test(node.match, node.values)
        return _with_args_hint(field, node, _any_element(field, test, cased=node.cased))
    return _compile_single_text(_text_getter(field, cased=node.cased), node.match, node.values)


def _compile_single_text(get: TextGetter, match: TextMatch, values: tuple[str, ...]) -> Predicate:
    """The same tests as :func:`build_text_test`, without its extra call."""
    if match == "suffix":
        return lambda context: get(context).endswith(values)
    if match == "prefix":
        return lambda context: get(context).startswith(values)
    if match == "exact":
        if len(values) == 1:
            only = values[0]
            return lambda context: get(context) == only
        wanted = frozenset(values)
        return lambda context: get(context) in wanted
    if len(values) == 1:
        part = values[0]
        return lambda context: part in get(context)

    def contains(context: Context) -> bool:
        text = get(context)
        for value in values:  # noqa: SIM110
            if value in text:
                return True
        return False

    return contains


def _text_getter(field: Field, *, cased: bool) -> TextGetter:
    get = field.text if cased else field.folded
    assert get is not None  # every TEXT field has both
    return get


def _any_element(field: Field, test: TextTest, *, cased: bool) -> Predicate:
    get, fold = field.get, field.fold

    def any_matches(context: Context) -> bool:
        texts: tuple[str, ...] = get(context) or ()  # type: ignore[assignment]  # a TEXTS field's value
        for text in texts:  # noqa: SIM110
            if test(text if cased else fold(text)):
                return True
        return False

    return any_matches


def _with_args_hint(field: Field, node: Text, matches: Predicate) -> Predicate:
    """An argument that matches lies in the command line too, and looking there first is much cheaper."""
    if field.name != "process.args":
        return matches
    hint = _compile_single_text(_text_getter(_field("process.command_line"), cased=node.cased), "contains", node.values)
    return lambda context: hint(context) and matches(context)


def _on_text(field: Field, test: TextTest, *, cased: bool) -> Predicate:
    if field.kind is FieldKind.TEXTS:
        return _any_element(field, test, cased=cased)
    get = _text_getter(field, cased=cased)
    return lambda context: test(get(context))


def _compile_glob(node: Glob) -> Predicate:
    field = _field(node.field, FieldKind.TEXT, FieldKind.TEXTS)
    if 1 not in node.parts:
        return _on_text(field, build_glob_test(node.parts), cased=node.cased)
    pattern = "".join(re2.escape(part) if isinstance(part, str) else "." if part else ".*" for part in node.parts)
    search = compile_regex(rf"\A{pattern}\z", "s")
    return _on_text(field, search, cased=node.cased)


def _search_present(node: Regex) -> TextTest:
    """An absent text is empty, and many expressions match the empty text: absent matches nothing."""
    search = compile_regex(node.pattern, node.flags)
    return lambda text: text != "" and search(text)


def _compile_number(node: Number) -> Predicate:
    get: Callable[[Context], int | None] = _field(node.field, FieldKind.NUMBER).get  # type: ignore[assignment]
    bound = node.value

    def equals(context: Context) -> bool:
        return get(context) == bound

    def compares(context: Context) -> bool:
        number = get(context)
        if number is None:
            return False
        match node.operator:
            case "lt":
                return number < bound
            case "lte":
                return number <= bound
            case "gt":
                return number > bound
            case "gte":
                return number >= bound
            case _:
                return number != bound

    return equals if node.operator == "eq" else compares


def _compile_flag(node: Flag) -> Predicate:
    get, wanted = _field(node.field, FieldKind.BOOLEAN).get, node.value
    return lambda context: get(context) is wanted


def _compile_exists(node: Exists) -> Predicate:
    if node.field == "container.id":  # asked by many rules
        return lambda context: context.container is not None
    get = _field(node.field).get
    return lambda context: get(context) is not None


def _values_of(field: Field) -> Callable[[Context], tuple[str, ...]]:
    def values(context: Context) -> tuple[str, ...]:
        value = field.get(context)
        if value is None:
            return ()
        texts = value if isinstance(value, tuple) else (str(value),)
        return tuple(field.fold(text) for text in texts)

    return values


_RELATIONS: dict[TextMatch, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
}


def _compile_fieldref(node: FieldRef) -> Predicate:
    left, right, relation = _values_of(_field(node.field)), _values_of(_field(node.other)), _RELATIONS[node.match]

    def refers(context: Context) -> bool:
        others = right(context)
        return any(relation(text, other) for text in left(context) for other in others)

    return refers


def _compile_cidr(node: Cidr) -> Predicate:
    network = ipaddress.ip_network(node.network)

    def is_inside(text: str) -> bool:
        try:
            return ipaddress.ip_address(text) in network
        except ValueError:
            return False

    return _on_text(_field(node.field, FieldKind.TEXT, FieldKind.TEXTS), is_inside, cased=True)
