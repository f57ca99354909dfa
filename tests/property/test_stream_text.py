"""Whatever text is in an event, what is shown is one printable line, and JSON keeps it exactly."""

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sinks.console import build_renderer
from monitor.sinks.ecs import build_event_document
from monitor.sinks.escape import escape_text, quote_args, shorten, shorten_middle
from tests.unit.sinks import samples

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
hostile = text | st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Zs", "Co", "Cn"]), max_size=20)


@given(hostile)
def test_escaped_text_is_printable_and_printable_text_is_left_alone(value: str) -> None:
    escaped = escape_text(value)

    assert escaped.isprintable()
    assert not value.isprintable() or escaped == value
    assert escape_text(escaped) == escaped


@given(st.lists(hostile, max_size=6))
def test_quoted_arguments_are_printable(args: list[str]) -> None:
    assert quote_args(args).isprintable()


@given(hostile, st.integers(1, 80))
def test_shortened_text_fits(value: str, width: int) -> None:
    assert len(shorten(value, width)) <= width


@given(hostile, st.integers(1, 80))
def test_text_shortened_in_its_middle_fits_and_keeps_both_ends(value: str, width: int) -> None:
    shown = shorten_middle(value, width)

    assert len(shown) <= width
    if shown != value:
        head, tail = shown[: width - 1 - width // 3], shown[width - width // 3 :]
        assert value.startswith(head) and value.endswith(tail) and len(shown) == width


@settings(max_examples=200, deadline=None)
@given(executable=hostile, args=st.lists(hostile, max_size=5), path=hostile, name=hostile)
def test_every_format_shows_an_event_in_one_line(executable: str, args: list[str], path: str, name: str) -> None:
    in_container = samples.container(name=name, labels=(("a", path),))
    for event in (samples.exec_event(executable, tuple(args), cwd=path, script=path), samples.open_event(path)):
        document = build_event_document(samples.context(event, in_container=in_container), samples.ORIGIN, sequence=1)
        for output in ("pretty", "wide", "json"):
            line = build_renderer(output, color=False)(document).decode()
            assert line.endswith("\n")
            assert line[:-1].isprintable()
        assert json.loads(line) == msgspec.msgpack.decode(build_renderer("msgpack", color=False)(document))
