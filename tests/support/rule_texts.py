"""Rules and events for tests of the rule layer, written the way users write them."""

import json
import textwrap
from pathlib import Path

from monitor.model.process import Context
from monitor.rules.errors import Problems, RuleErrors
from monitor.rules.loader import load_rules
from monitor.rules.reading import read_rules
from monitor.rules.ruleset import RuleSet
from monitor.rules.samples import build_context, read_samples
from monitor.rules.source_files import RuleFile

IDS = [f"6f0d2d61-66d8-4c52-8c4a-0b1b6e4c1d{number:02d}" for number in range(100)]

HEAD = """\
title: A rule
id: {id}
level: high
"""

DENY = "status: stable\nstockade: {response: deny}\n"
"""For ``extra`` of :func:`rule_text`: a rule that denies."""


def rule_text(detection: str, *, category: str = "process_creation", extra: str = "", number: int = 0) -> str:
    """A whole rule document with this detection (YAML, indented or not)."""
    body = textwrap.indent(textwrap.dedent(detection).strip("\n"), "  ")
    return (
        HEAD.format(id=IDS[number])
        + f"logsource: {{product: linux, category: {category}}}\ndetection:\n{body}\n"
        + textwrap.dedent(extra)
    )


def load_text(folder: Path, *texts: str, cache_dir: Path | None = None) -> RuleSet:
    """Load documents from files in ``folder``."""
    for number, text in enumerate(texts):
        (folder / f"rule_{number}.yml").write_text(text)
    return load_rules([folder], cache_dir=cache_dir)


def mistakes(*texts: str) -> list[str]:
    """``line:column: message`` of each mistake; the file's name is left out when there is one file."""
    problems = Problems()
    files = [RuleFile(f"{number}.yml", text.encode()) for number, text in enumerate(texts)]
    try:
        read_rules(files, problems)
    except RuleErrors as errors:
        found = [str(error) for error in errors.errors]
        return [text.removeprefix("0.yml:") for text in found] if len(texts) == 1 else found
    return []


def event(**values: object) -> Context:
    """A context from a sample's keys; ``__`` stands for a dot. Without ``event`` it is an exec, with a path an open."""
    record = {key.replace("__", "."): value for key, value in values.items()}
    record.setdefault("event", "file_open" if "file.path" in record else "process_exec")
    if record["event"] == "process_exec":
        record.setdefault("process.executable", "/usr/bin/sample")
    samples, errors = read_samples("sample", json.dumps(record).encode())
    assert not errors, errors
    return build_context(samples[0].events[0])


def matching(rules: RuleSet, context: Context) -> list[str]:
    """Names of the rules that match, asked as the engine asks."""
    return [candidate.rule.name for candidate in rules.candidates(context) if candidate.matches(context)]
