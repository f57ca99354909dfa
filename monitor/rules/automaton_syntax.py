r"""Parse RE2's syntax into a tree, or say which part of it is not for the kernel.

Literals, sets, ``.``, groups, ``|``, repetitions, ``^ $ \A \z \b`` and flags. Left
out are what would need tables of Unicode (``\pL``, case beyond ASCII, a part of
what is beyond ASCII in a set) and what rules hardly use (``\B``, ``\C``, ``\Q``).
An expression has gone through RE2 before: what is wrong there is not looked for.
Syntax: https://github.com/google/re2/wiki/Syntax
"""

import re
import string
from typing import Final, NoReturn

from msgspec import Struct

from monitor.rules.automaton_tree import (
    ANY,
    ASCII,
    BEGIN,
    END,
    NOT_NEWLINE,
    NOTHING,
    REPEATS_MAX,
    Anchor,
    Chars,
    Repeat,
    Tree,
    UnsupportedError,
    alt,
    cat,
    check_depth,
    one_character,
    regex_character,
)

PATTERN_CHARACTERS_MAX: Final = 4_096
_NESTED_MAX: Final = 50


def _bits(characters: str) -> int:
    bits = 0
    for character in characters:
        bits |= 1 << ord(character)
    return bits


_DIGIT = _bits(string.digits)
_WORD = _bits(string.ascii_letters + string.digits + "_")
_SPACE = _bits("\t\n\f\r ")
_PERL: Final = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_POSIX: Final = {
    "alnum": _bits(string.ascii_letters + string.digits),
    "alpha": _bits(string.ascii_letters),
    "ascii": ASCII,
    "blank": _bits("\t "),
    "cntrl": _bits("".join(map(chr, range(32))) + "\x7f"),
    "digit": _DIGIT,
    "graph": _bits(string.ascii_letters + string.digits + string.punctuation),
    "lower": _bits(string.ascii_lowercase),
    "print": _bits(string.ascii_letters + string.digits + string.punctuation + " "),
    "punct": _bits(string.punctuation),
    "space": _bits("\t\n\v\f\r "),
    "upper": _bits(string.ascii_uppercase),
    "word": _WORD,
    "xdigit": _bits(string.hexdigits),
}
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_REPEAT = re.compile(r"\{(\d{1,6})(,(\d{0,6}))?\}")
_FLAGS = re.compile(r"\(\?([imsU]*)(?:-([imsU]+))?([:)])")
_NAME = re.compile(r"\(\?P?<\w+>")
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,8})\})")
_OCTAL = re.compile(r"[1-7][0-7]{1,2}|0[0-7]{0,2}")
_FOLDED_SIGNS = _bits("kKsS")


class _Set(Struct, frozen=True, gc=False):
    """What a set between brackets has: ASCII, single characters beyond it, or all that is beyond it."""

    ascii: int = 0
    others: frozenset[str] = frozenset()
    beyond: bool = False


def parse_regex(pattern: str, flags: str = "") -> Tree:
    """The tree of an expression that RE2 has accepted. Raises :class:`UnsupportedError`."""
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise UnsupportedError(f"the regular expression is longer than {PATTERN_CHARACTERS_MAX:,} characters")
    parser = _Parser(pattern, frozenset(flags))
    tree = parser.parse_alternatives(0)
    if not parser.is_at_end:
        parser.refuse("an unexpected )")
    check_depth(tree)
    return tree


class _Parser:
    """Recursive descent over one pattern; flags hold to the end of the group that sets them."""

    def __init__(self, pattern: str, flags: frozenset[str]) -> None:
        self._text = pattern
        self._at = 0
        self._flags = flags

    @property
    def is_at_end(self) -> bool:
        """Whether all was read."""
        return self._at == len(self._text)

    def refuse(self, what: str) -> NoReturn:
        """Say what the kernel's automaton has not."""
        raise UnsupportedError(f"the regular expression has {what} (column {self._at + 1})")

    def parse_alternatives(self, depth: int) -> Tree:
        """Up to the end of the group."""
        if depth > _NESTED_MAX:
            self.refuse(f"groups nested deeper than {_NESTED_MAX}")
        before, parts = self._flags, [self._parse_sequence(depth)]
        while self._accept("|"):
            parts.append(self._parse_sequence(depth))
        self._flags = before
        return alt(parts)

    def _parse_sequence(self, depth: int) -> Tree:
        parts: list[Tree] = []
        while not self.is_at_end and self._text[self._at] not in "|)":
            parts.append(self._parse_repeated(self._parse_one(depth)))
        return cat(parts)

    def _parse_repeated(self, part: Tree) -> Tree:
        while True:
            least, most = self._parse_counts()
            if least < 0:
                return part
            self._accept("?")  # how much it takes does not change whether it matches
            part = NOTHING if most == 0 else Repeat(part, least, most)

    def _parse_counts(self) -> tuple[int, int | None]:
        """Least and most; -1 when nothing is repeated."""
        for sign, counts in {"*": (0, None), "+": (1, None), "?": (0, 1)}.items():
            if self._accept(sign):
                return counts
        found = _REPEAT.match(self._text, self._at)
        if found is None:
            return -1, None
        self._at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if max(least, most or 0) > REPEATS_MAX:
            self.refuse(f"more than {REPEATS_MAX} repetitions")
        return least, most

    def _parse_one(self, depth: int) -> Tree:
        if self._text.startswith("(", self._at):
            return self._parse_group(depth)
        character = self._take()
        match character:
            case ".":
                return ANY if "s" in self._flags else NOT_NEWLINE
            case "^":
                return Anchor("line begin") if "m" in self._flags else BEGIN
            case "$":
                return Anchor("line end") if "m" in self._flags else END
            case "[":
                return self._tree_of(self._parse_set())
            case "\\":
                return self._parse_escape()
        return self._spell(character)

    def _parse_group(self, depth: int) -> Tree:
        before = self._flags
        if found := _FLAGS.match(self._text, self._at):
            self._at = found.end()
            self._flags = (self._flags | set(found[1])) - set(found[2] or "")
            if found[3] == ")":
                return NOTHING  # to the end of the group around it
        elif found := _NAME.match(self._text, self._at):
            self._at = found.end()
        elif self._text.startswith("(?", self._at):
            self.refuse("a group that only RE2 knows")
        else:
            self._at += 1
        tree = self.parse_alternatives(depth + 1)
        if not self._accept(")"):
            self.refuse("a group without end")
        self._flags = before
        return tree

    def _parse_escape(self) -> Tree:
        character = self._text[self._at : self._at + 1]
        anchors: dict[str, Tree] = {"A": BEGIN, "z": END, "b": Anchor("word")}
        if character in anchors:
            self._at += 1
            return anchors[character]
        if character.lower() in _PERL:
            self._at += 1
            return self._tree_of(self._perl_set(character))
        return self._spell(self._parse_escaped_character())

    def _parse_escaped_character(self) -> str:
        if found := _HEX.match(self._text, self._at):
            self._at = found.end()
            return self._character(int(found[1] or found[2], 16))
        if found := _OCTAL.match(self._text, self._at):
            self._at = found.end()
            return self._character(int(found[0], 8))
        character = self._take()
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character.isalnum() or not character.isascii():
            self._at -= 1
            self.refuse(f"\\{character}")
        return character

    def _character(self, number: int) -> str:
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            self.refuse("a character that no argument has")
        return chr(number)

    def _parse_set(self) -> _Set:
        is_negated, found, is_first = self._accept("^"), _Set(), True
        while is_first or not self._text.startswith("]", self._at):
            found, is_first = _join(found, self._parse_set_part()), False
        self._at += 1
        return self._negate(found) if is_negated else found

    def _parse_set_part(self) -> _Set:
        if self._text.startswith("[:", self._at):
            end = self._text.index(":]", self._at)
            name, self._at = self._text[self._at + 2 : end], end + 2
            part = self._folded(_Set(_POSIX[name.removeprefix("^")]))
            return self._negate(part) if name.startswith("^") else part
        following = self._text[self._at + 1 : self._at + 2]
        if self._text[self._at] == "\\" and following.lower() in _PERL:
            self._at += 2
            return self._perl_set(following)
        return self._parse_range()

    def _parse_range(self) -> _Set:
        first = last = self._parse_set_character()
        if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
            self._at += 1
            last = self._parse_set_character()
        low, high = ord(first), ord(last)
        if high >= 128 and low != high:
            if high == 0x10FFFF and low <= 128:  # an author's way to say: all that is not ASCII
                return self._folded(_Set(ASCII >> low << low, beyond=True))
            self.refuse("a range of characters beyond ASCII")
        if low >= 128:
            return self._folded(_Set(others=frozenset(first)))
        return self._folded(_Set((1 << high + 1) - (1 << low)))

    def _parse_set_character(self) -> str:
        character = self._take()
        return self._parse_escaped_character() if character == "\\" else character

    def _perl_set(self, name: str) -> _Set:
        found = self._folded(_Set(_PERL[name.lower()]))
        return self._negate(found) if name.isupper() else found

    def _folded(self, found: _Set) -> _Set:
        """Without case, if that is asked for: by Unicode's simple folding, as RE2 does."""
        if "i" not in self._flags:
            return found
        bits, others = found.ascii, set(found.others)
        for lower, upper in zip(string.ascii_lowercase, string.ascii_uppercase, strict=True):
            pair = 1 << ord(lower) | 1 << ord(upper)
            bits |= pair if bits & pair else 0
        for other in found.others:
            regex_character(other)  # refuses what has a case
        others |= {sign for letter, sign in (("k", "\u212a"), ("s", "\u017f")) if bits >> ord(letter) & 1}
        return _Set(bits, frozenset(others), found.beyond)

    def _negate(self, found: _Set) -> _Set:
        if found.others and not found.beyond:
            if found.ascii & _FOLDED_SIGNS and "i" in self._flags:
                self.refuse("a negated set with k or s without case, which other letters fold to")
            self.refuse("a negated set with characters beyond ASCII")
        return _Set(ASCII & ~found.ascii, beyond=not found.beyond)

    def _tree_of(self, found: _Set) -> Tree:
        others = [] if found.beyond else [one_character(other) for other in sorted(found.others)]
        return alt([Chars(found.ascii & ~1, beyond=found.beyond), *others])

    def _spell(self, character: str) -> Tree:
        if character == "\0" or 0xD800 <= ord(character) < 0xE000:
            self.refuse("a character that no argument has")
        return regex_character(character) if "i" in self._flags else one_character(character)

    def _accept(self, sign: str) -> bool:
        if self._text.startswith(sign, self._at):
            self._at += 1
            return True
        return False

    def _take(self) -> str:
        character = self._text[self._at : self._at + 1]
        if not character:
            self.refuse("no end")
        self._at += 1
        return character


def _join(left: _Set, right: _Set) -> _Set:
    return _Set(left.ascii | right.ascii, left.others | right.others, left.beyond or right.beyond)
