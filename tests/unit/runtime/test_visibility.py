"""Observe globs, and which opens the stream shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config.settings import Observe
from monitor.model.interest import OpenPattern, PatternKind
from monitor.runtime.visibility import OpenVisibility, build_observe_pattern, check_glob, glob_to_regex
from tests.unit.sinks import samples

WORDS = st.text(alphabet="aB./-*?", max_size=12)


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("/etc/**", "/etc/cron.d/x", True),
        ("/etc/**", "/etcx", False),
        ("/etc/*", "/etc/cron.d/x", False),
        ("/etc/*", "/etc/passwd", True),
        ("/etc/shadow*", "/etc/shadow-", True),
        ("/home/*/.ssh/id_rsa", "/home/bob/.ssh/id_rsa", True),
        ("/home/*/.ssh/id_rsa", "/home/bob/x/.ssh/id_rsa", False),
        ("/a?c", "/abc", True),
        ("/a?c", "/a/c", False),
        ("/a.c", "/abc", False),
    ],
)
def test_a_star_stays_within_a_component_and_two_do_not(glob: str, path: str, matches: bool) -> None:
    assert bool(glob_to_regex(glob).fullmatch(path)) is matches


@pytest.mark.parametrize(
    ("glob", "kind", "text"),
    [
        ("/etc/passwd", PatternKind.EXACT, "/etc/passwd"),
        ("/etc/**", PatternKind.PREFIX, "/etc/"),
        ("/Etc/Shadow*", PatternKind.PREFIX, "/etc/shadow"),
        ("/home/*/.ssh/id_rsa", PatternKind.SUFFIX, "/.ssh/id_rsa"),
        ("/var/lib/app/*.db", PatternKind.PREFIX, "/var/lib/app/"),
    ],
)
def test_the_kernel_gets_the_more_telling_literal(glob: str, kind: PatternKind, text: str) -> None:
    pattern = build_observe_pattern(Observe(path=glob))

    assert (pattern.kind, pattern.text) == (kind, text)


@given(WORDS, WORDS)
def test_whatever_a_glob_matches_its_kernel_pattern_lets_through(head: str, path: str) -> None:
    glob = "/a" + head
    pattern = build_observe_pattern(Observe(path=glob))
    full = "/a" + path

    if glob_to_regex(glob).fullmatch(full):
        folded = full.lower()
        assert (
            folded == pattern.text
            if pattern.kind is PatternKind.EXACT
            else folded.startswith(pattern.text)
            if pattern.kind is PatternKind.PREFIX
            else folded.endswith(pattern.text)
        )


@pytest.mark.parametrize("glob", ["etc/passwd", "/**", "/", "/" + "x" * 2000])
def test_a_glob_that_cannot_be_meant_is_refused(glob: str) -> None:
    with pytest.raises(ValueError, match=r"path to observe|every file"):
        check_glob(glob)


@pytest.mark.parametrize(
    ("asked", "outcome", "shown"),
    [
        ("reads", {}, True),
        ("reads", {"is_write": True}, False),
        ("reads", {"errno": 13}, False),
        ("writes", {}, False),
        ("writes", {"is_write": True}, True),
        ("writes", {"is_write": True, "errno": 13}, False),
        ("failed", {}, False),
        ("failed", {"is_write": True}, False),
        ("failed", {"errno": 13}, True),
        ("failed", {"is_write": True, "errno": 13}, True),
    ],
)
def test_the_stream_shows_opens_of_the_kind_that_a_rule_asks_for(
    asked: str, outcome: dict[str, bool | int], *, shown: bool
) -> None:
    how = dict.fromkeys(("reads", "writes", "failed"), False) | {asked: True}
    visibility = OpenVisibility([OpenPattern(PatternKind.EXACT, "/etc/shadow", **how)], ())

    assert visibility.shows(samples.context(samples.open_event("/etc/shadow", **outcome))) is shown


@pytest.mark.parametrize(
    ("asked", "action", "shown"),
    [
        ("made", "rename", True),
        ("made", "symlink", True),
        ("made", "deletion", False),
        ("renamed", "rename", True),
        ("renamed", "link", False),
        ("deleted", "deletion", True),
        ("attributes", "chmod", True),
        ("attributes", "truncate", False),
        ("writes", "rename", False),
    ],
)
def test_the_stream_shows_changes_of_the_kind_that_a_rule_asks_for(asked: str, action: str, *, shown: bool) -> None:
    how = dict.fromkeys(("reads", "writes"), False) | {asked: True}
    visibility = OpenVisibility([OpenPattern(PatternKind.EXACT, "/etc/shadow", **how)], ())

    assert visibility.shows(samples.context(samples.change_event("/etc/shadow", action))) is shown


def test_a_change_is_shown_for_any_of_its_names() -> None:
    pattern = OpenPattern(PatternKind.EXACT, "/etc/shadow", made=True)
    visibility = OpenVisibility([pattern], [Observe("/srv/**", "all", "write")])

    def shows(path: str, action: str, **names: str) -> bool:
        return visibility.shows(samples.context(samples.change_event(path, action, **names)))

    assert shows("/tmp/x", "link", source="/etc/shadow")
    assert shows("/tmp/x", "symlink", target="/etc/shadow")
    assert shows("/tmp/x", "rename", source="/srv/a/b")
    assert shows("/srv/a", "deletion")
    assert not shows("/tmp/x", "rename", source="/tmp/y")


def test_who_observes_reads_sees_no_changes() -> None:
    visibility = OpenVisibility([], [Observe("/srv/**", "all", "read")])

    assert not visibility.shows(samples.context(samples.change_event("/srv/a", "deletion")))
