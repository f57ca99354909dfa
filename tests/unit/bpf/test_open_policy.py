"""Packing open patterns, and putting a policy in force."""

import pytest

from monitor.bpf.open_policy import OpenPolicy, OpenPolicyError, PackedPolicy
from monitor.model.interest import OpenPattern, PatternKind
from monitor.wire import _layout as layout
from tests.support.open_model import READ, SEED, WRITE, KernelModel, MemoryMaps

ALL = (
    layout.INTEREST_HOST_READ
    | layout.INTEREST_HOST_WRITE
    | layout.INTEREST_CONTAINER_READ
    | layout.INTEREST_CONTAINER_WRITE
)


def exact(text: str, **how: bool) -> OpenPattern:
    return OpenPattern(PatternKind.EXACT, text, **how)


def prefix(text: str, **how: bool) -> OpenPattern:
    return OpenPattern(PatternKind.PREFIX, text, **how)


def suffix(text: str, **how: bool) -> OpenPattern:
    return OpenPattern(PatternKind.SUFFIX, text, **how)


def build(*patterns: OpenPattern) -> PackedPolicy:
    return OpenPolicy(SEED).build(patterns)


def put_in_force(*patterns: OpenPattern) -> KernelModel:
    maps = MemoryMaps()
    OpenPolicy.apply(build(*patterns), maps)
    return KernelModel(maps)


def test_an_exact_path_matches_itself_in_any_case_and_nothing_longer() -> None:
    model = put_in_force(exact("/etc/shadow"))

    assert model.path_interest(b"/etc/shadow") == model.path_interest(b"/ETC/Shadow") == ALL
    assert model.path_interest(b"/etc/shadow-") == model.path_interest(b"/etc/shado") == 0


def test_a_prefix_matches_what_it_begins() -> None:
    model = put_in_force(prefix("/etc/cron."))

    assert model.path_interest(b"/etc/cron.d/job") == ALL
    assert model.path_interest(b"/etc/cron") == 0


def test_a_longer_pattern_carries_the_interest_of_the_prefixes_it_implies() -> None:
    model = put_in_force(
        prefix("/etc/", reads=False, in_containers=False), prefix("/etc/ssh/", writes=False), exact("/etc/ssh/key")
    )

    assert model.path_interest(b"/etc/hosts") == layout.INTEREST_HOST_WRITE
    expected = layout.INTEREST_HOST_WRITE | layout.INTEREST_HOST_READ | layout.INTEREST_CONTAINER_READ
    assert model.path_interest(b"/etc/ssh/config") == expected
    assert model.path_interest(b"/etc/ssh/key") == ALL


def test_the_same_text_twice_adds_up() -> None:
    model = put_in_force(exact("/a", writes=False, on_host=False), exact("/a", reads=False, in_containers=False))

    assert model.path_interest(b"/a") == layout.INTEREST_CONTAINER_READ | layout.INTEREST_HOST_WRITE


def test_a_suffix_is_found_by_the_end_of_the_name_and_of_the_path() -> None:
    model = put_in_force(suffix(".pem"), suffix("/.ssh/id_rsa"))

    assert model.name_is_suspect(b"Server.PEM", READ)
    assert model.name_is_suspect(b"id_rsa", READ)
    assert not model.name_is_suspect(b"xid_rsa", READ)
    assert model.path_interest(b"/home/u/.ssh/id_rsa") == model.path_interest(b"/x.pem") == ALL
    assert model.path_interest(b"/home/u/id_rsa") == 0


@pytest.mark.parametrize("name", [b"a", b"ab", b"abc", b"abcdefg", b"abcdefgh", b"abcdefghi", b"x" * 250])
def test_names_of_every_length_are_found_and_neighbours_are_not(name: bytes) -> None:
    model = put_in_force(exact("/" + name.decode()))

    assert model.name_is_suspect(name, READ)
    assert not model.name_is_suspect(name[:-1] + b"!", READ)


def test_reads_are_not_judged_by_patterns_about_writes() -> None:
    model = put_in_force(exact("/etc/ld.so.preload", reads=False))

    assert model.name_is_suspect(b"ld.so.preload", WRITE)
    assert not model.name_is_suspect(b"ld.so.preload", READ)


def test_a_directory_interests_when_a_prefix_could_match_directly_in_it() -> None:
    model = put_in_force(prefix("/etc/cron."))

    assert model.directory_interest(b"/etc/") == ALL
    assert model.directory_interest(b"/etc/cron.d/") == ALL
    assert model.directory_interest(b"/etc/ssh/") == model.directory_interest(b"/") == 0


def test_an_exact_pattern_makes_no_directory_interesting() -> None:
    assert put_in_force(exact("/etc/shadow")).directory_interest(b"/etc/") == 0


@pytest.mark.parametrize("pattern", [prefix(""), suffix("x"), suffix(""), OpenPattern(PatternKind.ANY, "ignored")])
def test_what_has_no_usable_literal_lets_every_path_through(pattern: OpenPattern) -> None:
    assert put_in_force(pattern).any == ALL


def test_an_exact_path_longer_than_a_key_becomes_a_prefix() -> None:
    path = "/" + "long/" * 80 + "file"
    model = put_in_force(exact(path))

    assert model.path_interest(path.encode()) == ALL
    assert model.name_is_suspect(b"other", READ) is False
    assert model.directory_interest(path.rpartition("/")[0].encode() + b"/") == ALL


def test_escapes_of_bytes_that_are_no_text_are_cut_off() -> None:
    model = put_in_force(exact("/tmp/\\xff"), suffix("\\xffdone"))

    assert model.path_interest(b"/tmp/\xff") == ALL
    assert model.path_interest(b"/x/\xffdone") == ALL


def test_too_many_patterns_are_refused_as_a_whole() -> None:
    with pytest.raises(OpenPolicyError, match="holds 2048"):
        build(*(exact(f"/f{number}") for number in range(2049)))


def test_as_many_suffixes_as_the_trie_holds_are_taken() -> None:
    assert len(build(*(suffix(f".{number:04}") for number in range(2048))).endings) == 2048


def test_a_new_policy_goes_to_the_other_half_and_the_old_one_stays_whole_until_the_switch() -> None:
    maps = MemoryMaps()
    OpenPolicy.apply(build(exact("/old")), maps)
    before = KernelModel(maps)

    OpenPolicy.apply(build(exact("/new")), maps)

    assert before.path_interest(b"/old") == ALL, "a program that began before the switch still sees its policy"
    after = KernelModel(maps)
    assert after.path_interest(b"/new") == ALL
    assert after.path_interest(b"/old") == 0


def test_halves_are_emptied_before_they_are_used_again() -> None:
    maps = MemoryMaps()
    for text in ("/one", "/two", "/three"):
        OpenPolicy.apply(build(exact(text)), maps)

    assert KernelModel(maps).path_interest(b"/one") == 0
    assert len(maps.tries["open_paths"]) == 2


@pytest.mark.parametrize("full", ["open_paths", "open_endings"])
def test_a_refused_entry_leaves_the_old_policy_in_force(full: str) -> None:
    maps = MemoryMaps()
    OpenPolicy.apply(build(exact("/old")), maps)
    maps.full = full

    with pytest.raises(OSError, match="full"):
        OpenPolicy.apply(build(exact("/new"), suffix(".new")), maps)

    assert maps.generation == 1
    assert KernelModel(maps).path_interest(b"/old") == ALL


def test_the_generation_wraps_to_the_other_half_and_never_to_zero() -> None:
    maps = MemoryMaps()
    maps.variable_view("open_policy_generation")[:] = (1 << 31).to_bytes(4, "little")

    assert OpenPolicy.apply(build(exact("/a")), maps) == 1


def test_no_patterns_want_nothing() -> None:
    model = put_in_force()

    assert model.wanted == 0
    assert not model.name_is_suspect(b"anything", READ)
