"""What may be set: the fields of :class:`~monitor.config.settings.Settings` under the names people write.

A written name is the field's without its unit (``half_life_s`` is ``half_life: 30m``),
since the value carries it. Types come from the structs; the tables here add what a
type does not say: ranges, choices, powers of two.
"""

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec import Struct

from monitor.config import values
from monitor.config.errors import quote
from monitor.config.settings import (
    PREVENTIONS,
    SERVICE_MODE,
    EnforcementSettings,
    EngineSettings,
    LimiterSettings,
    Observe,
    Prevention,
    RingSettings,
    Settings,
    StreamSettings,
)

_COUNT_MAX: Final = 1 << 22
_RATE_MAX: Final = 1_000_000_000
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a number has to satisfy."""

    least: float
    most: float
    is_power_of_two: bool = False

    def check(self, value: float, show: Callable[[float], str]) -> None:
        """Raise ValueError with the reason when ``value`` is not allowed; ``show`` writes a bound as people do."""
        if not self.least <= value <= self.most:
            raise ValueError(f"must be from {show(self.least)} to {show(self.most)}, not {show(value)}")
        if self.is_power_of_two and int(value) & (int(value) - 1):
            below = 1 << (int(value).bit_length() - 1)
            raise ValueError(f"must be a power of two, such as {show(below)} or {show(below * 2)}, not {show(value)}")


LIMITS: Final[Mapping[tuple[type[Struct], str], Limits]] = {
    (RingSettings, "urgent_bytes"): Limits(max(1 << 16, mmap.PAGESIZE), 1 << 30, is_power_of_two=True),
    (RingSettings, "bulk_bytes"): Limits(max(1 << 16, mmap.PAGESIZE), 1 << 30, is_power_of_two=True),
    (LimiterSettings, "bulk_per_s"): Limits(1, _RATE_MAX),
    (LimiterSettings, "bulk_burst"): Limits(1, _RATE_MAX),
    (LimiterSettings, "exec_per_s"): Limits(1, _RATE_MAX),
    (LimiterSettings, "exec_burst"): Limits(1, _RATE_MAX),
    (EngineSettings, "processes_max"): Limits(1024, _COUNT_MAX),
    (EngineSettings, "earlier_images_bytes"): Limits(64 << 10, 1 << 30),
    (EngineSettings, "exited_keep_s"): Limits(0, 3600),
    (EngineSettings, "containers_max"): Limits(64, _COUNT_MAX),
    (EngineSettings, "subjects_max"): Limits(64, _COUNT_MAX),
    (EngineSettings, "contributions_max"): Limits(1, 4096),
    (EngineSettings, "half_life_s"): Limits(1, 365 * _DAY_S),
    (EngineSettings, "inherit_share"): Limits(0, 1),
    (EngineSettings, "repeat_discount"): Limits(0, 1),
    (EngineSettings, "risk_alert_at"): Limits(1, 100),
    (EngineSettings, "suppress_s"): Limits(0, _DAY_S),
    (EngineSettings, "suppress_max"): Limits(64, _COUNT_MAX),
    (EngineSettings, "correlation_groups_max"): Limits(16, _COUNT_MAX),
    (EngineSettings, "correlation_events_max"): Limits(2, _COUNT_MAX),
    (EnforcementSettings, "hold_deadline_ms"): Limits(100, 60_000),
    (StreamSettings, "history_events"): Limits(0, 1_000_000),
    (StreamSettings, "subscribers_max"): Limits(1, 4096),
    (StreamSettings, "queue_events"): Limits(16, 1_000_000),
}
"""Each number in the settings has an entry (a test looks)."""

CHOICES: Final[Mapping[tuple[type[Struct], str], tuple[str, ...]]] = {
    (Settings, "mode"): ("audit", "enforce"),
    (EnforcementSettings, "tier"): ("auto", "lsm", "hold", "kill", "none"),
    (EnforcementSettings, "on_exit"): ("detach", "keep"),
    (Prevention, "name"): PREVENTIONS,
    (Prevention, "mode"): (SERVICE_MODE, "audit", "enforce"),
    (Observe, "container"): ("any", "none", "all"),
    (Observe, "access"): ("any", "read", "write"),
}

_TEXTS: Final[Mapping[tuple[type[Struct], str], Callable[[str], str]]] = {
    (Observe, "path"): values.parse_glob,
    (Prevention, "containers"): values.parse_container_id,
    (Prevention, "allow"): values.parse_absolute_path,
    (StreamSettings, "group"): values.parse_word,
}


def _parse_rules_source(text: str) -> Path:
    """A folder of rules; the default one may be missing."""
    path = values.parse_path(text)
    return path if path in Settings().rules else values.parse_existing_path(text)


_PATHS: Final[Mapping[tuple[type[Struct], str], Callable[[str], Path]]] = {
    (Settings, "rules"): _parse_rules_source,
    (Settings, "response"): values.parse_existing_path,
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value."""

    attribute: str
    parse: Callable[[str], object]
    """Raises ValueError."""
    yaml_types: tuple[str, ...]
    """What the value may be in YAML: ``str int float bool null``."""
    expects: str
    """For messages, e.g. ``a whole number``."""
    is_path: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping, that becomes a struct."""

    attribute: str
    struct: type[Struct]
    members: "Mapping[str, Member]"
    """By written name."""
    from_text: Callable[[str], Struct] | None = None
    """Short form for environment and flags."""
    is_named: bool = False
    """The file may have the short form too."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    attribute: str
    item: Leaf | Section


Member = Leaf | Section | Items


def build_schema() -> Section:
    """Describe everything that can be set."""
    return _build_section("", Settings)


def write_name(attribute: str) -> str:
    """Answer the name that people write for a field: without the unit of its value."""
    if attribute.endswith("_bytes"):
        return attribute.removesuffix("_bytes")
    if attribute.endswith("_ms"):
        return attribute.removesuffix("_ms")
    return attribute.removesuffix("_s") if _is_duration(attribute) else attribute


def _build_section(attribute: str, struct: type[Struct]) -> Section:
    members = {
        write_name(field.name): _build_member(struct, field.name, field.type)
        for field in msgspec.structs.fields(struct)
    }
    return Section(attribute, struct, members, _SHORT_FORMS.get(struct), is_named=struct is Prevention)


def _build_member(struct: type[Struct], attribute: str, annotation: Any) -> Member:  # Any: what annotations are
    if get_origin(annotation) is tuple:
        item = _build_member(struct, attribute, get_args(annotation)[0])
        assert not isinstance(item, Items)
        return Items(attribute, item)
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return _build_section(attribute, annotation)
    return _build_leaf(struct, attribute, annotation)


def _build_leaf(struct: type[Struct], attribute: str, annotation: Any) -> Leaf:
    place = (struct, attribute)
    if choices := CHOICES.get(place):
        return Leaf(attribute, _choose(choices), ("str",), _join(choices))
    if annotation is bool:
        return Leaf(attribute, values.parse_boolean, ("bool",), "true or false")
    if annotation is str:
        return Leaf(attribute, _TEXTS[place], ("str",), "text")
    if annotation in {Path, Path | None}:
        yaml_types = ("str",) if annotation is Path else ("str", "null")
        return Leaf(attribute, _PATHS.get(place, values.parse_path), yaml_types, "a path", is_path=True)
    return _build_number(attribute, annotation, LIMITS[place])


def _build_number(attribute: str, annotation: Any, limits: Limits) -> Leaf:
    if attribute.endswith("_bytes"):
        parse = _limit(values.parse_size_bytes, limits, values.format_size)
        return Leaf(attribute, parse, ("str", "int", "float"), "a size like 8MiB")
    if attribute.endswith("_ms"):
        parse = _limit(values.parse_duration_ms, limits, values.format_duration_ms)
        return Leaf(attribute, parse, ("str", "int", "float"), "a duration like 500ms")
    if _is_duration(attribute):
        parse = _limit(values.parse_duration_s, limits, values.format_duration)
        return Leaf(attribute, parse, ("str", "int", "float"), "a duration like 30m")
    if annotation is int:
        return Leaf(attribute, _limit(values.parse_integer, limits, "{:.0f}".format), ("int",), "a whole number")
    return Leaf(attribute, _limit(values.parse_number, limits, "{:g}".format), ("int", "float"), "a number")


def _is_duration(attribute: str) -> bool:
    return attribute.endswith("_s") and not attribute.endswith("_per_s")


def _limit(parse: Callable[[str], float], limits: Limits, show: Callable[[float], str]) -> Callable[[str], object]:
    def parse_within(text: str) -> float:
        value = parse(text)
        limits.check(value, show)
        return value

    return parse_within


def _choose(choices: tuple[str, ...]) -> Callable[[str], str]:
    def parse_choice(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected {_join(choices)}, not {quote(text)}")
        return text

    return parse_choice


def _join(choices: tuple[str, ...]) -> str:
    return " or ".join([", ".join(choices[:-1]), choices[-1]])


def _parse_observe(text: str) -> Observe:
    """A glob alone, as a flag has it, is about containers and the host."""
    return Observe(path=values.parse_glob(text), container="all")


def _parse_prevention(text: str) -> Prevention:
    return Prevention(_choose(PREVENTIONS)(text))


_SHORT_FORMS: Final[Mapping[type[Struct], Callable[[str], Struct]]] = {
    Observe: _parse_observe,
    Prevention: _parse_prevention,
}
