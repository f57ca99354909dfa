"""What the pages say that can be checked without a host; their commands run in test_fresh_debian."""

from pathlib import Path

import pytest

from tests.install.commands import CHECKOUT, find_dead_links, find_pages


@pytest.mark.parametrize("page", find_pages(), ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert find_dead_links(page) == []


def test_readme_opens_with_the_two_commands() -> None:
    commands = [line for line in (CHECKOUT / "README.md").read_text().splitlines() if line.startswith("$ ")]

    assert commands[:2] == ["$ sudo scripts/run", "$ sudo scripts/test"]
