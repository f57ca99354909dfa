"""Build :class:`~monitor.config.settings.Settings`: defaults < configuration file < ``STOCKADE_*`` < flags.

All mistakes in all sources are found before any is reported; an unknown name is a
mistake. What may be set is described by :mod:`monitor.config.schema`, the text of a
value is parsed by :mod:`monitor.config.values`, YAML is read by
:mod:`monitor.config.document`.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar, assert_never

import msgspec
import yaml
from msgspec import Struct

from monitor.config.document import find_location, find_type, read_document
from monitor.config.errors import ConfigError, ConfigErrors, quote
from monitor.config.schema import Items, Leaf, Member, Section, build_schema
from monitor.config.settings import Settings

__all__ = ["DEFAULT_CONFIG", "ConfigError", "ConfigErrors", "load_settings"]

DEFAULT_CONFIG: Final = Path("/etc/stockade/stockade.yml")

ENVIRONMENT_PREFIX: Final = "STOCKADE_"
ENVIRONMENT_CONFIG: Final = "STOCKADE_CONFIG"
_NOT_SETTINGS: Final = frozenset({ENVIRONMENT_CONFIG, "STOCKADE_KERNEL_TESTS"})

_ITEMS_MAX: Final = 1000

_StructT = TypeVar("_StructT", bound=Struct)

Values = dict[str, Any]
"""Attribute to value, nested as the structs are."""


def load_settings(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """Load the settings.

    ``path`` is the file the user named, which must be there; else the one that ``STOCKADE_CONFIG`` names; else
    :data:`DEFAULT_CONFIG`, which may be missing. ``overrides`` are the values of flags by written name (``mode``,
    ``run_dir``, ``rings.bulk``): text, paths (relative ones too), truth values, or lists of them; None and empty
    lists are flags that were not given. A list (``rules``, ``observe``) replaces that of the source before it.

    Raises:
        ConfigErrors: every mistake, in the order of the sources.
    """
    reader = _Reader()
    if file := find_config(path, environ):
        reader.read_file(file)
    reader.read_environment(environ)
    reader.read_flags(overrides)
    if reader.errors:
        raise ConfigErrors(tuple(reader.errors))
    return _build(Settings(), reader.values)


def find_config(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Answer which file :func:`load_settings` reads; None when the default one is missing."""
    named = path or (Path(environ[ENVIRONMENT_CONFIG]) if environ.get(ENVIRONMENT_CONFIG) else None)
    return named or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)


class _Reader:
    """Collects values and mistakes over the sources."""

    def __init__(self) -> None:
        self.values: Values = {}
        self.errors: list[ConfigError] = []
        self._schema = build_schema()
        self._path = DEFAULT_CONFIG

    def read_file(self, path: Path) -> None:
        """Read the configuration file."""
        self._path = path
        try:
            root = read_document(path)
        except ConfigErrors as errors:
            self.errors += errors.errors
            return
        if root is not None:
            self._read_section(root, self._schema, self.values)

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Read ``STOCKADE_*``; lists are separated by colons."""
        known = {ENVIRONMENT_PREFIX + name.replace(".", "_").upper(): name for name in _list_names(self._schema)}
        for variable in sorted(environ):
            if not variable.startswith(ENVIRONMENT_PREFIX) or variable in _NOT_SETTINGS:
                continue
            if variable in known:
                self._set_text(known[variable], environ[variable].split(os.pathsep), location=variable)
            else:
                self._add(ascii(variable)[1:-1], f"unknown setting{_suggest(variable, known)}")

    def read_flags(self, overrides: Mapping[str, object]) -> None:
        """Take the flags' values; relative paths are below the working folder."""
        for name, given in overrides.items():
            texts = [str(one) for one in (given if isinstance(given, list | tuple) else [given]) if one is not None]
            if texts:
                self._set_text(name, texts, location=f"--{name.replace('_', '-')}", is_flag=True)

    def _set_text(self, name: str, texts: list[str], *, location: str, is_flag: bool = False) -> None:
        member, into = self._find(name)
        if not isinstance(member, Items):
            texts = [texts[0] if is_flag else os.pathsep.join(texts)]
        item = member.item if isinstance(member, Items) else member
        try:
            found = [_parse_text(item, text, is_flag=is_flag) for text in texts]
        except ValueError as error:
            self._add(location, str(error))
            return
        into[member.attribute] = tuple(found) if isinstance(member, Items) else found[0]

    def _find(self, name: str) -> tuple[Member, Values]:
        """Answer what a dotted written name is, and the values that it belongs to."""
        section, into = self._schema, self.values
        *above, last = name.split(".")
        for part in above:
            inner = section.members[part]
            assert isinstance(inner, Section)
            section, into = inner, into.setdefault(inner.attribute, {})
        return section.members[last], into

    def _read_section(self, node: yaml.Node, section: Section, into: Values) -> None:
        if find_type(node) == "null":
            return  # all of it is commented out
        if not isinstance(node, yaml.MappingNode):
            self._add(self._at(node), f"expected settings as 'name: value', not {_show_node(node)}")
            return
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name in seen:
                self._add(self._at(key), f"{quote(name)} is set twice (first in line {seen[name].start_mark.line + 1})")
            elif member := section.members.get(name):
                self._read_member(value, member, into)
            else:
                self._add(self._at(key), f"unknown setting {quote(name)}{_suggest(name, section.members)}")
            seen[name] = key

    def _read_member(self, node: yaml.Node, member: Member, into: Values) -> None:
        match member:
            case Section():
                self._read_section(node, member, into.setdefault(member.attribute, {}))
            case Items():
                into[member.attribute] = tuple(self._read_items(node, member))
            case Leaf():
                into[member.attribute] = self._read_leaf(node, member)
            case _:
                assert_never(member)

    def _read_items(self, node: yaml.Node, items: Items) -> Iterator[object]:
        if not isinstance(node, yaml.SequenceNode) or len(node.value) > _ITEMS_MAX:
            self._add(self._at(node), f"expected a list of at most {_ITEMS_MAX}, not {_show_node(node)}")
            return
        for child in node.value:
            if isinstance(items.item, Section) and items.item.is_named and isinstance(child, yaml.ScalarNode):
                yield self._read_short_form(child, items.item)
            elif isinstance(items.item, Section):
                yield self._read_struct(child, items.item)
            else:
                yield self._read_leaf(child, items.item)

    def _read_short_form(self, node: yaml.ScalarNode, section: Section) -> Struct | None:
        assert section.from_text is not None
        try:
            return section.from_text(str(node.value))
        except ValueError as error:
            self._add(self._at(node), str(error))
            return None

    def _read_struct(self, node: yaml.Node, section: Section) -> Struct | None:
        values: Values = {}
        before = len(self.errors)
        self._read_section(node, section, values)
        if len(self.errors) > before:
            return None
        try:
            return section.struct(**values)
        except TypeError:
            required = [f.name for f in msgspec.structs.fields(section.struct) if f.required]
            self._add(self._at(node), f"needs {' and '.join(map(repr, required))}")
            return None

    def _read_leaf(self, node: yaml.Node, leaf: Leaf) -> object:
        """Answer the value; None where there is none, or a mistake."""
        found = find_type(node)
        if found not in leaf.yaml_types:
            self._add(self._at(node), f"expected {leaf.expects}, not {_show_node(node)}")
        elif found != "null":
            try:
                return leaf.parse(str(node.value))
            except ValueError as error:
                self._add(self._at(node), str(error))
        return None

    def _at(self, node: yaml.Node) -> str:
        return find_location(self._path, node)

    def _add(self, location: str, message: str) -> None:
        self.errors.append(ConfigError(location, message))


def _parse_text(member: Member, text: str, *, is_flag: bool) -> object:
    """Parse one value of the environment or a flag. Raises ValueError."""
    if isinstance(member, Leaf):
        is_relative = is_flag and member.is_path and not text.startswith("/")
        return member.parse(str(Path(text).absolute()) if is_relative else text)
    assert isinstance(member, Section)
    assert member.from_text is not None
    return member.from_text(text)


def _list_names(section: Section) -> Iterator[str]:
    """Yield the dotted written name of every setting."""
    for name, member in section.members.items():
        if isinstance(member, Section):
            yield from (f"{name}.{inner}" for inner in _list_names(member))
        else:
            yield name


def _build(struct: _StructT, values: Values) -> _StructT:
    """Replace what is given, in the struct and in those within it."""
    changes = {
        name: _build(getattr(struct, name), value) if isinstance(value, dict) else value
        for name, value in values.items()
    }
    return msgspec.structs.replace(struct, **changes)


def _suggest(name: str, known: Iterable[str]) -> str:
    nearest = get_close_matches(name, list(known), n=1)
    return f", did you mean {nearest[0]}?" if nearest else ""


def _show_node(node: yaml.Node) -> str:
    names = {"int": "the number ", "float": "the number ", "bool": "the truth value ", "str": "the text "}
    match find_type(node):
        case "mapping":
            return "a mapping"
        case "list":
            return "a list"
        case "null":
            return "nothing"
        case kind:
            return f"{names.get(kind, '')}{quote(str(node.value))}"
