"""Read YAML as nodes with positions, bounded: a hostile file costs a bounded time and never the process.

libyaml's events are looked at first, because composing nodes recurses in C (a
few thousand nested brackets end the process) and aliases multiply.
"""

import datetime
from collections.abc import Iterator
from typing import NamedTuple

import yaml

from monitor.model.rule import Location
from monitor.rules.errors import Problems
from monitor.rules.source_files import FILE_BYTES_MAX

DEPTH_MAX = 40
NODES_MAX = 50_000
"""Per file; aliases count each time they are used."""

_Loader: type[yaml.CSafeLoader | yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Plain = str | int | float | bool | None


class Entry(NamedTuple):
    """One key of a mapping with its value."""

    key: str
    key_node: yaml.Node
    value: yaml.Node


class YamlFile:
    """One file's nodes; mistakes go to ``problems`` with their place."""

    def __init__(self, name: str, problems: Problems) -> None:
        self.name = name
        self.problems = problems
        self._constructor = yaml.constructor.SafeConstructor()

    def documents(self, content: bytes) -> Iterator[yaml.Node]:
        """The root node of each document that is not empty; none when the file is not good YAML."""
        text = self._decode(content)
        if text is None or not self._is_bounded(text):
            return
        try:
            yield from [node for node in yaml.compose_all(text, Loader=_Loader) if not _is_empty(node)]
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            self._yaml_error(error, text)

    def place(self, node: yaml.Node, offset: int = 0) -> Location:
        """Where ``node`` begins, or ``offset`` characters into its text when that is on one line."""
        mark, end = node.start_mark, node.end_mark
        column = mark.column + 1
        if offset and mark.line == end.line:
            column += offset + (1 if getattr(node, "style", None) in {"'", '"'} else 0)
        return Location(self.name, mark.line + 1, column)

    def error(self, node: yaml.Node, message: str, offset: int = 0) -> None:
        """Note a mistake at this node."""
        self.problems.error(self.place(node, offset), message)

    def warn(self, node: yaml.Node, message: str) -> None:
        """Note something odd at this node."""
        self.problems.warn(self.place(node), message)

    def entries(self, node: yaml.Node, what: str) -> list[Entry]:
        """The keys and values of a mapping, in order; keys that are no text or come twice are mistakes."""
        if not isinstance(node, yaml.MappingNode):
            self.error(node, f"{what} must be a map of keys and values")
            return []
        found: dict[str, Entry] = {}
        for key_node, value in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.error(key_node, f"{what}: a key must be plain text")
            elif key_node.tag == "tag:yaml.org,2002:merge":
                self.error(key_node, f"{what}: keys are not merged (<<); write them out")
            elif key_node.value in found:
                self.error(key_node, f"key {key_node.value!r} is there twice")
            else:
                found[key_node.value] = Entry(key_node.value, key_node, value)
        return list(found.values())

    def scalar(self, node: yaml.Node) -> Plain:
        """The value of a scalar node; dates stay text. Raises ValueError for other nodes and for bad values."""
        if not isinstance(node, yaml.ScalarNode):
            raise ValueError("must be a single value")
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            raise ValueError(f"not a value that YAML knows: {_first_line(error)}") from error
        if isinstance(value, datetime.date | datetime.datetime):
            return str(node.value)
        if value is not None and not isinstance(value, str | int | float | bool):
            raise ValueError(f"values of type {type(value).__name__} have no meaning here")
        return value

    def items(self, node: yaml.Node) -> list[yaml.Node]:
        """The elements of a list; a single value is a list of one."""
        return list(node.value) if isinstance(node, yaml.SequenceNode) else [node]

    def _decode(self, content: bytes) -> str | None:
        if len(content) > FILE_BYTES_MAX:
            self.problems.error(Location(self.name, 1, 1), f"the file is larger than {FILE_BYTES_MAX:,} bytes")
            return None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = content[: error.start]
            line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
            self.problems.error(Location(self.name, line, column), "the file is not UTF-8")
            return None

    def _is_bounded(self, text: str) -> bool:
        """Nesting, nodes and aliases within bounds; looks at events only, which do not recurse."""
        depth = 0
        sizes = _Sizes()
        try:
            for event in yaml.parse(text, Loader=_Loader):
                if isinstance(event, yaml.CollectionStartEvent):
                    depth += 1
                elif isinstance(event, yaml.CollectionEndEvent):
                    depth -= 1
                sizes.count(event)
                if sizes.is_circular or depth > DEPTH_MAX or sizes.total > NODES_MAX:
                    what = f"nested deeper than {DEPTH_MAX}" if depth > DEPTH_MAX else f"more than {NODES_MAX:,} nodes"
                    reason = "an alias within its own anchor" if sizes.is_circular else f"too large: {what}"
                    line = event.start_mark.line + 1 if event.start_mark is not None else 1
                    self.problems.error(Location(self.name, line, 1), reason)
                    return False
        except (yaml.YAMLError, ValueError) as error:
            self._yaml_error(error, text)
            return False
        return True

    def _yaml_error(self, error: Exception, text: str) -> None:
        began = getattr(error, "context_mark", None)
        mark = getattr(error, "problem_mark", None) or began
        before = text[: getattr(error, "position", 0)]  # of a character that YAML does not allow
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        if mark is not None:
            line, column = mark.line + 1, mark.column + 1
        reason = f"not YAML: {_first_line(error)}"
        if began is not None and began.line + 1 < line:
            reason += f" ({getattr(error, 'context', None) or 'in what'} that begins in line {began.line + 1})"
        self.problems.error(Location(self.name, line, column), reason)


class _Sizes:
    """Counts nodes as if every alias were written out."""

    def __init__(self) -> None:
        self.total = 0
        self.is_circular = False
        self._open: list[tuple[str | None, int]] = []
        self._anchors: dict[str, int] = {}

    def count(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            self.is_circular = any(anchor == event.anchor for anchor, _ in self._open)
            self.total += self._anchors.get(
                event.anchor or "", 1
            )  # one that nobody defined is the composer's to refuse
        elif isinstance(event, yaml.ScalarEvent):
            self.total += 1
            if event.anchor:
                self._anchors[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append((event.anchor, self.total))
            self._anchors.pop(event.anchor or "", None)
            self.total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self._open.pop()
            if anchor:
                self._anchors[anchor] = self.total - before
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()


def _is_empty(node: yaml.Node | None) -> bool:
    """Whether a document has nothing in it, as after a last ``---``."""
    return node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null")


def _first_line(error: Exception) -> str:
    problem = getattr(error, "problem", None)
    return str(problem or error).split("\n", 1)[0][:200]
