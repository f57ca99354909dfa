"""Read the ``detection`` of a rule: selections and condition, each mistake at its place.

pySigma parses the condition; its names are resolved here, so that a missing
one is reported where it stands.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml
from sigma.conditions import ConditionAND, ConditionIdentifier, ConditionNOT, ConditionOR, ConditionSelector
from sigma.conditions import SigmaCondition as PySigmaCondition

from monitor.rules.ir import FALSE, AnyNode, Not
from monitor.rules.selection import ReadingContext, read_selection
from monitor.rules.suggest import suggest
from monitor.rules.trees import all_of, any_of
from monitor.rules.yaml_nodes import YamlFile

CONDITION_CHARACTERS_MAX = 4_096
PARENTHESES_MAX = 32
_WORD = re.compile(r"[A-Za-z0-9_*-]+")
_MANY_NOTS = re.compile(r"(?:\bnot\s+){9}")
_RESERVED = frozenset({"and", "or", "not", "of", "them", "all", "any", "1"})


def read_detection(node: yaml.Node, context: ReadingContext) -> AnyNode:
    """The predicate of ``detection``; mistakes are noted in ``context.file``, and the result then means nothing."""
    file = context.file
    entries = file.entries(node, "detection")
    if not isinstance(node, yaml.MappingNode):
        return FALSE
    selections: dict[str, AnyNode] = {}
    condition: yaml.Node | None = None
    key_nodes: dict[str, yaml.Node] = {}
    for entry in entries:
        if entry.key == "condition":
            condition = entry.value
        elif entry.key in _RESERVED:
            file.error(
                entry.key_node, f"a selection cannot be called {entry.key!r}, which means something in conditions"
            )
        elif entry.key == "timeframe":
            file.error(entry.key_node, "timeframe belongs to Sigma's old aggregations; write a correlation rule")
        else:
            selections[entry.key] = read_selection(entry.value, context, f"selection {entry.key!r}")
            key_nodes[entry.key] = entry.key_node
    if not selections:
        file.error(node, "detection has no selection")
    if condition is None:
        file.error(node, "detection has no condition")
        return FALSE
    used: set[str] = set()
    nodes = [_read_condition(part, selections, used, file) for part in file.items(condition)]
    if not nodes:
        file.error(condition, "condition is an empty list")
    for name, key_node in key_nodes.items():
        if name not in used:
            file.warn(key_node, f"selection {name!r} is not used in the condition")
    return any_of(nodes)


def _read_condition(node: yaml.Node, selections: dict[str, AnyNode], used: set[str], file: YamlFile) -> AnyNode:
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str" or not node.value.strip():
        file.error(node, "a condition must be text")
        return FALSE
    text = node.value
    if len(text) > CONDITION_CHARACTERS_MAX or text.count("(") > PARENTHESES_MAX or _MANY_NOTS.search(text):
        limits = f"{CONDITION_CHARACTERS_MAX:,} characters, {PARENTHESES_MAX} parentheses and eight not in a row"
        file.error(node, f"the condition is too long: {limits} are the bounds")
        return FALSE
    try:
        parsed = PySigmaCondition(text, None).parse(False)  # type: ignore[arg-type]  # names are resolved here
    except Exception as error:  # the call into pySigma
        offset = getattr(error.__context__, "loc", 0)
        file.error(node, f"condition: {_syntax_reason(text, error)}", offset=offset)
        return FALSE
    resolver = _Resolver(selections, used, lambda name, reason: file.error(node, reason, offset=_find_word(text, name)))
    return resolver.resolve(parsed)


def _syntax_reason(text: str, error: Exception) -> str:
    if "|" in text:
        return "the pipe is Sigma's old aggregation; write a correlation rule"
    offset = getattr(error.__context__, "loc", None)
    if offset is None:
        return str(error)[:200]
    rest = text[offset:].strip()
    if not rest:
        return "ends too early"
    word = rest.split()[0]
    hint = ""
    if word.lower() in _RESERVED and word != word.lower():
        hint = f"; write {word.lower()} in small letters"
    elif word == "of":
        hint = "; it knows 1 of, any of and all of"
    return f"cannot go on at {rest[:20]!r}{hint}"


def _find_word(text: str, word: str) -> int:
    return next((match.start() for match in _WORD.finditer(text) if match.group() == word), 0)


class _Resolver:
    """Puts the selections' predicates in the place of their names."""

    def __init__(self, selections: dict[str, AnyNode], used: set[str], report: Callable[[str, str], None]) -> None:
        self._selections = selections
        self._used = used
        self._report = report

    def resolve(self, parsed: Any) -> AnyNode:
        match _unwrap(parsed):
            case ConditionAND(args=parts):
                return all_of([self.resolve(part) for part in parts])
            case ConditionOR(args=parts):
                return any_of([self.resolve(part) for part in parts])
            case ConditionNOT(args=[part]):
                return Not(self.resolve(part))
            case ConditionIdentifier(identifier=name):
                return self._selection(name)
            case ConditionSelector() as selector:
                return self._several(selector)
            case other:
                raise TypeError(f"pySigma made a {type(other).__name__} of a condition")

    def _selection(self, name: str) -> AnyNode:
        if name not in self._selections:
            self._report(name, f"condition names {name!r}, which is no selection{suggest(name, self._selections)}")
            return FALSE
        self._used.add(name)
        return self._selections[name]

    def _several(self, selector: ConditionSelector) -> AnyNode:
        pattern = ".*" if selector.pattern == "them" else re.escape(selector.pattern).replace(r"\*", ".*")
        hidden = not selector.pattern.startswith("_")
        names = [
            name for name in self._selections if re.fullmatch(pattern, name) and not (hidden and name.startswith("_"))
        ]
        if not names:
            self._report(selector.pattern, f"condition: no selection is called {selector.pattern!r}")
            return FALSE
        self._used.update(names)
        link = all_of if selector.cond_class is ConditionAND else any_of
        return link([self._selections[name] for name in names])


def _unwrap(parsed: Any) -> Any:
    """Older pySigma leaves operands in pyparsing's lists of one."""
    while type(parsed).__name__ == "ParseResults" and len(parsed) == 1:
        parsed = parsed[0]
    return parsed
