"""Ready-made preventions: rules that have no effect until the settings name them.

Pure. What was read of the files becomes what holds here: a prevention that nobody
named is left out, one that is named gets its mode, its containers and what it
leaves alone.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from monitor.rules.field import fold_ascii
from monitor.rules.ir import AnyNode, Not, RuleBook, RuleIR, Text, TextMatch
from monitor.rules.trees import all_of, any_of

OFF = "off: `enforcement.prevent` in stockade.yml switches it on"


class PreventionChoice(Struct, frozen=True):
    """How one prevention was switched on."""

    mode: str = ""
    """``audit`` or ``enforce``; empty: the service's."""
    containers: tuple[str, ...] = ()
    """How the ids of those begin for which it holds; none: all."""
    allow: tuple[str, ...] = ()
    """Paths of programs that it leaves alone; one that ends in ``/`` is a folder."""


Choices = Mapping[str, PreventionChoice]
"""By the prevention's name."""


def keep_chosen(book: RuleBook, choices: Choices) -> RuleBook:
    """The rules that have an effect."""
    return _replace(book, lambda ir: _choose(ir, choices[ir.rule.name]) if ir.rule.name in choices else None)


def mark_off(book: RuleBook, choices: Choices) -> RuleBook:
    """All rules, the preventions that nobody named as inactive ones: for lists and explanations."""
    return _replace(book, lambda ir: _choose(ir, choices[ir.rule.name]) if ir.rule.name in choices else _switch_off(ir))


def _replace(book: RuleBook, change: Callable[[RuleIR], RuleIR | None]) -> RuleBook:
    changed = (change(ir) if ir.rule.is_prevention else ir for ir in book.rules)
    return structs.replace(book, rules=tuple(ir for ir in changed if ir is not None))


def _switch_off(ir: RuleIR) -> RuleIR:
    return structs.replace(ir, rule=structs.replace(ir.rule, inactive_reason=OFF))


def _choose(ir: RuleIR, choice: PreventionChoice) -> RuleIR:
    parts: list[AnyNode] = [ir.condition]
    if choice.containers:
        parts.append(Text("container.id", "prefix", choice.containers))
    if choice.allow:
        parts.append(Not(_is_allowed(choice.allow)))
    rule = structs.replace(ir.rule, mode=choice.mode or ir.rule.mode)
    return structs.replace(ir, rule=rule, condition=all_of(parts))


def _is_allowed(paths: Sequence[str]) -> AnyNode:
    folders = tuple(path for path in paths if path.endswith("/"))
    files = tuple(path for path in paths if not path.endswith("/"))
    tests: tuple[tuple[TextMatch, tuple[str, ...]], ...] = (("prefix", folders), ("exact", files))
    return any_of([Text("process.executable", match, tuple(map(fold_ascii, own))) for match, own in tests if own])
