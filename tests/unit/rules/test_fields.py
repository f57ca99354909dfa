"""The catalogue: names are unique, getters work on every event, the guide lists them all."""

from pathlib import Path

import pytest

from monitor.rules.field import Field, FieldKind
from monitor.rules.field_values import user_name
from monitor.rules.fields import FIELDS, find_field
from monitor.rules.unavailable import unavailable_names, unavailable_reason
from tests.support.rule_texts import event

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "rules.md"
EVENTS = [
    event(),
    event(container__id="ab", process__parent__executable="/bin/sh"),
    event(file__path="/etc/x"),
    event(file__path="/etc/x", error__code="ENOENT"),
    event(event="process_exit"),
    event(event="process_exec_failed", file__path="x"),
]
TYPES = {
    FieldKind.TEXT: str,
    FieldKind.TEXTS: tuple,
    FieldKind.NUMBER: int,
    FieldKind.BOOLEAN: bool,
}


def test_no_name_means_two_things() -> None:
    names = [name for field in FIELDS for name in (field.name, field.sigma, *field.aliases) if name]

    assert len(names) == len(set(names))
    assert not set(names) & set(unavailable_names())


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_field_has_its_kind_in_every_event_or_is_absent(field: object) -> None:
    found = find_field(field.name)  # type: ignore[attr-defined]
    assert found is not None
    for context in EVENTS:
        value = found.get(context)
        assert value is None or type(value) is TYPES[found.kind]
        assert value not in {"", ()}, "what is empty is absent"
        if found.kind is FieldKind.TEXT:
            assert found.text is not None and found.folded is not None
            assert found.text(context) == (value or "")
            assert found.folded(context) == found.fold(found.text(context))
        if found.events is not None and type(context.event).__name__ not in found.events:
            assert value is None


def guide_row(field: Field) -> str:
    """The field's row in the guide's table."""
    names = ", ".join(f"`{name}`" for name in (field.name, *field.aliases))
    only = {
        None: "",
        frozenset({"FileOpen"}): " (opens only)",
        frozenset({"FileOpen", "ProcessExecFailed", "Denial"}): " (opens, failed execs and denials)",
        frozenset({"FileOpen", "FileChange"}): " (opens and changes)",
        frozenset(
            {"FileOpen", "FileChange", "ProcessExecFailed", "Denial"}
        ): " (opens, changes, failed execs and denials)",
        frozenset({"FileChange"}): " (changes only)",
        frozenset({"ProcessExit"}): " (exits only)",
        frozenset({"ProcessAccess", "Denial"}): " (accesses to processes and their denials)",
        frozenset({"ProcessAccess"}): " (accesses to processes only)",
        frozenset({"NetworkConnection", "Denial"}): " (connections and their denials)",
    }
    sigma = f"`{field.sigma}`" if field.sigma else ""
    return f"| {sigma} | {names} | {field.kind.value} | {field.description}{only[field.events]} |"


def test_the_guide_has_the_catalogue_as_a_table() -> None:
    _, _, table = GUIDE.read_text().partition("| Sigma | ECS, or ours | kind | meaning |\n|---|---|---|---|\n")
    rows, _, _ = table.partition("\n\n")

    assert rows.splitlines() == [guide_row(field) for field in FIELDS]


def test_labels_are_fields_of_any_name() -> None:
    field = find_field("container.labels.app")
    assert field is not None
    assert field.get(event(container__id="ab", **{"container.labels.app": "shop"})) == "shop"
    assert field.get(event(container__id="ab")) is None
    assert find_field("container.labels.") is None


def test_users_are_named_only_where_the_name_is_the_same_everywhere() -> None:
    assert [user_name(uid) for uid in (0, 33, 65534)] == ["root", "33", "nobody"]


def test_known_fields_without_a_sensor_have_a_reason() -> None:
    assert unavailable_reason("destination.ip") == unavailable_reason("DestinationIp") == "no network sensor yet"
    assert unavailable_reason("Nonsense") == ""
