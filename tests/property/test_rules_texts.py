"""Our short ways to read texts agree with pySigma's long ones."""

import fnmatch

from hypothesis import assume, given
from hypothesis import strategies as st
from sigma.types import SigmaString, SpecialChars

from monitor.rules.filters import parse_filter_tree
from monitor.rules.items import join_parts, parse_text
from monitor.rules.lowering import ItemError, lower_item
from monitor.rules.text_tests import build_glob_test
from tests.support.rule_trees import glob_escaped

TEXTS = st.text(alphabet="ab*?\\/. é", max_size=8)


@given(TEXTS)
def test_wildcards_and_escapes_are_sigmas(text: str) -> None:
    pieces = [
        piece if isinstance(piece, str) else 1 if piece is SpecialChars.WILDCARD_SINGLE else None
        for piece in SigmaString(text).s
        if isinstance(piece, str | SpecialChars)
    ]

    assert parse_text(text) == join_parts(pieces)


@given(
    st.sampled_from(["Image", "CommandLine", "process.args", "TargetFilename", "container.name"]),
    st.sampled_from(
        ["", "|contains", "|startswith", "|endswith", "|cased", "|contains|cased", "|contains|all", "|neq"]
    ),
    st.lists(TEXTS, min_size=1, max_size=3),
)
def test_an_item_in_a_filter_is_the_item_in_a_rule(field: str, modifiers: str, values: list[str]) -> None:
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    try:
        expected = lower_item(field + modifiers, list(values), ())
    except ItemError:
        assume(False)

    assert parse_filter_tree(f"{field}{modifiers}: [{quoted}]") == expected


@given(
    st.lists(st.one_of(st.text("ab", min_size=1, max_size=3), st.none()), min_size=1, max_size=5),
    st.text("ab", max_size=8),
)
def test_globs_match_as_globs_do(pieces: list[str | None], text: str) -> None:
    glob = "".join("*" if piece is None else glob_escaped(piece) for piece in pieces)

    assert build_glob_test(join_parts(list(pieces)))(text) is fnmatch.fnmatchcase(text, glob)
