"""The commands that the documentation promises to work: blocks marked ```` ```console tested ````."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_TESTED = re.compile(r"^```console tested\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def find_pages() -> list[Path]:
    """README, docs/ and the other pages at the top."""
    return sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])


def find_tested_commands() -> list[str]:
    """Each ``$`` line of those blocks, without ``sudo``: the tests are root."""
    blocks = [block for page in find_pages() for block in _TESTED.findall(page.read_text())]
    return [line[2:].removeprefix("sudo ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def find_dead_links(page: Path) -> list[str]:
    """Links to files of this repository that are not there."""
    return [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
