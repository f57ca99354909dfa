"""Turn one Sigma detection item (``Image|endswith: /sh``) into a predicate tree, with pySigma's modifiers.

pySigma applies the modifiers and types the values; what they mean for our
fields is decided here. Needs pySigma, so it is imported only when rules are
read, never when they come from the cache.
"""

import re
from collections.abc import Callable
from typing import Any

import sigma.exceptions
from sigma.conditions import ConditionAND
from sigma.modifiers import modifier_mapping, reverse_modifier_mapping
from sigma.rule import SigmaDetectionItem
from sigma.types import (
    Placeholder,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from monitor.rules.field import Field, FieldKind
from monitor.rules.ir import (
    AnyNode,
    Cidr,
    Exists,
    FieldRef,
    Flag,
    Not,
    Number,
    Operator,
    Regex,
    Text,
    TextMatch,
)
from monitor.rules.items import (
    ItemError,
    Parts,
    UnavailableError,
    bounded_number,
    build_text_node,
    build_value_node,
    get_field,
    join_parts,
    require_kind,
    surround,
    whole_number,
)
from monitor.rules.regex_bank import RegexError, compile_regex
from monitor.rules.suggest import suggest
from monitor.rules.trees import all_of, any_of
from monitor.rules.yaml_nodes import Plain

_OPERATORS: dict[str, Operator] = {"LT": "lt", "LTE": "lte", "GT": "gt", "GTE": "gte", "NEQ": "neq"}
_FLAGS = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}
_TEXT = ("text", str)
_NUMBER = ("a number", int | float)
_MODIFIER_TYPES: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(
        ("contains", "startswith", "endswith", "re", "cased", "base64", "base64offset", "wide", "utf16", "utf16le",
         "utf16be", "windash", "cidr", "fieldref", "expand"),
        _TEXT,
    ),
    **dict.fromkeys(("lt", "lte", "gt", "gte"), _NUMBER),
    "exists": ("true or false", bool),
}  # fmt: skip
_MODIFIER_HINTS = {"utf16le": "; write wide, which is the same"}
_PARTS = frozenset({"contains", "startswith", "endswith"})
_TIME_MODIFIERS = frozenset({"minute", "hour", "day", "week", "month", "year"})


def lower_item(key: str, values: list[Plain], keyword_fields: tuple[str, ...]) -> AnyNode:
    """The predicate of one item. ``key`` is ``Field|modifier|...``; an empty field looks in ``keyword_fields``.

    Raises :class:`ItemError` and :class:`UnavailableError`.
    """
    name, *modifiers = key.split("|")
    check_modifiers(modifiers)
    field = get_field(name) if name else None
    if _TIME_MODIFIERS.intersection(modifiers):
        raise UnavailableError("rules see no wall clock, so no field has minute, hour, day, week, month or year")
    _check_types(modifiers, values)
    item = _build_item(key, values)
    lower = _lower_keyword(keyword_fields) if field is None else _lower_value(field)
    nodes = [lower(value) for value in item.value]
    linked = all_of(nodes) if item.value_linking is ConditionAND else any_of(nodes)
    return Not(linked) if getattr(item, "negated", False) else linked


def check_modifiers(modifiers: list[str]) -> None:
    """Raises :class:`ItemError` for a modifier that pySigma does not know."""
    for modifier in modifiers:
        if not modifier:
            raise ItemError("a modifier is missing after |")
        if modifier not in modifier_mapping:
            hint = _MODIFIER_HINTS.get(modifier) or suggest(modifier, modifier_mapping)
            raise ItemError(f"unknown modifier {modifier!r}{hint}")


def _check_types(modifiers: list[str], values: list[Plain]) -> None:
    """What pySigma would say in terms of its own classes."""
    for modifier in modifiers:
        wanted, types = _MODIFIER_TYPES.get(modifier, ("", object))
        for value in values:
            if not isinstance(value, types) or (wanted == "a number" and isinstance(value, bool)):
                hint = "; quote the value" if wanted == "text" else ", without quotes" if isinstance(value, str) else ""
                raise ItemError(f"{modifier} takes {wanted}{hint}")
            if value == "" and (modifier == "re" or modifier in _PARTS):
                raise ItemError("an empty text is part of every value; to ask whether there is one write |exists: true")
            if modifier == "re":
                _check_regex(str(value))


def _check_regex(pattern: str) -> None:
    try:
        compile_regex(pattern)
    except RegexError as error:
        raise ItemError(f"RE2 refuses this regular expression: {error}") from error


def _build_item(key: str, values: list[Plain]) -> SigmaDetectionItem:
    try:
        return SigmaDetectionItem.from_mapping(key, values)
    except sigma.exceptions.SigmaError as error:
        raise ItemError(_describe(error)) from error
    except Exception as error:  # pySigma lets type errors of bad values escape
        raise ItemError(f"pySigma cannot read this: {type(error).__name__}: {error}") from error


def _describe(error: sigma.exceptions.SigmaError) -> str:
    """pySigma's words, without the names of its classes."""
    text = str(error)
    if "only applicable to unmodified values" in text:
        return "re, cidr and exists come first, right after the field"
    if "must not contain wildcards" in text:
        return "fieldref comes first, right after the field, and takes a name without wildcards"
    match = re.match(r"Modifier (\w+) incompatible", text)
    if match is None:
        return text
    return f"{reverse_modifier_mapping.get(match[1], match[1])} cannot follow the modifiers before it"


def _lower_value(field: Field) -> Callable[[Any], AnyNode]:
    """What one typed value means for a field. The order of cases matters: pySigma's classes inherit."""

    def lower(value: Any) -> AnyNode:
        match value:
            case SigmaExpansion():
                return any_of([lower(part) for part in _expanded(value)])
            case SigmaNull():
                return Not(Exists(field.name))
            case SigmaExists():
                return Exists(field.name) if value.exists else Not(Exists(field.name))
            case SigmaString():
                return build_value_node(field, _parts(value), cased=isinstance(value, SigmaCasedString))
            case SigmaTimestampPart():
                raise UnavailableError("rules see no wall clock")
            case SigmaNumber():
                return _lower_number(field, value)
            case SigmaBool():
                return _lower_flag(field, value.boolean)
            case SigmaRegularExpression():
                return _lower_regex(field, value)
            case SigmaCIDRExpression():
                require_kind(field, "cidr", FieldKind.TEXT, FieldKind.TEXTS)
                return Cidr(field.name, str(value.network))
            case SigmaCompareExpression():
                require_kind(field, "a comparison", FieldKind.NUMBER)
                return Number(field.name, _OPERATORS[value.op.name], bounded_number(value.number.number))
            case SigmaFieldReference():
                return _lower_fieldref(field, value)
            case _:
                raise ItemError(f"values of pySigma's type {type(value).__name__} have no meaning here")

    return lower


def _expanded(value: SigmaExpansion) -> list[Any]:
    """What a modifier made of one value. Two bytes give base64offset nothing to look for, which would match all."""
    for part in value.values:
        if isinstance(part, SigmaString) and not any(isinstance(piece, str) for piece in part.s):
            raise ItemError("the value is too short for this modifier: nothing is left to look for")
    return list(value.values)


def _parts(value: SigmaString) -> Parts:
    pieces: list[str | int | None] = []
    for part in value.s:
        if isinstance(part, Placeholder):
            raise ItemError(f"placeholder %{part.name}% has no values here; write them out")
        pieces.append(part if isinstance(part, str) else 1 if part is SpecialChars.WILDCARD_SINGLE else None)
    return join_parts(pieces)


def _lower_number(field: Field, value: SigmaNumber) -> AnyNode:
    if field.kind is FieldKind.NUMBER:
        return Number(field.name, "eq", whole_number(value.number))
    require_kind(field, "a number", FieldKind.TEXT, FieldKind.TEXTS)
    return Text(field.name, "exact", (str(value.number),))


def _lower_flag(field: Field, value: bool) -> AnyNode:
    if field.kind in {FieldKind.TEXT, FieldKind.TEXTS}:
        raise ItemError(f"{field.name} is text, and this is a boolean in YAML; quote it")
    require_kind(field, "true or false", FieldKind.BOOLEAN)
    return Flag(field.name, value)


def _lower_regex(field: Field, value: SigmaRegularExpression) -> AnyNode:
    require_kind(field, "a regular expression", FieldKind.TEXT, FieldKind.TEXTS)
    if value.contains_placeholder():
        raise ItemError("placeholders have no values here; write them out")
    pattern, flags = str(value.regexp), "".join(sorted(_FLAGS[flag] for flag in value.flags))
    try:
        compile_regex(pattern, flags)
    except RegexError as error:
        raise ItemError(f"RE2 refuses this regular expression: {error}") from error
    return Regex(field.name, pattern, flags)


def _lower_fieldref(field: Field, value: SigmaFieldReference) -> AnyNode:
    other = get_field(value.field)
    starts, ends = getattr(value, "starts_with", False), getattr(value, "ends_with", False)
    match: TextMatch = "contains" if starts and ends else "prefix" if starts else "suffix" if ends else "exact"
    return FieldRef(field.name, other.name, match)


def _lower_keyword(keyword_fields: tuple[str, ...]) -> Callable[[Any], AnyNode]:
    """A value without a field: it occurs somewhere in the event's texts."""
    fields = [get_field(name) for name in keyword_fields]

    def lower(value: Any) -> AnyNode:
        match value:
            case SigmaExpansion():
                return any_of([lower(part) for part in _expanded(value)])
            case SigmaString():
                parts = _parts(value)
                if not any(part is not None for part in parts):
                    raise ItemError("an empty keyword is in every event")
                around = surround(parts)
                cased = isinstance(value, SigmaCasedString)
                return any_of([build_text_node(field, around, cased=cased) for field in fields])
            case SigmaTimestampPart():
                raise UnavailableError("rules see no wall clock")
            case SigmaNumber():
                around = surround((str(value.number),))
                return any_of([build_text_node(field, around, cased=False) for field in fields])
            case SigmaRegularExpression():
                return any_of([_lower_regex(field, value) for field in fields])
            case _:
                raise ItemError("a keyword must be text or a number; other conditions need a field")

    return lower
