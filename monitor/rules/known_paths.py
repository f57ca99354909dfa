"""Which paths terms name whole: the files that lie there are denied by what they are, too.

A link, a rename or a mount gives a file another name, and none of them another inode.
So a term that asks for the exact path of a program or a file is fulfilled by the file
that user space has found there (:mod:`monitor.host.exact_files`), whatever it is
called when it is used. This only adds to what names decide: a term that leaves a path
out (``not Image: /a``) is fulfilled by a file's name alone.
"""

from collections.abc import Container, Iterator, Sequence
from typing import Final

from monitor.model.kernel_policy import PATH_END, SUBJECTS, Dimension, KnownVectors
from monitor.rules.ir import AnyNode, Text
from monitor.rules.kernel_terms import Term, holds, keys_of, tests_of

ADDRESS: Final = "destination.address"
"""A socket is what it was bound to, under whichever name."""
PATHS_MAX: Final = 1023
"""What is named beyond that is decided by names alone."""


def find_known_paths(terms: Sequence[Term]) -> dict[str, KnownVectors]:
    """By path, without case: for each subject the terms that are fulfilled by the file there."""
    found: dict[str, list[int]] = {}
    for subject, (beginning, end) in enumerate(SUBJECTS):
        for number, term in enumerate(terms):
            for path in _list_paths(term, beginning, end):
                if path in found or len(found) < PATHS_MAX:
                    found.setdefault(path, [0] * len(SUBJECTS))[subject] |= 1 << number
    return {path: tuple(vectors) for path, vectors in found.items()}


def _list_paths(term: Term, beginning: Dimension, end: Dimension) -> Iterator[str]:
    """The paths that a term names and is fulfilled by."""
    expression = term.get(beginning)
    if expression is None:
        return
    plain = isinstance(expression, Text) and end not in term
    for test in tests_of(expression):
        if isinstance(test, Text) and test.match == "exact" and test.field != ADDRESS:
            for key in keys_of(test):
                path = key.removesuffix(PATH_END)
                if _is_whole(path) and (plain or _is_fulfilled(term, path, beginning, end)):
                    yield path


def _is_fulfilled(term: Term, path: str, beginning: Dimension, end: Dimension) -> bool:
    def begins(test: AnyNode) -> bool:
        return any((path + PATH_END).startswith(key) for key in keys_of(test))

    def ends(test: AnyNode) -> bool:
        return any((PATH_END + path).endswith(key) for key in keys_of(test))

    return holds(term[beginning], begins) and (end not in term or holds(term[end], ends))


def _is_whole(path: str) -> bool:
    """As the kernel shows paths: others are no file's."""
    parts = path.split("/")
    return len(parts) > 1 and not parts[0] and not {"", ".", ".."}.intersection(parts[1:]) and "\0" not in path


def list_names(terms: Sequence[Term], known: Container[str]) -> list[str]:
    """What of paths and names terms decide by, and by nothing else, for people."""
    lookups = {dimension for pair in SUBJECTS for dimension in pair}
    found: dict[str, None] = {}
    for term in terms:
        for dimension in lookups.intersection(term):
            for test in tests_of(term[dimension]):
                if isinstance(test, Text) and test.field != ADDRESS:
                    shown = (value for value in test.values if test.match != "exact" or value not in known)
                    found |= {f"{test.field} {test.match} {value}": None for value in shown}
    return sorted(found)
