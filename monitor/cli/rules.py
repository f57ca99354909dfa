"""``stockade rules check|list|explain|test``: what rules say, and whether they do what they should."""

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from monitor.cli.output import ExitCode, fail, format_option, print_json, print_table, quiet_end
from monitor.cli.rules_explain import build_explanation, show_explanation
from monitor.cli.rules_sources import Sources, get_shipped_or_fail, show_mistakes, with_sources
from monitor.config.settings import PREVENTIONS
from monitor.engine.builtin_rules import BUILTIN_RULES
from monitor.model.rule import Rule
from monitor.rules.binding import bind_rules
from monitor.rules.denials import build_deny_policy
from monitor.rules.errors import RuleErrors
from monitor.rules.ir import RuleBook
from monitor.rules.kernel_policy import PolicyError
from monitor.rules.ruleset import RuleSet
from monitor.rules.suggest import suggest
from monitor.runtime.deny_checks import check_denials
from monitor.runtime.rule_tests import RuleReport, SamplesReport, run_samples
from monitor.sinks.escape import escape_text


@click.group(name="rules")
def rules_group() -> None:
    """Check, list, explain and test rules.

    DIR is a folder of rules or one file. Without one: the rules that the service
    reads, which are those that come with Stockade and `rules:` of its settings.
    """


@rules_group.command()
@with_sources
@format_option("pretty", "json")
@quiet_end
def check(*, sources: Sources, output: str) -> None:
    """Find every mistake in rule files.

    Exit status: 0 the rules are right, 1 they are not.
    """
    book, mistakes = sources.check()
    if mistakes or book is None:
        show_mistakes(mistakes, output)
        sys.exit(ExitCode.FINDINGS)
    rules = bind_rules(book, date.today())
    try:
        check_denials(rules)
    except RuleErrors as errors:
        show_mistakes([errors], output)
        sys.exit(ExitCode.FINDINGS)
    if output == "json":
        print_json({"sources": list(map(str, sources.paths)), **_build_check_document(rules)})
    else:
        _show_check(rules)


@rules_group.command(name="list")
@with_sources
@format_option("pretty", "json")
@quiet_end
def list_rules(*, sources: Sources, output: str) -> None:
    """List rules: what they are about, how severe, and whether they are active here."""
    book = sources.load_with_state_or_fail(output)
    rows = sorted(_list_rows(book), key=lambda row: row["name"])
    if output == "json":
        print_json({"sources": list(map(str, sources.paths)), "rules": rows})
        return
    headers = ("name", "level", "status", "events", "response", "score", "state")
    print_table(headers, ([row[header] for header in headers] for row in rows))


@rules_group.command()
@click.argument("rule")
@with_sources
@format_option("pretty", "json")
@quiet_end
def explain(rule: str, *, sources: Sources, output: str) -> None:
    """Explain one RULE (its name or id): what it watches, when it matches, what follows."""
    book = sources.load_with_state_or_fail(output)
    found = _find_rule(book, rule)
    if found is None:
        names = [known.name for known in (*book.all_rules, *BUILTIN_RULES)]
        hint = "see `stockade rules list`; of rules elsewhere give the folder too: `stockade rules explain RULE DIR`"
        fail(f"no rule has the name or id {rule!r}{suggest(rule, names)} ({hint})", ExitCode.USAGE)
    explanation = build_explanation(found, book, date.today())
    if output == "json":
        print_json(explanation)
    else:
        show_explanation(explanation)


@rules_group.command()
@with_sources
@click.option(
    "--samples",
    "sample_folders",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with RULE/match.jsonl and RULE/ignore.jsonl. Default: DIR/samples; a checkout's own: tests/rules.",
)
@click.option("--require", is_flag=True, help="A rule without match and ignore samples is a failure.")
@format_option("pretty", "json")
@quiet_end
def test(
    *,
    sources: Sources,
    sample_folders: tuple[Path, ...],
    require: bool,
    output: str,
) -> None:
    """Run each rule's samples: what it must match, and what it must leave alone.

    Exit status: 0 all did what they should, 1 some did not, or there were none.
    """
    rules = bind_rules(_let_all_alert(sources.load_or_fail(output)), date.today())
    found = list(sample_folders) or _default_samples(sources.paths)
    if not found:
        looked = ", ".join(str(source / "samples") for source in sources.paths)
        fail(f"there are no samples (looked for {looked}); say where with --samples", ExitCode.USAGE)
    report = run_samples(rules, found)
    lacking = [rule for rule in report.rules if rule.missing] if require else []
    if output == "json":
        print_json(_build_test_document(report))
    else:
        _show_test(report, lacking)
    sys.exit(ExitCode.FINDINGS if report.failures or lacking or not report.passed else ExitCode.OK)


def _let_all_alert(book: RuleBook) -> RuleBook:
    """Samples ask whether a rule matches; whether it may alert by itself is its correlations' to say."""
    return structs.replace(
        book,
        rules=tuple(structs.replace(ir, rule=_alerting(ir.rule)) for ir in book.rules),
        correlations=tuple(structs.replace(ir, rule=_alerting(ir.rule)) for ir in book.correlations),
    )


def _alerting(rule: Rule) -> Rule:
    return structs.replace(rule, generates_alert=True)


def _default_samples(sources: Sequence[Path]) -> list[Path]:
    """``samples`` in each folder; a checkout keeps those of the shipped rules with its tests."""
    candidates = [source / "samples" for source in sources] + [
        source.parent / "tests" / "rules" for source in sources if source == get_shipped_or_fail()
    ]
    return [folder for folder in candidates if folder.is_dir()]


def _find_rule(book: RuleBook, wanted: str) -> Rule | None:
    return next((rule for rule in (*book.all_rules, *BUILTIN_RULES) if wanted in {rule.name, rule.id}), None)


def _show_check(rules: RuleSet) -> None:
    warnings = _list_warnings(rules)
    for warning in warnings:
        click.echo(escape_text(f"{warning['at']}: warning: {warning['message']}"))
    inactive = [rule for rule in rules.rules if rule.inactive_reason]
    for rule in inactive:
        click.echo(escape_text(f"{rule.location}: inactive: {rule.name}: {rule.inactive_reason}"))
    if not rules.rules:
        click.echo("there are no rules: they are files that end in .yml or .yaml")
        return
    events = ", ".join(sorted(rules.needed_events)) or "no events"
    click.echo(
        f"{_count(len(rules.rules), 'rule is', 'rules are')} right: {len(rules.enabled)} match single events, "
        f"{len(rules.correlations)} correlate, {len(inactive)} inactive; "
        f"{_count(len(warnings), 'warning', 'warnings')}\n"
        f"they need {events}, and {_count(len(rules.open_patterns), 'pattern', 'patterns')} in the kernel's open filter"
    )


def _count(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _list_warnings(rules: RuleSet) -> list[dict[str, str]]:
    """Those of reading, and rules that would deny and that the kernel cannot decide, each or all together."""
    found = [(str(warning.location), warning.message) for warning in rules.warnings]
    found += [
        (str(deny.rule.location), f"rule {deny.rule.name} cannot deny, only tell: {deny.not_decidable}")
        for deny in rules.denials
        if deny.not_decidable
    ]
    found += [
        (str(rule.location), f"rule {rule.name} has no effect: `prevention:` is for the rules that come with Stockade")
        for rule in rules.rules
        if rule.is_prevention and rule.name not in PREVENTIONS
    ]
    try:
        build_deny_policy(rules.denials)
    except PolicyError as error:
        found.append(("all rules together", str(error)))
    return [{"at": at, "message": message} for at, message in found]


def _build_check_document(rules: RuleSet) -> dict[str, object]:
    return {
        "ok": True,
        "rules": len(rules.rules),
        "active": len(rules.enabled) + len(rules.correlations),
        "events": sorted(rules.needed_events),
        "open_patterns": len(rules.open_patterns),
        "warnings": _list_warnings(rules),
        "inactive": [
            {"name": rule.name, "reason": rule.inactive_reason} for rule in rules.rules if rule.inactive_reason
        ],
    }


def _list_rows(book: RuleBook) -> list[dict[str, Any]]:
    kinds = {ir.rule.id: ir.category for ir in book.rules}
    kinds |= {ir.rule.id: ir.kind for ir in book.correlations}
    return [_list_row(rule, kinds[rule.id]) for rule in book.all_rules]


def _list_row(rule: Rule, events: str) -> dict[str, Any]:
    state = f"inactive: {rule.inactive_reason}" if rule.inactive_reason else "active"
    if rule.is_prevention and rule.inactive_reason:
        state = rule.inactive_reason
    if state == "active" and not rule.generates_alert:
        state = "counted only"
    return {
        "name": rule.name,
        "id": rule.id,
        "title": rule.title,
        "level": rule.severity.label,
        "status": rule.status,
        "events": events,
        "response": rule.response,
        "score": rule.score,
        "state": state,
    }


def _show_test(report: SamplesReport, lacking: Sequence[RuleReport]) -> None:
    for failure in report.failures:
        click.echo(escape_text(str(failure)))
    for rule in lacking:
        click.echo(
            escape_text(f"{rule.rule.location}: {rule.rule.name} has no samples to {' and '.join(rule.missing)}")
        )
    tested = sum(1 for rule in report.rules if rule.passed)
    click.echo(
        f"{report.passed} samples passed, {len(report.failures)} failed; {tested} of {len(report.rules)} rules tested"
    )


def _build_test_document(report: SamplesReport) -> dict[str, object]:
    return {
        "passed": report.passed,
        "failures": [{"at": str(failure.location), "message": failure.message} for failure in report.failures],
        "rules": [
            {
                "name": rule.rule.name,
                "passed": rule.passed,
                "failed": len(rule.failures),
                "without": list(rule.missing),
            }
            for rule in report.rules
        ],
    }
