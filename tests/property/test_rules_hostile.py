"""Whatever stands in a rule, a filter or a sample, the answer is a rule or a list of mistakes, never an exception."""

import contextlib
import json

import msgspec
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.rules.cache import _Cached
from monitor.rules.errors import Problems, RuleErrors
from monitor.rules.filters import FilterError, parse_filter
from monitor.rules.reading import read_rules
from monitor.rules.samples import read_samples
from monitor.rules.source_files import RuleFile
from tests.support.rule_texts import IDS, event, rule_text

CONTEXT = event(process__executable="/bin/sh")
WORDS = [
    "title", "id", "level", "detection", "condition", "logsource", "category", "process_creation", "sel",
    "Image", "|", "re", "contains", "all", "of", "them", "not", "1", "(", ")", "[", "]", "{", "}", ":", " ",
    "\n", "\n  ", "-", "*", "&a", "*a", "%x%", "correlation", "rules", "timespan", "5m", "group-by",
    "aliases", "gte", "field", "stockade", "exceptions", "when", "null", "true", "'", "\"", "!!str", "---",
    "é", "\x07", "99999999999999999999", ".inf", "2001-01-01", "|base64offset|contains", "|cidr",
]  # fmt: skip
SOUP = st.lists(st.sampled_from(WORDS), max_size=40).map("".join)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(WORDS), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)),
    max_leaves=6,
)


def read(content: bytes) -> None:
    with contextlib.suppress(RuleErrors):
        read_rules([RuleFile("x.yml", content)], Problems())


@given(st.binary(max_size=200))
def test_arbitrary_bytes(content: bytes) -> None:
    read(content)


@settings(deadline=None)
@given(SOUP)
@example("a: [" * 2_000)
def test_word_soup(text: str) -> None:
    read(text.encode())


@settings(deadline=None)
@given(
    st.sampled_from(
        ["title", "id", "level", "logsource", "detection", "stockade", "tags", "related", "correlation", "date"]
    ),
    VALUES,
)
def test_any_value_in_any_place(key: str, value: object) -> None:
    document = {
        "title": "A rule",
        "id": IDS[0],
        "level": "high",
        "logsource": {"product": "linux", "category": "process_creation"},
        "detection": {"sel": {"Image": "/x"}, "condition": "sel"},
        key: value,
    }
    read(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace"))


@settings(deadline=None)
@given(st.sampled_from(["Image", "CommandLine", "user.id", "process.flags.memfd", "process.args", ""]), SOUP, VALUES)
def test_any_item(field: str, modifiers: str, value: object) -> None:
    key = json.dumps(field + "|" + modifiers.replace("\n", " "))
    read(rule_text(f"sel: {{{key}: {json.dumps(value)}}}\ncondition: sel").encode("utf-8", "replace"))


@settings(deadline=None)
@given(SOUP)
@example("((((" * 500)
@example("not " * 900 + "sel")
def test_any_condition(condition: str) -> None:
    read(rule_text(f"sel: {{Image: /x}}\ncondition: {json.dumps(condition)}").encode())


@given(st.one_of(SOUP, st.text(max_size=50)))
def test_any_filter(text: str) -> None:
    with contextlib.suppress(FilterError):
        parse_filter(text)(CONTEXT)


@given(
    st.one_of(st.binary(max_size=100), st.dictionaries(st.sampled_from(WORDS), VALUES).map(lambda d: repr(d).encode()))
)
def test_any_sample(content: bytes) -> None:
    read_samples("x", content)


@given(
    st.dictionaries(
        st.sampled_from(["event", "file.path", "Image", "container.id", "after_s", "repeat", "sequence"]), VALUES
    )
)
def test_samples_with_known_keys(record: dict[str, object]) -> None:
    read_samples("x", json.dumps(record).encode())


@given(st.binary(max_size=100))
def test_any_cache(content: bytes) -> None:
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        msgspec.msgpack.decode(content, type=_Cached)
