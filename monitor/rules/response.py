"""Read ``response.yml``: what to do when risk, severity or a rule asks for it.

A list of entries; the first that matches decides for a subject
(:mod:`monitor.engine.decide`)::

    - when: {risk: ">= 80", subject: container}
      then: freeze
      for: 30m
      cooldown: 5m

Every mistake of the file is reported at once, as for rule files.
"""

import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import Struct

from monitor.model.rule import Location, Severity
from monitor.rules.compiler import compile_predicate
from monitor.rules.errors import Problems, RuleErrors
from monitor.rules.field import Predicate
from monitor.rules.head import LEVELS, read_choice, read_text
from monitor.rules.ir import AnyNode, Exists, Not
from monitor.rules.selection import ReadingContext, read_selection
from monitor.rules.source_files import read_file
from monitor.rules.stockade_block import RESPONSES
from monitor.rules.suggest import suggest
from monitor.rules.yaml_nodes import Entry, YamlFile

SUBJECTS: Final = ("container", "lineage")
ENTRIES_MAX: Final = 256
_KEYS: Final = ("when", "then", "for", "cooldown")
_CONDITIONS: Final = ("risk", "severity", "rule", "subject", "scope")
_SCOPES: Final[dict[str, AnyNode]] = {"container": Exists("container.id"), "host": Not(Exists("container.id"))}
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
}
_RISK: Final = re.compile(r"(?P<operator>>=|>)\s*(?P<value>[0-9]{1,3}(?:\.[0-9]+)?)")
_SEVERITY: Final = re.compile(r"(?:(?P<operator>>=|<=|==|>|<)\s*)?(?P<level>[a-z]+)")
_DURATION: Final = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhd])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class ResponseEntry(Struct, frozen=True):
    """One entry: conditions (all hold) and what follows."""

    action: str
    """``alert deny kill freeze isolate quarantine``; ``alert`` ends the search: nothing more is done."""
    location: Location
    text: str = ""
    """As it was written, but for spaces and comments: says whether an entry of another reading is the same."""
    subject: str = ""
    """``container`` or ``lineage``; empty: the container of the event if it has one, else the lineage."""
    risk: tuple[str, float] | None = None
    """(operator, 0 to 100)."""
    severity: tuple[str, Severity] | None = None
    """(operator, level), compared with each rule that matched the event."""
    rules: frozenset[str] = frozenset()
    """Ids or names; empty: any."""
    scope: Predicate | None = None
    for_s: float = 0.0
    """How long freezing, isolation or a denial lasts; 0: until somebody ends it."""
    cooldown_s: float = 0.0
    """For this long after it decided, the entry says nothing more of the same subject."""

    def is_risk_met(self, score: float) -> bool:
        """Whether this risk is enough; true when the entry does not ask for risk."""
        return self.risk is None or _COMPARE[self.risk[0]](score, self.risk[1])

    def is_severity_met(self, severity: Severity) -> bool:
        """Whether this severity is enough; true when the entry does not ask for it."""
        return self.severity is None or _COMPARE[self.severity[0]](severity, self.severity[1])


class ResponsePolicy(Struct, frozen=True):
    """All entries, in the order of the file."""

    entries: tuple[ResponseEntry, ...] = ()


def load_responses(path: Path) -> ResponsePolicy:
    """Read a policy from a file. Raises :class:`RuleErrors`, also for a file that cannot be read."""
    problems = Problems()
    content = read_file(path, problems)
    if problems.errors:
        raise RuleErrors(problems.errors)
    return parse_responses(content, str(path))


def parse_responses(content: bytes, name: str) -> ResponsePolicy:
    """Read a policy from the text of a file called ``name``. Raises :class:`RuleErrors` with all its mistakes."""
    problems = Problems()
    file = YamlFile(name, problems)
    entries: list[ResponseEntry] = []
    for node in file.documents(content):
        if not isinstance(node, yaml.SequenceNode):
            file.error(node, "must be a list of entries with when and then")
        elif len(node.value) > ENTRIES_MAX:
            file.error(node, f"more than {ENTRIES_MAX} entries")
        else:
            entries.extend(_read_entry(part, file) for part in node.value)
    if problems.errors:
        raise RuleErrors(problems.errors)
    return ResponsePolicy(tuple(entries))


def _read_entry(node: yaml.Node, file: YamlFile) -> ResponseEntry:
    found: dict[str, Any] = {"action": "alert"}
    given = file.entries(node, "an entry")
    for entry in given:
        match entry.key:
            case "when":
                found |= _read_when(entry.value, file)
            case "then":
                found["action"] = read_choice(entry.value, file, RESPONSES) or "alert"
            case "for":
                found["for_s"] = _read_duration(entry.value, file)
            case "cooldown":
                found["cooldown_s"] = _read_duration(entry.value, file)
            case unknown:
                file.error(entry.key_node, f"unknown key {unknown!r}{suggest(unknown, _KEYS)}")
    missing = [key for key in ("when", "then") if key not in {entry.key for entry in given}]
    if missing and isinstance(node, yaml.MappingNode):
        file.error(node, f"the entry lacks {' and '.join(missing)}")
    return ResponseEntry(location=file.place(node), text=yaml.serialize(node), **found)


def _read_when(node: yaml.Node, file: YamlFile) -> dict[str, Any]:
    given = file.entries(node, "when")
    if isinstance(node, yaml.MappingNode) and not any(entry.key in {"risk", "severity", "rule"} for entry in given):
        file.error(node, "when must name risk, severity or rule: else it would answer every alert")
    found: dict[str, Any] = {}
    for entry in given:
        if (read := _READERS.get(entry.key)) is None:
            file.error(entry.key_node, f"unknown condition {entry.key!r}{suggest(entry.key, _CONDITIONS)}")
            continue
        found |= read(entry, file)
    return found


def _read_risk(entry: Entry, file: YamlFile) -> dict[str, Any]:
    text = read_text(entry.value, file)
    match = _RISK.fullmatch(text.strip())
    if match is None or not 0 < float(match["value"]) <= 100:
        if text:
            file.error(entry.value, f"{text[:40]!r} is no condition on risk: write one such as '>= 80' (0 to 100)")
        return {}
    return {"risk": (match["operator"], float(match["value"]))}


def _read_severity(entry: Entry, file: YamlFile) -> dict[str, Any]:
    text = read_text(entry.value, file)
    match = _SEVERITY.fullmatch(text.strip())
    if match is None or match["level"] not in LEVELS:
        if text:
            file.error(entry.value, f"{text[:40]!r} is no severity{suggest(text, LEVELS)}; known: {', '.join(LEVELS)}")
        return {}
    return {"severity": (match["operator"] or ">=", LEVELS[match["level"]])}


def _read_rules(entry: Entry, file: YamlFile) -> dict[str, Any]:
    names = frozenset(read_text(node, file) for node in file.items(entry.value))
    if not names:
        file.error(entry.value, "rule is an empty list: it would match nothing")
    return {"rules": names}


def _read_subject(entry: Entry, file: YamlFile) -> dict[str, Any]:
    return {"subject": read_choice(entry.value, file, SUBJECTS)}


def _read_scope(entry: Entry, file: YamlFile) -> dict[str, Any]:
    node = entry.value
    if isinstance(node, yaml.ScalarNode):
        word = read_choice(node, file, tuple(_SCOPES))
        return {"scope": compile_predicate(_SCOPES[word])} if word else {}
    before = len(file.problems.errors)
    context = ReadingContext(file, (), [])
    tree = read_selection(node, context, "scope")
    for reason in context.missing_here:
        file.error(node, f"scope: {reason}")
    return {} if len(file.problems.errors) > before else {"scope": compile_predicate(tree)}


def _read_duration(node: yaml.Node, file: YamlFile) -> float:
    text = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
    match = _DURATION.fullmatch(text)
    if match is None:
        file.error(node, f"{text[:40]!r} is no time: write a number and s, m, h or d, such as 30m")
        return 0.0
    return float(int(match["number"]) * _UNIT_S[match["unit"]])


_READERS: Final[dict[str, Callable[[Entry, YamlFile], dict[str, Any]]]] = {
    "risk": _read_risk,
    "severity": _read_severity,
    "rule": _read_rules,
    "subject": _read_subject,
    "scope": _read_scope,
}
