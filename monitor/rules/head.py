"""Read the keys that every rule file has (title, id, level, tags ...), each mistake at its place."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import yaml

from monitor.model.rule import Severity
from monitor.rules.suggest import suggest
from monitor.rules.yaml_nodes import Entry, YamlFile

STATUSES = ("stable", "test", "experimental", "deprecated", "unsupported")
LEVELS = {severity.label: severity for severity in Severity}
DEFAULT_SCORES = {
    Severity.INFORMATIONAL: 1,
    Severity.LOW: 10,
    Severity.MEDIUM: 30,
    Severity.HIGH: 60,
    Severity.CRITICAL: 90,
}
"""Weight of one detection of a rule that sets no score."""

TEXT_CHARACTERS_MAX = 65_535
"""As Sigma's specification has it for descriptions."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_TAG = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9._-]+")
_DATE = re.compile(r"[1-3][0-9]{3}(-[0-9]{2}-[0-9]{2}|/[0-9]{1,2}/[0-9]{1,2})")
TITLE_CHARACTERS_MAX = 256

Reader = Callable[[yaml.Node, YamlFile], Any]


def read_text(node: yaml.Node, file: YamlFile) -> str:
    """A text that is not empty; anything else is a mistake and gives ''."""
    try:
        value = file.scalar(node)
    except ValueError as error:
        file.error(node, str(error))
        return ""
    if not isinstance(value, str) or not value.strip():
        file.error(node, "must be text; quote it" if isinstance(value, int | float) else "must be text, and not empty")
        return ""
    if len(value) > TEXT_CHARACTERS_MAX:
        file.error(node, f"longer than {TEXT_CHARACTERS_MAX:,} characters")
        return ""
    return value


def read_texts(node: yaml.Node, file: YamlFile) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(node, yaml.SequenceNode):
        file.error(node, "must be a list of texts")
        return ()
    return tuple(read_text(part, file) for part in node.value)


def read_choice(node: yaml.Node, file: YamlFile, choices: tuple[str, ...]) -> str:
    """One of these words; '' after a mistake."""
    text = read_text(node, file)
    if text and text not in choices:
        file.error(node, f"{text!r} is none of {', '.join(choices)}{suggest(text, choices)}")
        return ""
    return text


def _read_id(node: yaml.Node, file: YamlFile) -> str:
    text = read_text(node, file)
    try:
        return str(uuid.UUID(text)) if text else ""
    except ValueError:
        file.error(node, f"{text[:60]!r} is not a UUID; make one with uuidgen")
        return ""


def _read_title(node: yaml.Node, file: YamlFile) -> str:
    text = read_text(node, file)
    if len(text) > TITLE_CHARACTERS_MAX:
        file.error(node, f"longer than {TITLE_CHARACTERS_MAX} characters: what is more goes into the description")
    return text


def _read_name(node: yaml.Node, file: YamlFile) -> str:
    text = read_text(node, file)
    if text and not _NAME.fullmatch(text):
        file.error(node, "a name is up to 128 letters, digits, '_', '-' and '.'")
        return ""
    return text


def _read_tags(node: yaml.Node, file: YamlFile) -> tuple[str, ...]:
    tags = read_texts(node, file)
    if isinstance(node, yaml.SequenceNode):
        for part, tag in zip(node.value, tags, strict=True):
            if tag and not _TAG.fullmatch(tag):
                file.error(part, f"tag {tag[:60]!r} is not of the form namespace.name, e.g. attack.t1059.004")
    return tags


def _read_date(node: yaml.Node, file: YamlFile) -> str:
    text = read_text(node, file)
    if text and not _DATE.fullmatch(text):
        file.error(node, "must be a date, e.g. 2026-11-23")
    return text


def _read_related(node: yaml.Node, file: YamlFile) -> tuple[str, ...]:
    for part in file.items(node):
        for entry in file.entries(part, "related"):
            if entry.key == "id":
                _read_id(entry.value, file)
            elif entry.key == "type":
                read_choice(entry.value, file, ("derived", "obsolete", "merged", "renamed", "similar", "correlation"))
            else:
                file.error(entry.key_node, f"unknown key {entry.key!r} in related; it has id and type")
    return ()


def _read_anything(node: yaml.Node, file: YamlFile) -> None:
    """Keys of rule collections that mean nothing to a detection."""


HEAD_KEYS: dict[str, Reader] = {
    "title": _read_title,
    "id": _read_id,
    "name": _read_name,
    "related": _read_related,
    "taxonomy": read_text,
    "status": lambda node, file: read_choice(node, file, STATUSES),
    "description": read_text,
    "license": read_text,
    "author": read_text,
    "references": read_texts,
    "date": _read_date,
    "modified": _read_date,
    "fields": read_texts,
    "falsepositives": read_texts,
    "level": lambda node, file: read_choice(node, file, tuple(LEVELS)),
    "tags": _read_tags,
    "scope": read_texts,
    "regression_tests_path": _read_anything,
    "simulation": _read_anything,
}
"""What Sigma's specification 2.1 allows, and how each is read; ``detection`` and its like are read elsewhere."""


def read_head(entries: list[Entry], elsewhere: tuple[str, ...], file: YamlFile) -> dict[str, Any]:
    """The values of the head's keys; unknown keys are mistakes, those in ``elsewhere`` are left alone."""
    head: dict[str, Any] = {}
    for entry in entries:
        if entry.key in elsewhere:
            continue
        reader = HEAD_KEYS.get(entry.key)
        if reader is None:
            file.error(entry.key_node, f"unknown key {entry.key!r}{_hint(entry.key, elsewhere)}")
        else:
            head[entry.key] = reader(entry.value, file)
    return head


def _hint(key: str, elsewhere: tuple[str, ...]) -> str:
    if key == "action":
        return "; Sigma's old way to share keys between documents: write each rule out"
    if key == "filter":
        return "; Sigma filters are not read: use stockade.exceptions in the rule"
    return suggest(key, (*HEAD_KEYS, *elsewhere))
