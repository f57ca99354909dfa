"""What items are made of, without pySigma: field look-up, Sigma's texts with wildcards, and the nodes they become.

Used by :mod:`monitor.rules.lowering` (rules, with all of pySigma's modifiers) and
:mod:`monitor.rules.filters` (stream filters, which must not import pySigma into
a running service).
"""

from monitor.rules.field import Field, FieldKind
from monitor.rules.fields import field_names, find_field
from monitor.rules.ir import AnyNode, Exists, Flag, Glob, Not, Number, Text
from monitor.rules.suggest import suggest
from monitor.rules.unavailable import unavailable_reason

Parts = tuple[str | int | None, ...]
"""A text with wildcards: strings, ``None`` for ``*`` and ``1`` for ``?``; no two strings or ``None`` side by side."""

_NUMBER_MAX = (1 << 63) - 1
VALUES_LISTED = 12


class ItemError(ValueError):
    """What is wrong with one item, in words for its author."""


class UnavailableError(Exception):
    """The item is right, but nothing here delivers what it asks for; the text is the reason."""


def get_field(name: str) -> Field:
    """The field of this name. Raises :class:`UnavailableError` when it has no sensor, else :class:`ItemError`."""
    field = find_field(name)
    if field is not None:
        return field
    reason = unavailable_reason(name)
    if reason:
        raise UnavailableError(f"field {name}: {reason}")
    raise ItemError(f"unknown field {name[:100]!r}{suggest(name, field_names())}")


def require_kind(field: Field, what: str, *kinds: FieldKind) -> None:
    """Raises :class:`ItemError` when ``what`` cannot be asked of a field of this kind."""
    if field.kind not in kinds:
        raise ItemError(f"{what} cannot be asked of {field.name}: it is a {field.kind.value}")


def join_parts(pieces: list[str | int | None]) -> Parts:
    """Neighbouring strings become one, neighbouring ``*`` too."""
    parts: list[str | int | None] = []
    for piece in pieces:
        before = parts[-1] if parts else 1
        if isinstance(piece, str) and isinstance(before, str):
            parts[-1] = before + piece
        elif piece is not None or before is not None:
            parts.append(piece)
    return tuple(part for part in parts if part != "")


def parse_text(text: str) -> Parts:
    r"""Sigma's text: ``*`` and ``?`` are wildcards, a backslash before one of them (or a backslash) takes that away."""
    pieces: list[str | int | None] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\" and text[at + 1 : at + 2] in {"*", "?", "\\"} and at + 1 < len(text):
            pieces.append(text[at + 1])
            at += 1
        elif character == "*":
            pieces.append(None)
        else:
            pieces.append(1 if character == "?" else character)
        at += 1
    return join_parts(pieces)


def surround(parts: Parts, *, before: bool = True, after: bool = True) -> Parts:
    """With ``*`` at the asked ends, if there is none yet."""
    head: Parts = () if not before or parts[:1] == (None,) else (None,)
    tail: Parts = () if not after or parts[-1:] == (None,) else (None,)
    return join_parts([*head, *parts, *tail])


def build_value_node(field: Field, parts: Parts, *, cased: bool) -> AnyNode:
    """The node of a text value for a field of any kind. Raises :class:`ItemError`."""
    if field.kind is FieldKind.NUMBER:
        return _digits_node(field, parts)
    if field.kind is FieldKind.BOOLEAN:
        match parts:
            case (str(text),) if text.lower() in {"true", "false"}:
                return Flag(field.name, text.lower() == "true")
            case _:
                raise ItemError(f"{field.name} takes true or false")
    return build_text_node(field, parts, cased=cased)


def build_text_node(field: Field, parts: Parts, *, cased: bool) -> AnyNode:
    """The cheapest node for a text with wildcards."""
    if not cased:
        parts = tuple(field.fold(part) if isinstance(part, str) else part for part in parts)
    match parts:
        case ():
            return Not(Exists(field.name))
        case (None,):
            return Exists(field.name)
        case (str(text),):
            _check_known(field, text)
            return Text(field.name, "exact", (text,), cased)
        case (str(text), None):
            return Text(field.name, "prefix", (text,), cased)
        case (None, str(text)):
            return Text(field.name, "suffix", (text,), cased)
        case (None, str(text), None):
            return Text(field.name, "contains", (text,), cased)
        case _:
            return Glob(field.name, parts, cased)


def _check_known(field: Field, text: str) -> None:
    """A value that the field never has would silently match nothing."""
    if field.values and field.fold(text) not in map(field.fold, field.values):
        hint = suggest(text, field.values)
        if not hint and len(field.values) <= VALUES_LISTED:
            hint = f"; it is of {' '.join(sorted(field.values))}"
        raise ItemError(f"{field.name} is never {text[:40]!r}{hint}")


def _digits_node(field: Field, parts: Parts) -> AnyNode:
    match parts:
        case ():
            return Not(Exists(field.name))
        case (None,):
            return Exists(field.name)
        case (str(text),) if text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20:
            return Number(field.name, "eq", bounded_number(int(text)))
        case _:
            raise ItemError(f"{field.name} is a number: text and wildcards cannot match it")


def whole_number(number: int | float) -> int:
    """The number itself; raises :class:`ItemError` when no field can equal it."""
    if number != int(bounded_number(number)):
        raise ItemError("fields are whole numbers: this would match nothing")
    return int(number)


def bounded_number(number: int | float) -> int | float:
    """The number itself; raises :class:`ItemError` when it does not fit 64 bits."""
    if not abs(number) <= _NUMBER_MAX:
        raise ItemError(f"numbers go to {_NUMBER_MAX}")
    return number
