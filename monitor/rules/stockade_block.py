"""Read the ``stockade:`` block of a rule: scope, response, mode, score, tier, truncation and exceptions."""

from datetime import date
from typing import Any

import yaml
from msgspec import Struct

from monitor.rules.head import read_choice, read_text
from monitor.rules.ir import TRUE, AnyNode, Exists, Not, RuleException
from monitor.rules.selection import ReadingContext, read_selection
from monitor.rules.suggest import suggest
from monitor.rules.yaml_nodes import Entry, YamlFile

RESPONSES = ("alert", "deny", "kill", "freeze", "isolate", "quarantine")
MODES = ("audit", "enforce")
TIERS = ("observe", "kill", "hold", "lsm")
ON_TRUNCATED = ("alert", "deny", "allow")
_KEYS = ("scope", "response", "mode", "score", "require_tier", "on_truncated", "prevention", "exceptions")
_EXCEPTION_KEYS = ("when", "owner", "reason", "expires")
_SCOPES: dict[str, AnyNode] = {
    "any": TRUE,
    "container": Exists("container.id"),
    "host": Not(Exists("container.id")),
}


class Block(Struct):
    """What the block says; defaults where it says nothing."""

    scope: AnyNode = TRUE
    response: str = "alert"
    mode: str = ""
    score: int | None = None
    require_tier: str = ""
    on_truncated: str = ""
    is_prevention: bool = False
    exceptions: tuple[RuleException, ...] = ()


def read_block(node: yaml.Node, context: ReadingContext, *, is_correlation: bool = False) -> Block:
    """Read the block; mistakes are noted. A correlation has no events of its own: no scope and exceptions."""
    file, block = context.file, Block()
    for entry in file.entries(node, "stockade"):
        if is_correlation and entry.key in {"scope", "exceptions"}:
            file.error(entry.key_node, f"a correlation has no {entry.key}: give it to the rules that it counts")
        else:
            _read_key(entry, block, context)
    if not block.on_truncated:
        block.on_truncated = "deny" if block.response == "deny" else "alert"
    return block


def _read_key(entry: Entry, block: Block, context: ReadingContext) -> None:
    file, value = context.file, entry.value
    match entry.key:
        case "scope":
            block.scope = _read_scope(value, context)
        case "response":
            block.response = read_choice(value, file, RESPONSES) or "alert"
        case "mode":
            block.mode = read_choice(value, file, MODES)
        case "score":
            block.score = _read_score(value, file)
        case "require_tier":
            block.require_tier = read_choice(value, file, TIERS)
        case "on_truncated":
            block.on_truncated = read_choice(value, file, ON_TRUNCATED)
        case "prevention":
            block.is_prevention = _read_truth(value, file)
        case "exceptions":
            block.exceptions = _read_exceptions(value, context)
        case unknown:
            file.error(entry.key_node, f"unknown key {unknown!r} in stockade{suggest(unknown, _KEYS)}")


def _read_scope(node: yaml.Node, context: ReadingContext) -> AnyNode:
    if isinstance(node, yaml.ScalarNode):
        return _SCOPES.get(read_choice(node, context.file, tuple(_SCOPES)), TRUE)
    return read_selection(node, context, "scope")


def _read_score(node: yaml.Node, file: YamlFile) -> int | None:
    try:
        score = file.scalar(node)
    except ValueError:
        score = None
    if not isinstance(score, int) or isinstance(score, bool) or not 0 <= score <= 100:
        file.error(node, "score must be a whole number from 0 to 100")
        return None
    return score


def _read_truth(node: yaml.Node, file: YamlFile) -> bool:
    try:
        value = file.scalar(node)
    except ValueError:
        value = None
    if not isinstance(value, bool):
        file.error(node, "prevention must be true or false")
    return value is True


def _read_exceptions(node: yaml.Node, context: ReadingContext) -> tuple[RuleException, ...]:
    if not isinstance(node, yaml.SequenceNode):
        context.file.error(node, "exceptions must be a list")
        return ()
    return tuple(_read_exception(part, context) for part in node.value)


def _read_exception(node: yaml.Node, context: ReadingContext) -> RuleException:
    file = context.file
    found: dict[str, Any] = {}
    for entry in file.entries(node, "an exception"):
        match entry.key:
            case "when":
                found["when"] = read_selection(entry.value, context, "when")
            case "owner" | "reason":
                found[entry.key] = read_text(entry.value, file)
            case "expires":
                found["expires"] = _read_expiry(entry.value, file)
            case unknown:
                file.error(
                    entry.key_node, f"unknown key {unknown!r} in an exception{suggest(unknown, _EXCEPTION_KEYS)}"
                )
    missing = [key for key in _EXCEPTION_KEYS if key not in found]
    if missing and isinstance(node, yaml.MappingNode):
        file.error(node, f"the exception lacks {', '.join(missing)}")
    return RuleException(
        when=found.get("when", TRUE),
        owner=found.get("owner", ""),
        reason=found.get("reason", ""),
        expires=found.get("expires", ""),
        location=file.place(node),
    )


def _read_expiry(node: yaml.Node, file: YamlFile) -> str:
    text = read_text(node, file)
    if text in {"", "never"}:
        return ""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        file.error(node, f"{text[:40]!r} is no date: expires must be one such as 2027-03-01, or never")
        return ""
