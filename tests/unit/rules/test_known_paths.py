"""Which exact paths stand for the file that lies there, and for which terms."""

import pytest

from monitor.model.rule import Rule, Severity
from monitor.rules.ir import And, AnyNode, Not, Or, Text
from monitor.rules.kernel_policy import PolicyTerm, build_rule_terms
from monitor.rules.known_paths import PATHS_MAX, find_known_paths, list_names

IMAGE, PARENT, FILE = "process.executable", "process.parent.executable", "file.path"
SCRIPT = "process.script"
RULE = Rule("1", "rule", "", Severity.HIGH, "stable", response="deny")


def terms_of(*trees: AnyNode, category: str = "process_creation") -> list[PolicyTerm]:
    return [term for tree in trees for term in build_rule_terms(RULE, category, tree)]


def known(*trees: AnyNode, category: str = "process_creation") -> dict[str, tuple[int, ...]]:
    return find_known_paths([term.asks for term in terms_of(*trees, category=category)])


def exact(field: str, *paths: str) -> Text:
    return Text(field, "exact", paths)


def test_each_path_leads_to_the_terms_that_name_it() -> None:
    assert known(exact(IMAGE, "/a", "/b"), exact(IMAGE, "/b")) == {"/a": (0b01, 0, 0, 0), "/b": (0b11, 0, 0, 0)}


def test_whose_path_it_is() -> None:
    both = And((exact(IMAGE, "/a"), exact(PARENT, "/b")))
    assert known(both) == {"/a": (1, 0, 0, 0), "/b": (0, 1, 0, 0)}
    assert known(exact(FILE, "/a"), category="file_access") == {"/a": (0, 0, 1, 0)}
    assert known(exact(SCRIPT, "/a")) == {"/a": (0, 0, 0, 1)}


def test_a_socket_is_what_it_was_bound_to() -> None:
    (term,) = terms_of(exact("destination.address", "/run/docker.sock"), category="network_connection")

    assert find_known_paths([term.asks]) == {}
    assert list_names([term.asks], {}) == [], "nobody can give it another name"


def test_a_rule_is_case_insensitive_and_so_are_its_paths() -> None:
    assert known(exact(IMAGE, "/usr/bin/Xorg")) == {"/usr/bin/xorg": (1, 0, 0, 0)}


def test_what_is_left_out_is_left_out_by_name_alone() -> None:
    assert known(And((Text(IMAGE, "prefix", ("/usr/",)), Not(exact(IMAGE, "/usr/bin/good"))))) == {}
    assert known(Not(exact(IMAGE, "/a"))) == {}


def test_a_path_that_the_rest_of_the_term_excludes() -> None:
    tree = And((exact(IMAGE, "/a/sh", "/a/true"), Not(Text(IMAGE, "suffix", ("/sh",)))))
    assert known(tree) == {"/a/true": (1, 0, 0, 0)}


def test_parts_of_paths_are_no_files() -> None:
    tree = Or((Text(IMAGE, "prefix", ("/a/",)), Text(IMAGE, "suffix", ("/sh",)), exact("process.name", "sh")))
    assert known(tree) == {}


@pytest.mark.parametrize("path", ["", "/", "sh", "./sh", "/a/", "/a//b", "/a/./b", "/a/../b", "//a", "memfd:/x"])
def test_what_no_file_is_called(path: str) -> None:
    assert known(exact(IMAGE, path)) == {}


def test_there_is_an_end_to_it() -> None:
    paths = [f"/{number}" for number in range(PATHS_MAX + 10)]
    assert len(known(exact(IMAGE, *paths))) == PATHS_MAX


def test_what_rests_on_names() -> None:
    tree = And((exact(IMAGE, "/a", "/b"), Not(exact(IMAGE, "/b")), Text(PARENT, "suffix", ("/sh",))))
    terms = [term.asks for term in terms_of(tree)]
    assert list_names(terms, find_known_paths(terms)) == [f"{IMAGE} exact /b", f"{PARENT} suffix /sh"]
