"""The description of the settings covers them all, and so do the shipped file and the documentation."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from monitor.config import values
from monitor.config.load import load_settings
from monitor.config.schema import LIMITS, Items, Section, build_schema
from monitor.config.settings import PREVENTIONS, Observe, Prevention, Settings

ROOT = Path(__file__).parents[3]


def sections(section: Section) -> Iterator[Section]:
    yield section
    for member in section.members.values():
        inner = member.item if isinstance(member, Items) else member
        if isinstance(inner, Section):
            yield from sections(inner)


def names(section: Section) -> Iterator[str]:
    for inner in sections(section):
        yield from inner.members


def test_every_number_has_limits_and_its_default_is_within() -> None:
    for section in sections(build_schema()):
        for field in msgspec.structs.fields(section.struct):
            if field.type in {int, float}:
                limits = LIMITS[section.struct, field.name]
                limits.check(field.default, str)


def test_no_limits_are_left_over() -> None:
    structs: set[type[Struct]] = {section.struct for section in sections(build_schema())}
    known = {(struct, field.name) for struct in structs for field in msgspec.structs.fields(struct)}

    assert set(LIMITS) <= known


def test_names_are_written_without_units() -> None:
    assert {"half_life", "urgent", "bulk_per_s", "exited_keep"} <= set(names(build_schema()))


def uncomment(text: str) -> str:
    """Take the # from what is a setting: prose has one space after it."""
    return re.sub(r"^#(?=\S|  )", "", text, flags=re.MULTILINE)


def test_the_shipped_file_sets_nothing() -> None:
    assert load_settings(ROOT / "packaging/stockade.yml", {}, {}) == Settings()


def test_the_shipped_file_shows_every_default(tmp_path: Path) -> None:
    text = uncomment((ROOT / "packaging/stockade.yml").read_text())
    file = tmp_path / "stockade.yml"
    file.write_text(text)

    assert load_settings(file, {}, {}) == Settings()
    shown = set(re.findall(r"^ *(\w+):", text, flags=re.MULTILINE))
    of_items = {field.name for struct in (Observe, Prevention) for field in msgspec.structs.fields(struct)}
    assert shown == set(names(build_schema())) - of_items | {"mode"}


def test_every_prevention_is_documented() -> None:
    text = (ROOT / "docs/enforcement.md").read_text()

    assert set(re.findall(r"^\| `(no_\w+)` \|", text, re.MULTILINE)) == set(PREVENTIONS)


@pytest.mark.parametrize("name", sorted(set(names(build_schema()))))
def test_each_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/configuration.md").read_text()


def test_the_documented_ranges_are_true() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `[^`]+` \| (\S+ to \S+) \|", text, re.MULTILINE))

    for (struct, attribute), limits in LIMITS.items():
        name = attribute.removesuffix("_bytes")
        if name in rows and not attribute.endswith("_s"):
            read: Callable[[str], float] = values.parse_size_bytes if attribute.endswith("_bytes") else float
            least, _, most = rows[name].partition(" to ")
            assert (read(least), read(most)) == (limits.least, limits.most), (struct, name)
