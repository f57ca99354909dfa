"""Read the ``correlation`` of a rule, with its references to other rules resolved.

Counting is the engine's: :mod:`monitor.engine.correlate`.
"""

import re
from collections.abc import Mapping
from typing import Any, get_args

import yaml
from msgspec import Struct, structs
from sigma.correlations import SigmaCorrelationRule

from monitor.model.rule import Rule
from monitor.rules.categories import CATEGORIES
from monitor.rules.document import CorrelationDraft
from monitor.rules.expressions import find_alternatives
from monitor.rules.field import Field
from monitor.rules.head import read_choice, read_text
from monitor.rules.ir import And, AnyNode, CorrelationIR, Exists, Operator, Or, RuleIR
from monitor.rules.items import ItemError, UnavailableError, get_field
from monitor.rules.plain import build_plain
from monitor.rules.suggest import suggest
from monitor.rules.yaml_nodes import Entry, YamlFile

KINDS = ("event_count", "value_count", "temporal", "temporal_ordered")
_METRICS = ("value_sum", "value_avg", "value_percentile", "value_median")
_KEYS = ("type", "rules", "group-by", "timespan", "aliases", "condition", "generate")
_OPERATORS: tuple[Operator, ...] = get_args(Operator)
_TIMESPAN = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
BASE_RULES_MAX = 64
COUNT_MAX = 10_000
"""A window keeps as many events as it may have to count."""
TIMESPAN_MAX_S = 366 * 86_400


class Known(Struct, frozen=True):
    """What references can resolve to: by name and by id."""

    rules: Mapping[str, RuleIR]
    correlations: Mapping[str, Rule]

    def find(self, reference: str) -> Rule | None:
        """The rule that a reference means; None when there is none."""
        found = self.rules.get(reference)
        return found.rule if found is not None else self.correlations.get(reference)


class _Parts(Struct):
    """The values of a correlation as they are read."""

    kind: str = ""
    bases: tuple[tuple[Rule, yaml.Node], ...] = ()
    references: tuple[str, ...] = ()
    group_by: tuple[tuple[str, yaml.Node], ...] = ()
    timespan_s: int = 0
    aliases: Mapping[str, Mapping[str, str]] = {}
    operator: Operator = "gte"
    count: float = 0.0
    value_fields: tuple[str, ...] = ()
    expression: str = ""
    generate: bool = False


def read_correlation(draft: CorrelationDraft, known: Known) -> tuple[CorrelationIR, bool] | None:
    """The correlation and whether its base rules alert too (``generate``); None after mistakes, which are noted."""
    entry = draft.document.sections["correlation"]
    before = len(draft.document.file.problems.errors)
    reader = _Reader(draft, known)
    reader.read(entry.value)
    if len(draft.document.file.problems.errors) > before:
        return None
    return reader.build()


class _Reader:
    def __init__(self, draft: CorrelationDraft, known: Known) -> None:
        self._draft = draft
        self._known = known
        self._file: YamlFile = draft.document.file
        self._parts = _Parts()
        self._inactive: list[str] = []
        self._node: yaml.Node = draft.document.node
        self._condition_node: yaml.Node = draft.document.node

    def read(self, node: yaml.Node) -> None:
        self._node = node
        entries = {entry.key: entry for entry in self._file.entries(node, "correlation")}
        if not isinstance(node, yaml.MappingNode):
            return
        for key, entry in entries.items():
            if key not in _KEYS:
                self._file.error(entry.key_node, f"unknown key {key!r} in correlation{suggest(key, _KEYS)}")
        for key in ("type", "rules", "timespan"):
            if key not in entries:
                self._file.error(node, f"the correlation has no {key}")
        # In this order: fields are judged by the base rules' categories, references by the type.
        readers = {
            "type": self._read_type,
            "rules": self._read_rules,
            "timespan": self._read_timespan,
            "aliases": self._read_aliases,
            "group-by": self._read_group_by,
            "condition": self._read_condition,
            "generate": self._read_generate,
        }
        for key, reader in readers.items():
            if key in entries:
                reader(entries[key])
        self._check_condition(entries)

    def build(self) -> tuple[CorrelationIR, bool] | None:
        parts = self._parts
        expression = self._build_expression()
        if expression is _FAILED:
            return None
        inactive = self._draft.rule.inactive_reason or "; ".join(dict.fromkeys(self._inactive))
        ir = CorrelationIR(
            rule=structs.replace(self._draft.rule, inactive_reason=inactive),
            kind=parts.kind,
            base_rule_ids=tuple(rule.id for rule, _ in parts.bases),
            group_by=tuple(self._group_of(reference) for reference in parts.references),
            timespan_s=parts.timespan_s,
            operator=parts.operator,
            count=parts.count,
            value_fields=parts.value_fields,
            expression=expression,
        )
        return ir, parts.generate

    def _read_type(self, entry: Entry) -> None:
        self._parts.kind = read_choice(entry.value, self._file, (*KINDS, *_METRICS))
        if self._parts.kind in _METRICS:
            self._inactive.append(f"correlation type {self._parts.kind}: events here carry no amounts to compute with")

    def _read_rules(self, entry: Entry) -> None:
        nodes = self._file.items(entry.value)
        if not nodes or len(nodes) > BASE_RULES_MAX:
            self._file.error(entry.value, f"rules must name 1 to {BASE_RULES_MAX} rules")
            return
        bases = []
        for node in nodes:
            reference = read_text(node, self._file)
            rule = self._known.find(reference) if reference else None
            if rule is not None:
                bases.append((rule, node, reference))
            elif reference:
                names = [*self._known.rules, *self._known.correlations]
                self._file.error(node, f"no rule has the name or id {reference!r}{suggest(reference, names)}")
        if len({rule.id for rule, _, _ in bases}) < len(bases):
            self._file.error(entry.value, "a rule is named twice")
        self._parts.bases = tuple((rule, node) for rule, node, _ in bases)
        self._parts.references = tuple(reference for _, _, reference in bases)
        self._inactive += [
            f"rule {rule.name} is inactive: {rule.inactive_reason}" for rule, _, _ in bases if rule.inactive_reason
        ]

    def _read_timespan(self, entry: Entry) -> None:
        text = read_text(entry.value, self._file)
        match = _TIMESPAN.fullmatch(text)
        if match:
            self._parts.timespan_s = int(match[1]) * _UNIT_S[match[2]]
            if self._parts.timespan_s > TIMESPAN_MAX_S:
                self._file.error(entry.value, f"timespan {text} is longer than 366d")
        elif text:
            self._file.error(entry.value, f"timespan {text[:40]!r} is not a number with s, m, h, d or w, e.g. 5m")

    def _read_aliases(self, entry: Entry) -> None:
        aliases: dict[str, dict[str, str]] = {}
        for alias in self._file.entries(entry.value, "aliases"):
            mapping: dict[str, str] = {}
            for item in self._file.entries(alias.value, f"alias {alias.key!r}"):
                rule = self._known.find(item.key)
                if rule is None or all(rule.id != base.id for base, _ in self._parts.bases):
                    self._file.error(item.key_node, f"{item.key!r} is none of the correlation's rules")
                    continue
                name = read_text(item.value, self._file)
                if name:
                    self._resolve_field(name, item.value, rule)
                    mapping[rule.id] = name
            for rule, _ in self._parts.bases:
                if rule.id not in mapping:
                    self._file.error(alias.key_node, f"alias {alias.key!r} says nothing for rule {rule.name}")
            aliases[alias.key] = mapping
        self._parts.aliases = aliases

    def _read_group_by(self, entry: Entry) -> None:
        names = [(read_text(node, self._file), node) for node in self._file.items(entry.value)]
        self._parts.group_by = tuple((name, node) for name, node in names if name)
        for name, node in self._parts.group_by:
            if name not in self._parts.aliases:
                for rule, _ in self._parts.bases:
                    self._resolve_field(name, node, rule)

    def _resolve_field(self, name: str, node: yaml.Node, rule: Rule) -> Field | None:
        """The field, when the base rule's events have it; else the mistake or the reason is noted.

        Names of a rule that is inactive may be another system's: they are not judged, and nothing is counted.
        """
        if rule.inactive_reason:
            return None
        try:
            field = get_field(name)
        except ItemError as error:
            self._file.error(node, str(error))
            return None
        except UnavailableError as missing:
            self._inactive.append(str(missing))
            return None
        base = self._known.rules.get(rule.id)
        category = CATEGORIES.get(base.category) if base is not None else None
        if category is not None and field.events is not None and not category.event_names & field.events:
            self._file.error(node, f"{name} is no field of {category.name} events (rule {rule.name})")
        return field

    def _read_condition(self, entry: Entry) -> None:
        if isinstance(entry.value, yaml.MappingNode):
            self._read_comparison(entry.value)
            return
        self._parts.expression = read_text(entry.value, self._file)
        self._condition_node = entry.value
        if self._parts.kind not in {"temporal", "temporal_ordered"} and self._parts.kind:
            self._file.error(entry.value, f"{self._parts.kind} needs a comparison, e.g. {{gte: 5}}")

    def _read_comparison(self, node: yaml.Node) -> None:
        operators = 0
        for entry in self._file.entries(node, "condition"):
            if entry.key in _OPERATORS:
                operators += 1
                self._parts.operator = entry.key
                self._parts.count = self._read_count(entry.value)
            elif entry.key == "field":
                self._read_value_fields(entry.value)
            elif entry.key != "percentile":
                self._file.error(
                    entry.key_node, f"unknown key {entry.key!r} in condition{suggest(entry.key, _OPERATORS)}"
                )
        if operators != 1:
            self._file.error(node, f"the condition needs exactly one of {', '.join(_OPERATORS)}")

    def _read_count(self, node: yaml.Node) -> float:
        try:
            count = self._file.scalar(node)
        except ValueError:
            count = None
        if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count <= COUNT_MAX:
            self._file.error(node, f"must be a number from 0 to {COUNT_MAX:,}")
            return 0.0
        return float(count)

    def _read_value_fields(self, node: yaml.Node) -> None:
        names = [read_text(part, self._file) for part in self._file.items(node)]
        for name in filter(None, names):
            for rule, _ in self._parts.bases:
                if name not in self._parts.aliases:
                    self._resolve_field(name, node, rule)
        self._parts.value_fields = tuple(names)

    def _read_generate(self, entry: Entry) -> None:
        try:
            value = self._file.scalar(entry.value)
        except ValueError:
            value = None
        if not isinstance(value, bool):
            self._file.error(entry.value, "generate must be true or false")
        self._parts.generate = value is True

    def _check_condition(self, entries: dict[str, Entry]) -> None:
        parts = self._parts
        temporal = parts.kind in {"temporal", "temporal_ordered"}
        if "condition" not in entries:
            if temporal:
                parts.operator, parts.count = "gte", float(len(parts.bases))
            elif parts.kind:
                self._file.error(self._node, f"the correlation has no condition; {parts.kind} needs one")
        elif parts.kind == "value_count" and not parts.value_fields:
            self._file.error(entries["condition"].value, "value_count needs the field whose values it counts")
        elif parts.value_fields and parts.kind != "value_count" and parts.kind in KINDS:
            self._file.error(entries["condition"].value, f"{parts.kind} counts no field's values")
        if temporal and not parts.expression and _is_beyond(parts, len(parts.bases)):
            self._file.error(entries["condition"].value, f"would never hold: there are {len(parts.bases)} rules")
        if temporal and len(parts.bases) == 1 and not parts.expression:
            self._file.error(entries["rules"].value, f"{parts.kind} needs two rules or more")

    def _group_of(self, reference: str) -> tuple[str, ...]:
        rule = self._known.find(reference)
        assert rule is not None  # references that do not resolve end before this
        names = [self._parts.aliases.get(name, {}).get(rule.id, name) for name, _ in self._parts.group_by]
        fields = [_find(name) for name in names]
        return tuple(name if field is None else field.name for name, field in zip(names, fields, strict=True))

    def _build_expression(self) -> Any:
        """The boolean condition of a temporal correlation as a tree over base rule ids; None without one."""
        if not self._parts.expression:
            return None
        try:
            plain = build_plain(self._draft.document.node)
            plain.pop("stockade", None)
            condition: Any = SigmaCorrelationRule.from_dict(plain).condition
            expression = self._lower_expression(condition.parsed)
            find_alternatives(expression)
            return expression
        except Exception as error:  # the call into pySigma; older versions know no boolean conditions
            self._file.error(self._condition_node, f"condition: {_describe(error)}")
            return _FAILED

    def _lower_expression(self, parsed: Any) -> AnyNode:
        reference = getattr(parsed, "reference", None)
        if reference is not None:
            rule = self._known.find(reference)
            if rule is None or all(rule.id != base.id for base, _ in self._parts.bases):
                raise ItemError(f"{reference!r} is none of the correlation's rules")
            return Exists(rule.id)
        parts = tuple(self._lower_expression(part) for part in parsed.args)
        match type(parsed).__name__:
            case "CorrelationConditionAND":
                return And(parts)
            case "CorrelationConditionOR":
                return Or(parts)
            case _:
                raise ItemError("'not' would have to wait for what never comes; only and, or and parentheses are read")


_FAILED: Any = object()


def _is_beyond(parts: _Parts, most: int) -> bool:
    """Whether more is asked for than there can be."""
    return parts.count > most if parts.operator in {"gte", "eq"} else parts.operator == "gt" and parts.count >= most


_PYSIGMA_WORDS = {
    "Rules referenced in extended condition but not defined in rules list": "not among the rules",
    "Failed to parse extended condition expression: ": "",
    "Rules defined but not referenced in extended condition": "these of the rules are not in it",
}


def _describe(error: Exception) -> str:
    """pySigma's words about a boolean condition, in ours."""
    text = str(error)[:200]
    for theirs, ours in _PYSIGMA_WORDS.items():
        text = text.replace(theirs, ours)
    return text


def _find(name: str) -> Field | None:
    try:
        return get_field(name)
    except (ItemError, UnavailableError):
        return None
