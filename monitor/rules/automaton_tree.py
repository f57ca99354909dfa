"""Texts and regular expressions as one kind of tree, which :mod:`monitor.rules.automaton_graph` turns into a graph.

A tree is about characters. Beyond ASCII it knows two things: a text that is spelt
out (:class:`Bytes`), and a set that has everything beyond ASCII or nothing of it.
That is enough for what rules ask, and keeps tables small.
"""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

ASCII: Final = (1 << 128) - 1
REPEATS_MAX: Final = 1_000
"""Of one ``{m,n}``: RE2's own bound."""
_TREE_DEPTH_MAX: Final = 100


class UnsupportedError(ValueError):
    """Not for the kernel's automaton; the text says why, for the author of the rule."""


class Chars(Struct, frozen=True, gc=False):
    """One character of a set."""

    ascii: int
    """Bit N: the character N."""
    beyond: bool = False
    """Every character beyond ASCII too, and what is not UTF-8."""


class Bytes(Struct, frozen=True, gc=False):
    """One character beyond ASCII, as it is encoded."""

    encoded: bytes


class Cat(Struct, frozen=True):
    """One after the other; nothing at all when empty."""

    parts: tuple["Tree", ...] = ()


class Alt(Struct, frozen=True):
    """Any of them."""

    parts: tuple["Tree", ...]


class Repeat(Struct, frozen=True):
    """The same again and again."""

    part: "Tree"
    least: int
    most: int | None
    """None: no bound."""


AnchorKind = Literal["begin", "end", "line begin", "line end", "word"]


class Anchor(Struct, frozen=True, gc=False):
    """A place between characters; ``word`` is where a word of ASCII begins or ends."""

    kind: AnchorKind


Tree = Chars | Bytes | Cat | Alt | Repeat | Anchor

NOTHING: Final = Cat()
BEGIN, END = Anchor("begin"), Anchor("end")
ANY: Final = Chars(ASCII, beyond=True)
ANY_TEXT: Final = Repeat(ANY, 0, None)
NOT_NEWLINE: Final = Chars(ASCII & ~(1 << 10), beyond=True)
_KELVIN, _LONG_S, _DOTTED_I = "\u212a", "\u017f", "\u0130"


def has_case(character: str) -> bool:
    """Whether some other character differs from it in case alone."""
    return character.upper() != character or character.lower() != character or character.title() != character


def cat(parts: Iterable[Tree]) -> Tree:
    """One after the other, flat."""
    flat: list[Tree] = []
    for part in parts:
        flat += part.parts if isinstance(part, Cat) else (part,)
    return flat[0] if len(flat) == 1 else Cat(tuple(flat))


def alt(parts: Iterable[Tree]) -> Tree:
    """Any of them, flat; sets of single characters become one."""
    flat: dict[Tree, None] = {}
    for part in parts:
        flat.update(dict.fromkeys(part.parts if isinstance(part, Alt) else (part,)))
    sets = [part for part in flat if isinstance(part, Chars)]
    others = [part for part in flat if not isinstance(part, Chars)]
    joined = [Chars(_union(sets), any(part.beyond for part in sets))] if sets else []
    several: list[Tree] = [*joined, *others]
    return several[0] if len(several) == 1 else Alt(tuple(several))


def _union(sets: Iterable[Chars]) -> int:
    union = 0
    for part in sets:
        union |= part.ascii
    return union


def one_character(character: str) -> Tree:
    """This one, with case."""
    return Chars(1 << ord(character)) if character.isascii() else Bytes(character.encode())


def regex_character(character: str) -> Tree:
    """This one as RE2 finds it without case: by Unicode's simple folding."""
    if not character.isascii():
        if has_case(character):
            raise UnsupportedError(f"the kernel knows the case of A to Z alone, not of {character!r}")
        return one_character(character)
    plain = Chars(1 << ord(character.lower()) | 1 << ord(character.upper()))
    extra = {"k": _KELVIN, "s": _LONG_S}.get(character.lower())
    return alt([plain, one_character(extra)]) if extra else plain


def text_of(value: str, *, cased: bool, ends_text: bool) -> Tree:
    """A literal as rules compare it: ``value`` is folded by :meth:`str.lower`, which texts go through too.

    Args:
        ends_text: nothing comes behind it. Else an ``i`` at its end may be the half of what ``İ`` becomes.

    Raises:
        UnsupportedError: a letter beyond ASCII, without case.
    """
    if "\0" in value:
        raise UnsupportedError("no argument contains a NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnsupportedError("no argument of the kernel has half a character") from None
    if cased:
        return cat(one_character(character) for character in value)
    parts = [_folded_character(character) for character in value]
    if value.endswith("i") and not ends_text:
        parts[-1] = alt([parts[-1], one_character(_DOTTED_I)])
    return cat(parts)


def _folded_character(character: str) -> Tree:
    if character == "\u0307" or (not character.isascii() and has_case(character)):
        raise UnsupportedError(f"the kernel knows the case of A to Z alone, not of {character!r}")
    if not character.isascii():
        return one_character(character)
    plain = Chars(1 << ord(character) | 1 << ord(character.upper()))
    return alt([plain, one_character(_KELVIN)]) if character == "k" else plain


def is_nullable(tree: Tree) -> bool:
    """Whether it can match without a character."""
    match tree:
        case Chars() | Bytes():
            return False
        case Anchor():
            return True
        case Cat(parts):
            return all(map(is_nullable, parts))
        case Alt(parts):
            return any(map(is_nullable, parts))
        case Repeat(part, least):
            return least == 0 or is_nullable(part)


def check_depth(tree: Tree) -> None:
    """Raises :class:`UnsupportedError` for what is nested too deep to go through by recursion."""
    level: list[Tree] = [tree]
    for _ in range(_TREE_DEPTH_MAX):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise UnsupportedError(f"groups are nested deeper than {_TREE_DEPTH_MAX}")


def _inside(tree: Tree) -> tuple[Tree, ...]:
    match tree:
        case Cat(parts) | Alt(parts):
            return parts
        case Repeat(part):
            return (part,)
    return ()
