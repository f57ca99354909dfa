"""What a field is, and how fields of each kind are made; which there are is :mod:`monitor.rules.fields`."""

import enum
import string
from collections.abc import Callable, Hashable, Iterable

from msgspec import Struct

from monitor.model.process import Context

Predicate = Callable[[Context], bool]
"""Whether a context fulfils a condition. Pure; may raise only by a defect (the engine then disables the rule)."""

Getter = Callable[[Context], Hashable]
"""Value of one field in a context: text, number, boolean or a tuple of texts; None when the event has no such value."""

TextGetter = Callable[[Context], str]

_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class FieldKind(enum.Enum):
    """What a field's values are."""

    TEXT = "text"
    TEXTS = "list of texts"
    NUMBER = "number"
    BOOLEAN = "true or false"


class Field(Struct, frozen=True):
    """One thing that a condition can ask for."""

    name: str
    """In ECS, or in our own names where ECS has none."""
    sigma: str
    """Name in Sigma's taxonomy; empty when it has none."""
    kind: FieldKind
    description: str
    get: Getter
    """The value; None when the event has none."""
    text: TextGetter | None = None
    """TEXT: the value as text, empty when there is none."""
    folded: TextGetter | None = None
    """TEXT: the same without case (see ``fold``)."""
    fold: Callable[[str], str] = str.lower
    """How this field's texts lose their case; rule values go the same way."""
    events: frozenset[str] | None = None
    """Event classes that have the field; None: all of them."""
    aliases: tuple[str, ...] = ()
    """Other names for it: what the stream's documents call it where that differs."""
    values: frozenset[str] = frozenset()
    """All values that it can have, where these are few; empty: any."""


def fold_ascii(text: str) -> str:
    """Lower-case A to Z only: what the kernel's open filter does to file names."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def _or_none(text: TextGetter) -> Getter:
    def get(context: Context) -> str | None:
        return text(context) or None

    return get


def text_field(
    name: str,
    sigma: str,
    text: TextGetter,
    description: str,
    *,
    folded: TextGetter | None = None,
    fold: Callable[[str], str] = str.lower,
    events: frozenset[str] | None = None,
    aliases: tuple[str, ...] = (),
    values: Iterable[str] = (),
) -> Field:
    """A text field; ``fold`` is how it loses its case."""

    def default_folded(context: Context) -> str:
        return fold(text(context))

    get, folded = _or_none(text), folded or default_folded
    kind, known = FieldKind.TEXT, frozenset(values)
    return Field(name, sigma, kind, description, get, text, folded, fold, events, aliases, known)


def texts_field(
    name: str,
    sigma: str,
    get: Callable[[Context], tuple[str, ...]],
    description: str,
    events: frozenset[str] | None = None,
    *,
    values: Iterable[str] = (),
) -> Field:
    """A field that is a list of texts."""

    def value(context: Context) -> tuple[str, ...] | None:
        return get(context) or None

    return Field(name, sigma, FieldKind.TEXTS, description, value, events=events, values=frozenset(values))


def number_field(
    name: str,
    sigma: str,
    get: Getter,
    description: str,
    *,
    events: frozenset[str] | None = None,
    aliases: tuple[str, ...] = (),
) -> Field:
    """A field that is a number."""
    return Field(name, sigma, FieldKind.NUMBER, description, get, events=events, aliases=aliases)


def flag_field(name: str, get: Getter, description: str, events: frozenset[str] | None = None) -> Field:
    """A field that is true or false."""
    return Field(name, "", FieldKind.BOOLEAN, description, get, events=events)
