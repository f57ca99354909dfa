"""Parse a stream filter: ``Image|endswith: /curl and not container.name: web``.

Sigma items joined by ``and``, ``or``, ``not`` and parentheses; a word by itself
is looked for in the program, its command line and the file. Values are words,
quoted texts or lists in brackets. The common modifiers are done here; only a
rare one (``base64``, ``windash`` ...) imports pySigma.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Final, NoReturn

from monitor.rules.compiler import CompileError, compile_predicate
from monitor.rules.field import Field, FieldKind, Predicate
from monitor.rules.ir import AnyNode, Cidr, Exists, FieldRef, Not, Number, Operator, Regex
from monitor.rules.items import (
    ItemError,
    UnavailableError,
    bounded_number,
    build_text_node,
    build_value_node,
    get_field,
    parse_text,
    require_kind,
    surround,
)
from monitor.rules.regex_bank import RegexError, compile_regex
from monitor.rules.trees import all_of, any_of

CHARACTERS_MAX: Final = 4_096
DEPTH_MAX: Final = 32
KEYWORD_FIELDS: Final = ("process.executable", "process.command_line", "process.script", "file.path")

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<paren>[()])
      | (?P<key>[A-Za-z0-9_.@-]*(?:\|[A-Za-z0-9_]+)*:(?!//)) # Field|modifier:
      | (?P<open>\[)
      | (?P<quoted>'(?:[^']|'')*'|"(?:[^"\\]|\\.)*")
      | (?P<word>[^\s()\[\],'"][^\s()\],]*)
    )""",
    re.VERBOSE,
)
_VALUE_WORD = re.compile(r"\s*([^\s(),'\"\[\]][^\s(),\]]*)")
_VALUE_QUOTED = re.compile(r"""\s*('(?:[^']|'')*'|"(?:[^"\\]|\\.)*")""")
_SIMPLE = frozenset(
    {"contains", "startswith", "endswith", "all", "cased", "neq", "re", "i", "m", "s", "exists", "cidr", "fieldref",
     "lt", "lte", "gt", "gte"}
)  # fmt: skip
_COMPARISONS: dict[str, Operator] = {"lt": "lt", "lte": "lte", "gt": "gt", "gte": "gte"}


class FilterError(ValueError):
    """A filter that cannot be read; ``column`` counts characters from 1."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"filter, column {column}: {message}")
        self.column = column
        self.message = message


class Value:
    """One value of an item, and whether it was quoted (then ``null`` and ``true`` are texts)."""

    __slots__ = ("is_quoted", "text")

    def __init__(self, text: str, *, is_quoted: bool) -> None:
        self.text = text
        self.is_quoted = is_quoted


def parse_filter(text: str) -> Predicate:
    """The predicate of a filter; an empty one matches everything. Raises :class:`FilterError`."""
    node = parse_filter_tree(text)
    try:
        return compile_predicate(node)
    except CompileError as error:
        raise FilterError(1, str(error)) from error


def parse_filter_tree(text: str) -> AnyNode:
    """The filter as a tree. Raises :class:`FilterError`."""
    if len(text) > CHARACTERS_MAX:
        raise FilterError(CHARACTERS_MAX, f"longer than {CHARACTERS_MAX:,} characters")
    if not text.strip():
        return all_of([])
    parser = _Parser(text)
    node = parser.parse_any(0)
    parser.expect_end()
    return node


class _Parser:
    """Recursive descent; ``not`` binds closest, then ``and``, then ``or``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parse_any(self, depth: int) -> AnyNode:
        nodes = [self._parse_all(depth)]
        while self._accept_word("or"):
            nodes.append(self._parse_all(depth))
        return any_of(nodes)

    def expect_end(self) -> None:
        if self._text[self._at :].strip():
            self._fail("expected 'and', 'or' or the end")

    def _parse_all(self, depth: int) -> AnyNode:
        nodes = [self._parse_not(depth)]
        while self._accept_word("and"):
            nodes.append(self._parse_not(depth))
        return all_of(nodes)

    def _parse_not(self, depth: int) -> AnyNode:
        if depth > DEPTH_MAX:
            self._fail(f"nested deeper than {DEPTH_MAX}")
        if self._accept_word("not"):
            return Not(self._parse_not(depth + 1))
        if self._accept("("):
            node = self.parse_any(depth + 1)
            if not self._accept(")"):
                self._fail("expected ')'")
            return node
        return self._parse_item()

    def _parse_item(self) -> AnyNode:
        self._skip_space()
        start = self._at
        match = _TOKEN.match(self._text, self._at)
        if match is None or match.lastgroup in {"paren", "open"}:
            self._fail("expected an item such as Image|endswith: /curl")
        self._at = match.end()
        try:
            if match.lastgroup == "key":
                return _build_item(match["key"][:-1], self._parse_values())
            return _build_keyword(_unquote(match[match.lastgroup or 0]))
        except (ItemError, UnavailableError) as error:
            raise FilterError(start + 1, str(error)) from error

    def _parse_values(self) -> list[Value]:
        if not self._accept("["):
            return [self._parse_value()]
        values = [self._parse_value()]
        while self._accept(","):
            values.append(self._parse_value())
        if not self._accept("]"):
            self._fail("expected ',' or ']'")
        return values

    def _parse_value(self) -> Value:
        for pattern in (_VALUE_QUOTED, _VALUE_WORD):
            match = pattern.match(self._text, self._at)
            if match is not None:
                self._at = match.end()
                return Value(_unquote(match[1]), is_quoted=pattern is _VALUE_QUOTED)
        return self._fail("expected a value")

    def _skip_space(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _accept(self, character: str) -> bool:
        self._skip_space()
        if self._text.startswith(character, self._at):
            self._at += 1
            return True
        return False

    def _accept_word(self, word: str) -> bool:
        self._skip_space()
        end = self._at + len(word)
        if self._text.startswith(word, self._at) and (end == len(self._text) or self._text[end] in " \t\r\n("):
            self._at = end
            return True
        return False

    def _fail(self, message: str) -> NoReturn:
        self._skip_space()
        found = self._text[self._at : self._at + 20]
        raise FilterError(self._at + 1, f"{message}, found {found!r}" if found else f"{message}; it ends here")


def _unquote(text: str) -> str:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text.startswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return text


def _build_keyword(text: str) -> AnyNode:
    parts = parse_text(text)
    if not any(part is not None for part in parts):
        raise ItemError("an empty word is in every event")
    return any_of([build_text_node(get_field(name), surround(parts), cased=False) for name in KEYWORD_FIELDS])


def _build_item(key: str, values: list[Value]) -> AnyNode:
    name, *modifiers = key.split("|")
    if not name:
        raise ItemError("expected a field before ':'")
    if not _SIMPLE.issuperset(modifiers):
        from monitor.rules.lowering import lower_item  # noqa: PLC0415  # pySigma, for rare modifiers only

        return lower_item(key, [value.text for value in values], KEYWORD_FIELDS)
    field = get_field(name)
    build = _builder(field, modifiers)
    nodes = [build(value) for value in values]
    linked = all_of(nodes) if "all" in modifiers else any_of(nodes)
    return Not(linked) if "neq" in modifiers else linked


def _builder(field: Field, modifiers: list[str]) -> Callable[[Value], AnyNode]:
    """What makes the node of one value. At most one of the modifiers says what kind of test it is."""
    kinds = [modifier for modifier in modifiers if modifier not in {"all", "neq", "cased", "i", "m", "s"}]
    if len(kinds) > 1:
        raise ItemError(f"{kinds[0]} and {kinds[1]} do not go together")
    kind = kinds[0] if kinds else ""
    if kind != "re" and {"i", "m", "s"}.intersection(modifiers):
        raise ItemError("i, m and s are flags of re: write Field|re|i")
    if kind in _COMPARISONS:
        require_kind(field, "a comparison", FieldKind.NUMBER)
        return lambda value: Number(field.name, _COMPARISONS[kind], _number(value))
    match kind:
        case "re":
            require_kind(field, "a regular expression", FieldKind.TEXT, FieldKind.TEXTS)
            flags = "".join(flag for flag in "ims" if flag in modifiers)
            return lambda value: _regex(field, value.text, flags)
        case "exists":
            return lambda value: Exists(field.name) if _truth(value) else Not(Exists(field.name))
        case "cidr":
            require_kind(field, "cidr", FieldKind.TEXT, FieldKind.TEXTS)
            return lambda value: Cidr(field.name, _network(value.text))
        case "fieldref":
            return lambda value: FieldRef(field.name, get_field(value.text).name)
        case _:
            return lambda value: _text(field, value, kind, cased="cased" in modifiers)


_ENDS = {"contains": (True, True), "startswith": (False, True), "endswith": (True, False)}
"""Whether there is a wildcard before, and after."""


def _text(field: Field, value: Value, kind: str, *, cased: bool) -> AnyNode:
    if value.text == "null" and not value.is_quoted and not kind:
        return Not(Exists(field.name))
    parts = parse_text(value.text)
    if kind and not parts:
        raise ItemError("an empty text is part of every value; to ask whether there is one write |exists: true")
    if kind:
        before, after = _ENDS[kind]
        parts = surround(parts, before=before, after=after)
    return build_value_node(field, parts, cased=cased)


def _number(value: Value) -> int | float:
    try:
        number = float(value.text)
        return bounded_number(int(number) if number.is_integer() else number)
    except (ValueError, OverflowError) as error:
        raise ItemError(f"{value.text[:40]!r} is no number") from error


def _truth(value: Value) -> bool:
    if value.text.lower() not in {"true", "false"}:
        raise ItemError("exists takes true or false")
    return value.text.lower() == "true"


def _regex(field: Field, pattern: str, flags: str) -> Regex:
    try:
        compile_regex(pattern, flags)
    except RegexError as error:
        raise ItemError(f"RE2 refuses this regular expression: {error}") from error
    return Regex(field.name, pattern, flags)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ItemError(f"{text[:40]!r} is no network") from error
