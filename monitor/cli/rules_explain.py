"""What ``stockade rules explain`` says of one rule, as a document and on a terminal."""

from datetime import date
from typing import Any

import click

from monitor.cli.output import format_duration, print_table
from monitor.model.interest import OpenPattern
from monitor.model.rule import Rule
from monitor.rules.binding import effective_condition
from monitor.rules.categories import CATEGORIES
from monitor.rules.denials import DENY, build_deny_rule
from monitor.rules.ir import AnyNode, CorrelationIR, RuleBook, RuleException, RuleIR
from monitor.rules.kernel_policy import PolicyError, build_policy, build_rule_terms
from monitor.rules.kernel_terms import NotDecidable
from monitor.rules.known_paths import list_names
from monitor.rules.open_filter import build_open_patterns
from monitor.rules.readable import describe_condition
from monitor.rules.tiers import plan_denials
from monitor.runtime.host_tiers import AUTO, find_host_tiers
from monitor.sinks.escape import escape_text

Document = dict[str, Any]
TEXTS_SHOWN = 8
"""Of a list, for people; JSON has all."""


def build_explanation(rule: Rule, book: RuleBook, today: date) -> Document:
    """All that can be said of a rule of this book."""
    names = {known.id: known.name for known in book.all_rules}
    document: Document = {
        "name": rule.name,
        "title": rule.title,
        "id": rule.id,
        "file": str(rule.location) if rule.location.line else rule.location.file,
        "level": rule.severity.label,
        "status": rule.status,
        "score": rule.score,
        "response": rule.response,
        "mode": rule.mode or "the service's",
        "on_truncated": rule.on_truncated,
        "tier": "",
        "tags": list(rule.tags),
        "description": rule.description.strip(),
        "false_positives": list(rule.false_positives),
        "inactive": rule.inactive_reason,
        "alerts": rule.generates_alert,
        "counted_by": [ir.rule.name for ir in book.correlations if rule.id in ir.base_rule_ids],
    }
    for single in book.rules:
        if single.rule.id == rule.id:
            return document | _explain_single(single, today)
    for correlation in book.correlations:
        if correlation.rule.id == rule.id:
            return document | _explain_correlation(correlation, names)
    return document


def _explain_single(ir: RuleIR, today: date) -> Document:
    category = CATEGORIES.get(ir.category)
    if category is None or (ir.rule.inactive_reason and not ir.rule.is_prevention):
        return {}
    condition = effective_condition(ir, today)
    patterns = build_open_patterns(condition, category, ir.rule.name)
    return {
        "category": category.name,
        "watches": category.description,
        "event": " or ".join(event.__name__ for event in category.events),
        "condition": list(describe_condition(ir.condition)),
        "exceptions": [_explain_exception(exception, today) for exception in ir.exceptions],
        "kernel_patterns": [_explain_pattern(pattern) for pattern in patterns],
        "kernel_terms": _explain_terms(ir, condition),
        "tier": _explain_tier(ir, condition),
    }


def _explain_tier(ir: RuleIR, condition: AnyNode) -> str:
    """How this host denies by a deny rule."""
    if ir.rule.response != DENY:
        return ""
    (planned,) = plan_denials([build_deny_rule(ir.rule, ir.category, condition)], find_host_tiers(AUTO))
    return planned.describe()


def _explain_terms(ir: RuleIR, condition: AnyNode) -> Document:
    """What the kernel alone could decide this rule by."""
    try:
        terms = build_rule_terms(ir.rule, ir.category, condition)
        policy = build_policy(terms)
    except (NotDecidable, PolicyError) as reason:
        return {"count": 0, "asks": [], "argument_states": 0, "files": [], "names": [], "not_decidable": str(reason)}
    arguments = policy.arguments
    asked = {f"{dimension.subject} ({dimension.lookup})": None for term in terms for dimension in term.asks}
    states = arguments.states if arguments is not None else 0
    return {
        "count": len(terms),
        "asks": list(asked),
        "argument_states": states,
        "files": sorted(policy.known),
        "names": list_names([term.asks for term in terms], policy.known),
        "not_decidable": "",
    }


def _show_terms(terms: Document) -> None:
    if terms["not_decidable"]:
        text = f"could not decide it: {terms['not_decidable']}"
    else:
        count = terms["count"]
        text = f"{count} term{'' if count == 1 else 's'}" + (
            f" over {', '.join(terms['asks'])}" if terms["asks"] else ""
        )
        if terms["argument_states"]:
            text += f"; {terms['argument_states']:,} states of the automaton by itself"
    _show_facts([("kernel policy", text)])
    for title, texts in (("denied as files", terms["files"]), ("denied by name", terms["names"])):
        rest = f" and {len(texts) - TEXTS_SHOWN} more" if len(texts) > TEXTS_SHOWN else ""
        _show_facts([(title, ", ".join(texts[:TEXTS_SHOWN]) + rest)])


def _explain_exception(exception: RuleException, today: date) -> Document:
    return {
        "when": list(describe_condition(exception.when)),
        "owner": exception.owner,
        "reason": exception.reason,
        "expires": exception.expires or "never",
        "expired": bool(exception.expires) and date.fromisoformat(exception.expires) <= today,
    }


def _explain_pattern(pattern: OpenPattern) -> Document:
    where = [name for name, is_set in (("containers", pattern.in_containers), ("host", pattern.on_host)) if is_set]
    kinds = (("read", pattern.reads), ("write", pattern.writes), ("connect", pattern.connected))
    access = [name for name, is_set in (*kinds, ("process", pattern.accessed)) if is_set]
    return {
        "kind": pattern.kind.name.lower(),
        "text": pattern.text,
        "where": where,
        "access": ["failed", *access] if pattern.failed else access,
    }


def _explain_correlation(ir: CorrelationIR, names: dict[str, str]) -> Document:
    groups = [" = ".join(dict.fromkeys(fields)) for fields in zip(*ir.group_by, strict=True)] if ir.group_by else []
    counted = f"different {' and '.join(ir.value_fields)}" if ir.value_fields else "events"
    if ir.kind.startswith("temporal"):
        counted = "of these rules"
    expression = list(describe_condition(ir.expression)) if ir.expression is not None else []
    return {
        "correlation": ir.kind,
        "rules": [names.get(base, base) for base in ir.base_rule_ids],
        "group_by": groups,
        "timespan": format_duration(ir.timespan_s),
        "counts": f"{ir.operator} {ir.count:g} {counted}" if not expression else "",
        "expression": [_with_names(line, names) for line in expression],
    }


def _with_names(line: str, names: dict[str, str]) -> str:
    for identity, name in names.items():
        line = line.replace(f"{identity} is there", name)
    return line


def show_explanation(document: Document) -> None:
    """Print an explanation for people."""
    click.echo(escape_text(f"{document['name']}: {document['title']}"))
    for line in document["description"].splitlines():
        click.echo(f"  {escape_text(line)}")
    click.echo()
    if document["inactive"]:
        _show_facts([("inactive", document["inactive"])])
    _show_facts(
        [
            ("level", f"{document['level']}, score {document['score']}"),
            ("status", document["status"]),
            ("response", f"{document['response']} (mode: {document['mode']}; truncated: {document['on_truncated']})"),
            ("tier", document["tier"]),
            ("tags", ", ".join(document["tags"])),
            ("false positives", "; ".join(document["false_positives"])),
            ("counted by", ", ".join(document["counted_by"])),
            ("alerts", "" if document["alerts"] else "no: it is only counted"),
            ("id", document["id"]),
            ("file", document["file"]),
        ]
    )
    if "correlation" in document:
        _show_correlation(document)
    elif "condition" in document:
        _show_single(document)


def _show_facts(facts: list[tuple[str, str]]) -> None:
    for name, value in facts:
        if value:
            click.echo(f"{name + ':':<17}{escape_text(value)}")


def _show_single(document: Document) -> None:
    _show_facts([("watches", f"{document['watches']}, category {document['category']}, event {document['event']}")])
    _show_terms(document["kernel_terms"])
    _show_lines("matches when", document["condition"])
    for exception in document["exceptions"]:
        state = "expired" if exception["expired"] else f"until {exception['expires']}"
        _show_lines(f"but not ({exception['owner']}, {state}: {exception['reason']})", exception["when"])
    if document["kernel_patterns"]:
        click.echo("\nthe kernel sends events about:")
        rows = [
            (pattern["kind"], pattern["text"], ",".join(pattern["where"]), ",".join(pattern["access"]))
            for pattern in document["kernel_patterns"]
        ]
        print_table(("kind", "path", "where", "access"), rows, indent="  ")


def _show_correlation(document: Document) -> None:
    _show_facts(
        [
            ("correlation", document["correlation"]),
            ("rules", ", ".join(document["rules"])),
            ("for each", ", ".join(document["group_by"]) or "all together"),
            ("within", document["timespan"]),
            ("fires at", document["counts"]),
        ]
    )
    if document["expression"]:
        in_order = ", in the order of the rules" if document["correlation"] == "temporal_ordered" else ""
        _show_lines(f"fires when{in_order}", document["expression"])


def _show_lines(title: str, lines: list[str]) -> None:
    click.echo(f"\n{escape_text(title)}:")
    for line in lines:
        click.echo(f"  {escape_text(line)}")
