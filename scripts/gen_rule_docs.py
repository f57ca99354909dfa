#!/usr/bin/env python3
"""Write docs/shipped-rules.md from the rules themselves; with ``--check``, fail when the page is stale.

The page is what somebody reads who has an alert before them: what the rule saw, how grave
it is, what it is mistaken about, and the ATT&CK techniques.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from monitor.model.rule import Rule  # noqa: E402 (the checkout is not an installed package)
from monitor.rules.loader import load_rules  # noqa: E402

PAGE = REPOSITORY / "docs" / "shipped-rules.md"
RULES = REPOSITORY / "rules"

INTRODUCTION = """\
# The rules that come with Stockade

<!-- Written by scripts/gen_rule_docs.py from rules/; change the rules, not this page. -->

{count} rules, {correlations} of them correlations over several events. `stockade rules explain NAME` shows one in full,
`stockade rules test` runs their samples. A rule that is wrong for your machines gets an exception, with owner, reason
and expiry; see [rules.md](rules.md).

What the levels mean here: ordinary work (installing packages, building, scheduled jobs, logins, containers that start)
raises nothing of level high or more. Medium is worth a look and weighs in the score; low and informational set other
alerts into context. Rules of status `test` are newer and have been run on fewer machines.

Programs that rightly do what a rule looks for are named by full path, and in a container they count only while they are
the image's own (`process.flags.upper_layer`): a program that was put there later under a good name is not believed.
"""


def tactic_of(rule: Rule) -> str:
    """The folder's name."""
    return Path(rule.location.file).parent.name


def technique_links(rule: Rule) -> str:
    """Links to the techniques that the rule's tags name."""
    techniques = (tag.removeprefix("attack.").upper() for tag in rule.tags if tag.startswith("attack.t1"))
    return ", ".join(f"[{one}](https://attack.mitre.org/techniques/{one.replace('.', '/')}/)" for one in techniques)


def build_section(tactic: str, rules: list[Rule]) -> Iterator[str]:
    """Lines of one tactic: a table to look up, then each rule in words."""
    yield f"\n## {tactic.replace('-', ' ').capitalize()}\n"
    yield "| rule | level | status | techniques |"
    yield "|---|---|---|---|"
    for rule in rules:
        yield f"| [{rule.name}](#{rule.name}) | {rule.severity.label} | {rule.status} | {technique_links(rule)} |"
    for rule in rules:
        yield f"\n### {rule.name}\n"
        yield f"**{rule.title}.** {rule.description.strip()}"
        if not rule.generates_alert:
            yield "\nRaises no alert by itself."
        if rule.false_positives:
            yield f"\nAlso seen from: {' '.join(_sentence(text) for text in rule.false_positives)}"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def build_page(rules: tuple[Rule, ...]) -> str:
    """The whole page."""
    by_tactic: dict[str, list[Rule]] = {}
    for rule in sorted(rules, key=lambda rule: (tactic_of(rule), -rule.severity, rule.name)):
        by_tactic.setdefault(tactic_of(rule), []).append(rule)
    head = INTRODUCTION.format(count=len(rules), correlations=sum(rule.is_correlation for rule in rules))
    lines = (line for tactic, own in by_tactic.items() for line in build_section(tactic, own))
    return head + "\n".join(lines) + "\n"


def main() -> int:
    """Write or check the page; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is stale")
    options = parser.parse_args()
    page = build_page(load_rules([RULES]).rules)
    if not options.check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print(f"{PAGE.relative_to(REPOSITORY)} is stale: run scripts/gen_rule_docs.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
