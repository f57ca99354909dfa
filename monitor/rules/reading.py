"""Read rule files into a :class:`~monitor.rules.ir.RuleBook`: every mistake of every file, or all the rules.

The slow way, with YAML and pySigma; :mod:`monitor.rules.loader` takes it only
when the cache does not know these bytes.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from msgspec import structs
from sigma.correlations import SigmaCorrelationRule
from sigma.rule import SigmaRule

from monitor.model.rule import Location
from monitor.rules.correlation import Known, read_correlation
from monitor.rules.document import CorrelationDraft, RuleDraft, read_document
from monitor.rules.errors import Problems, RuleErrors
from monitor.rules.ir import CorrelationIR, RuleBook, RuleIR
from monitor.rules.plain import build_plain
from monitor.rules.source_files import RuleFile
from monitor.rules.yaml_nodes import YamlFile

_Draft = RuleDraft | CorrelationDraft
_T = TypeVar("_T", RuleDraft, CorrelationDraft)


def read_rules(files: Sequence[RuleFile], problems: Problems) -> RuleBook:
    """All rules of these files. Raises :class:`RuleErrors` with all mistakes, those already in ``problems`` too."""
    drafts = [draft for file in files for draft in _read_file(file, problems)]
    _check_unique(drafts, problems)
    rules = [draft for draft in drafts if isinstance(draft, RuleDraft)]
    correlations = _read_correlations(
        [draft for draft in drafts if isinstance(draft, CorrelationDraft)], rules, problems
    )
    if problems.errors:
        raise RuleErrors(problems.errors)
    silent = {base for ir, generate in correlations if _silences(ir, generate=generate) for base in ir.base_rule_ids}
    return RuleBook(
        rules=tuple(_with_output(draft.ir, silent) for draft in rules),
        correlations=tuple(
            structs.replace(ir, rule=structs.replace(ir.rule, generates_alert=ir.rule.id not in silent))
            for ir, _ in correlations
        ),
        warnings=tuple(problems.warnings),
    )


def _silences(ir: CorrelationIR, *, generate: bool) -> bool:
    """Sigma's default: what is counted does not alert by itself. One correlation that says so is enough, as in
    pySigma; one that counts nothing here must not make anybody blind."""
    return not generate and not ir.rule.inactive_reason


def _read_file(file: RuleFile, problems: Problems) -> list[_Draft]:
    yaml_file = YamlFile(file.name, problems)
    drafts = []
    for number, node in enumerate(yaml_file.documents(file.content)):
        before = len(problems.errors)
        draft = read_document(node, yaml_file, number)
        if draft is not None:
            if isinstance(draft, RuleDraft) and len(problems.errors) == before:
                _ask_pysigma(draft, problems)
            drafts.append(draft)
    return drafts


def _ask_pysigma(draft: _Draft, problems: Problems) -> None:
    """What pySigma refuses in a rule that we found nothing wrong with.

    Not of an inactive one: a rule of another system may have expressions that no RE2 reads.
    """
    if draft.rule.inactive_reason:
        return
    plain = build_plain(draft.document.node)
    plain.pop("stockade", None)
    reader = SigmaRule if isinstance(draft, RuleDraft) else SigmaCorrelationRule
    try:
        refusals: Iterable[object] = reader.from_dict(plain, collect_errors=True).errors
    except Exception as error:  # the call into pySigma, which lets type errors of bad values escape
        refusals = [f"{type(error).__name__}: {error}"]
    for refusal in refusals:
        problems.error(draft.rule.location, f"pySigma: {str(refusal)[:300]}")


def _check_unique(drafts: list[_Draft], problems: Problems) -> None:
    for key in ("id", "name"):
        seen: dict[str, Location] = {}
        for draft in drafts:
            value: str = getattr(draft.rule, key)
            place = draft.document.places.get(key, draft.rule.location)
            if value in seen and value:
                hint = "" if key in draft.document.places else " (the file's, since the rule has no name of its own)"
                problems.error(place, f"{key} {value}{hint} is already that of the rule at {seen[value]}")
            else:
                seen[value] = place


def _read_correlations(
    drafts: list[CorrelationDraft], rules: list[RuleDraft], problems: Problems
) -> list[tuple[CorrelationIR, bool]]:
    known = Known(
        rules={key: draft.ir for draft in rules for key in (draft.rule.id, draft.rule.name)},
        correlations={key: draft.rule for draft in drafts for key in (draft.rule.id, draft.rule.name)},
    )
    read = []
    for draft in drafts:
        found = read_correlation(draft, known)
        if found is not None:
            if draft.is_sound:
                _ask_pysigma(draft, problems)
            read.append(found)
    return _ordered(read, problems)


def _ordered(correlations: list[tuple[CorrelationIR, bool]], problems: Problems) -> list[tuple[CorrelationIR, bool]]:
    """Those that others count come first; a circle is a mistake. A correlation of an inactive one is inactive."""
    waiting = {ir.rule.id: (ir, generate) for ir, generate in correlations}
    inactive = {ir.rule.id: ir.rule for ir, _ in correlations if ir.rule.inactive_reason}
    ordered: list[tuple[CorrelationIR, bool]] = []
    while waiting:
        ready = [key for key, (ir, _) in waiting.items() if not any(base in waiting for base in ir.base_rule_ids)]
        if not ready:
            for ir, _ in waiting.values():
                problems.error(
                    ir.rule.location, f"correlation {ir.rule.name} counts itself, directly or through others"
                )
            break
        for key in ready:
            ir, generate = waiting.pop(key)
            missing = next((inactive[base] for base in ir.base_rule_ids if base in inactive), None)
            if missing is not None and not ir.rule.inactive_reason:
                reason = f"rule {missing.name} is inactive: {missing.inactive_reason}"
                ir = structs.replace(ir, rule=structs.replace(ir.rule, inactive_reason=reason))
                inactive[key] = ir.rule
            ordered.append((ir, generate))
    return ordered


def _with_output(ir: RuleIR, silent: set[str]) -> RuleIR:
    return structs.replace(ir, rule=structs.replace(ir.rule, generates_alert=ir.rule.id not in silent))
