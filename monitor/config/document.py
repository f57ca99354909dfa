"""Read a YAML file into nodes that know their line and column.

Bounded: the size of the file and the depth of nesting. Nothing is
constructed: tags that name Python objects are just words here.
"""

from pathlib import Path
from typing import Final, Protocol

import yaml

from monitor.config.errors import ConfigError, ConfigErrors

FILE_BYTES_MAX: Final = 1 << 20
DEPTH_MAX: Final = 16

_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Mark(Protocol):
    """A place: libyaml's and PyYAML's own have no common class."""

    line: int
    column: int


def read_document(path: Path) -> yaml.Node | None:
    """Read the one document in a file; None when it is empty, or all comments.

    Raises:
        ConfigErrors: it is no file that can be read, no UTF-8 or no YAML, or too large.
    """
    try:
        if not path.is_file():
            raise _fail(str(path), "no such file" if not path.exists() else "not a regular file")
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _fail(str(path), f"cannot be read: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise _fail(str(path), f"larger than {FILE_BYTES_MAX >> 20} MiB: this is no configuration")
    return _parse(path, content)


def find_type(node: yaml.Node) -> str:
    """Name what a node is: ``str int float bool null``, ``list``, ``mapping``, or a tag of its own."""
    if isinstance(node, yaml.MappingNode):
        return "mapping"
    if isinstance(node, yaml.SequenceNode):
        return "list"
    return str(node.tag).removeprefix(_TAG_PREFIX)


def find_location(path: Path, node: yaml.Node) -> str:
    """Answer ``file:line:column`` of a node, counted from 1."""
    return _show_location(path, node.start_mark)


def _parse(path: Path, content: bytes) -> yaml.Node | None:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _fail(_locate_index(path, content[: error.start].decode()), "not valid UTF-8") from error
    if control := yaml.reader.Reader.NON_PRINTABLE.search(text):
        place = _locate_index(path, text[: control.start()])
        raise _fail(place, f"not YAML: the character {control[0]!a} is not allowed")
    try:
        _check_depth(path, text)
        return yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _fail(
            _show_location(path, mark), f"not YAML: {', '.join(filter(None, (error.context, error.problem)))}"
        ) from error


def _check_depth(path: Path, text: str) -> None:
    """Composing recurses once a level, in C where that ends the process: count the levels first."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise _fail(_show_location(path, event.start_mark), f"nested deeper than {DEPTH_MAX} levels")


def _locate_index(path: Path, before: str) -> str:
    return f"{path}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def _show_location(path: Path, mark: _Mark | None) -> str:
    if mark is None:
        return str(path)
    return f"{path}:{mark.line + 1}:{mark.column + 1}"


def _fail(location: str, message: str) -> ConfigErrors:
    return ConfigErrors((ConfigError(location, message),))
