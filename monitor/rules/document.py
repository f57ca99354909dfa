"""Read one YAML document of a rule file: a rule of single events, or the draft of a correlation.

What spans documents (ids, names, references) is checked by
:mod:`monitor.rules.reading` when all files are read.
"""

from pathlib import PurePath
from typing import Any

import yaml
from msgspec import Struct

from monitor.model.events import FileOpen
from monitor.model.interest import PatternKind
from monitor.model.rule import Location, Rule, Severity
from monitor.rules.categories import CATEGORIES, Category
from monitor.rules.connections import CONNECTIONS, find_connection_obstacle
from monitor.rules.detection import read_detection
from monitor.rules.head import DEFAULT_SCORES, LEVELS, read_head, read_text
from monitor.rules.implication import implies
from monitor.rules.ir import FALSE, AnyNode, RuleIR
from monitor.rules.open_filter import PREFIX_BYTES_MAX, build_open_patterns, long_prefixes
from monitor.rules.selection import ReadingContext
from monitor.rules.shapes import can_match
from monitor.rules.stockade_block import Block, read_block
from monitor.rules.suggest import find_misspelt, suggest
from monitor.rules.trees import all_of, any_of
from monitor.rules.unavailable import SIGMA_CATEGORIES, category_reason
from monitor.rules.yaml_nodes import Entry, YamlFile

_ELSEWHERE = ("logsource", "detection", "correlation", "stockade")
_LOGSOURCE_KEYS = ("category", "product", "service", "definition")


class Document(Struct, frozen=True):
    """One document: its head read, its sections as nodes."""

    node: yaml.Node
    file: YamlFile
    name: str
    head: dict[str, Any]
    sections: dict[str, Entry]
    places: dict[str, Location]
    """Where ``id`` and ``name`` stand, for mistakes that are seen across files."""
    mistakes_before: int = 0
    """Mistakes that were found before this document."""
    is_other_kind: bool = False
    """It is one of Sigma's documents that are no rules, which is a mistake already."""


class CorrelationDraft(Struct, frozen=True):
    """A correlation whose references are not resolved yet."""

    rule: Rule
    document: Document
    is_sound: bool = True
    """No mistake was found so far."""


class RuleDraft(Struct, frozen=True):
    """A rule of single events; what is checked across files is not checked yet."""

    ir: RuleIR
    document: Document

    @property
    def rule(self) -> Rule:
        """The rule's facts."""
        return self.ir.rule


def read_document(node: yaml.Node, file: YamlFile, number: int) -> RuleDraft | CorrelationDraft | None:
    """One document, counted from 0 in its file; None when it is no rule at all."""
    mistakes_before = len(file.problems.errors)
    entries = file.entries(node, "a rule")
    if not isinstance(node, yaml.MappingNode):
        return None
    head = read_head(entries, _ELSEWHERE, file)
    document = Document(
        node=node,
        file=file,
        name=head.get("name") or _default_name(file.name, number),
        head=head,
        sections={entry.key: entry for entry in entries if entry.key in _ELSEWHERE},
        places={entry.key: file.place(entry.value) for entry in entries if entry.key in {"id", "name"}},
        mistakes_before=mistakes_before,
        is_other_kind=any(entry.key in {"action", "filter"} for entry in entries),
    )
    _check_required(document)
    return _read_correlation(document) if "correlation" in document.sections else _read_rule(document)


def _default_name(file_name: str, number: int) -> str:
    stem = PurePath(file_name).stem
    return stem if number == 0 else f"{stem}_{number + 1}"


def _check_required(document: Document) -> None:
    node, file, sections = document.node, document.file, document.sections
    for key in ("title", "id"):
        if key not in document.head and not document.is_other_kind:
            file.error(node, f"the rule has no {key}")
    if "correlation" in sections:
        for key in ("detection", "logsource"):
            if key in sections:
                file.error(sections[key].key_node, f"a correlation has no {key} of its own; put it in another document")
        return
    for key in ("logsource", "detection"):
        if key not in sections and not document.is_other_kind:
            file.error(node, f"the rule has no {key}")
    if "level" not in document.head and not document.is_other_kind:
        file.warn(node, "the rule has no level: medium is taken")


def _read_rule(document: Document) -> RuleDraft:
    file, sections = document.file, document.sections
    category, reason = _read_logsource(sections, file)
    mistakes_before = len(file.problems.errors)
    keyword_fields = category.keyword_fields if category else ()
    context = ReadingContext(file, keyword_fields, [], is_foreign=category is None, category=category)
    block = read_block(sections["stockade"].value, context) if "stockade" in sections else Block(on_truncated="alert")
    condition = read_detection(sections["detection"].value, context) if "detection" in sections else FALSE
    inactive = reason or "; ".join(dict.fromkeys(context.missing_here)) or _refusal(document.head)
    if not inactive and category is not None and category.name == CONNECTIONS:
        inactive = find_connection_obstacle(condition)
    scoped = all_of([condition, block.scope])
    if not inactive and category is not None and len(file.problems.errors) == mistakes_before:
        _check_possible(scoped, category, document)
        _check_emptied(scoped, block, file)
        _check_opens(scoped, category, document)
    ir = RuleIR(
        rule=_build_rule(document, block, inactive_reason=inactive),
        category=category.name if category else "",
        condition=FALSE if inactive else scoped,
        exceptions=() if inactive else block.exceptions,
    )
    return RuleDraft(ir, document)


def _read_correlation(document: Document) -> CorrelationDraft:
    block = Block(on_truncated="alert")
    if "stockade" in document.sections:
        context = ReadingContext(document.file, (), [])
        block = read_block(document.sections["stockade"].value, context, is_correlation=True)
    rule = _build_rule(document, block, inactive_reason=_refusal(document.head), is_correlation=True)
    return CorrelationDraft(rule, document, is_sound=len(document.file.problems.errors) == document.mistakes_before)


def _build_rule(document: Document, block: Block, *, inactive_reason: str, is_correlation: bool = False) -> Rule:
    head = document.head
    severity = LEVELS.get(head.get("level") or "", Severity.MEDIUM)
    return Rule(
        id=head.get("id") or "",
        name=document.name,
        title=head.get("title") or "",
        severity=severity,
        status=head.get("status") or "experimental",
        description=head.get("description") or "",
        tags=head.get("tags") or (),
        false_positives=head.get("falsepositives") or (),
        score=DEFAULT_SCORES[severity] if block.score is None else block.score,
        response=block.response,
        mode=block.mode,
        require_tier=block.require_tier,
        on_truncated=block.on_truncated,
        is_prevention=block.is_prevention,
        is_correlation=is_correlation,
        location=document.file.place(document.node),
        inactive_reason=inactive_reason,
    )


def _refusal(head: dict[str, Any]) -> str:
    """Why a rule that could be evaluated shall not be."""
    if head.get("status") == "unsupported":
        return "its status is unsupported"
    return ""


def _read_logsource(sections: dict[str, Entry], file: YamlFile) -> tuple[Category | None, str]:
    """The category, or why no sensor here delivers what the rule is about."""
    if "logsource" not in sections:
        return None, "no logsource"
    found: dict[str, str] = {}
    nodes: dict[str, yaml.Node] = {}
    node = sections["logsource"].value
    for entry in file.entries(node, "logsource"):
        if entry.key in _LOGSOURCE_KEYS:
            found[entry.key] = read_text(entry.value, file)
            nodes[entry.key] = entry.value
        else:
            file.error(entry.key_node, f"unknown key {entry.key!r} in logsource{suggest(entry.key, _LOGSOURCE_KEYS)}")
    product, service, name = found.get("product", "linux"), found.get("service"), found.get("category")
    if meant := find_misspelt(product, ["linux"]):
        file.error(nodes["product"], f"unknown product {product!r}; did you mean {meant!r}?")
    if name is not None and name not in SIGMA_CATEGORIES and (meant := find_misspelt(name, CATEGORIES)):
        file.error(nodes["category"], f"unknown category {name!r}; did you mean {meant!r}?")
    if product != "linux":
        return None, f"it is for product {product}"
    if service is not None:
        return None, f"it is for service {service}: logs of services are not read"
    if name is None:
        if isinstance(node, yaml.MappingNode) and not node.value:
            file.error(node, "logsource is empty")
        return None, "its logsource names no category"
    category = CATEGORIES.get(name)
    return category, "" if category else f"category {name}: {category_reason(name)}"


def _check_possible(condition: AnyNode, category: Category, document: Document) -> None:
    """What contradicts itself, as far as that is easy to see: ``scope: host`` of a rule about containers."""
    if "detection" in document.sections and not can_match(condition, category):
        document.file.warn(document.sections["detection"].key_node, "the condition and the scope can never both hold")


def _check_emptied(condition: AnyNode, block: Block, file: YamlFile) -> None:
    emptying = [exception for exception in block.exceptions if implies(condition, exception.when)]
    for exception in emptying:
        file.problems.error(exception.location, "this exception covers all that the rule matches: nothing is left")
    if not emptying and block.exceptions:
        together = any_of([exception.when for exception in block.exceptions])
        if implies(condition, together):
            place = block.exceptions[0].location
            file.problems.error(place, "the exceptions together cover all that the rule matches: nothing is left")


def _name_everything(category: Category) -> str:
    if FileOpen not in category.events:
        return "every such change of every file"
    return "every open that fails" if category.failed else "every open"


def _check_opens(condition: AnyNode, category: Category, document: Document) -> None:
    """What the kernel's filter cannot hold, or would have to send whole."""
    if not category.is_file or "detection" not in document.sections:
        return
    file, node = document.file, document.sections["detection"].key_node
    for prefix in long_prefixes(condition):
        file.error(
            node, f"the kernel compares at most {PREFIX_BYTES_MAX} bytes of a path's beginning: {prefix[:40]!r}..."
        )
    patterns = build_open_patterns(condition, category, document.name)
    if any(pattern.kind is PatternKind.ANY for pattern in patterns):
        which = _name_everything(category)
        file.warn(
            node,
            f"no part of the condition fixes how the path begins or ends, so the kernel must send {which}: "
            "add an exact TargetFilename, |startswith, or |endswith of two bytes or more",
        )
