"""Whether there can be a container (or the host) that a deny rule is about.

Pure. The tests of containers in a rule's terms name values; what can be told apart by
them is tried. A rule whose scope nothing can meet would be in force and deny nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Final, NamedTuple

from monitor.model.kernel_policy import Dimension
from monitor.rules.denials import Answer, DenyRule, evaluate
from monitor.rules.ir import AnyNode, Exists, Flag, Glob, Regex, Text
from monitor.rules.kernel_terms import tests_of
from monitor.rules.text_tests import build_text_test

_ID: Final = "container.id"
_WORLDS_MAX: Final = 20_000
"""What names more is believed."""


class _Value(NamedTuple):
    """What a field of a container might be."""

    text: str
    is_whole: bool = True
    """False: only part of it is known, from a test of how it begins, ends or what it contains."""


World = Mapping[str, _Value]
"""Of the fields that are there."""
_OTHER: Final = _Value("\0")
"""A value that no rule names."""


def can_hold(rule: DenyRule) -> bool:
    """Whether some container, or the host, meets the scope. True where that is not easy to see."""
    scopes = [term.asks.get(Dimension.CONTAINER) for term in rule.terms]
    return not scopes or any(scope is None or _is_met(scope) for scope in scopes)


def _is_met(scope: AnyNode) -> bool:
    worlds = _list_worlds(tests_of(scope))
    tried = list(islice(worlds, _WORLDS_MAX + 1))
    return len(tried) > _WORLDS_MAX or any(evaluate(scope, _answer_in(world)) is not False for world in tried)


def _list_worlds(tests: Sequence[AnyNode]) -> Iterator[World]:
    """The host, which has no field of a container; then containers, which have an id at least."""
    yield {}
    named: dict[str, dict[_Value | None, None]] = {_ID: {_OTHER: None}}
    for test in tests:
        if isinstance(test, Text | Exists):
            values = named.setdefault(test.field, {None: None, _OTHER: None})
            values.update((value, None) for value in _name_values(test))
    for chosen in product(*named.values()):
        yield {field: value for field, value in zip(named, chosen, strict=True) if value is not None}


def _name_values(test: Text | Exists) -> Iterator[_Value]:
    if isinstance(test, Text):
        yield from (_Value(text, test.match == "exact") for text in test.values)


def _answer_in(world: World) -> Answer:
    def answer(test: AnyNode) -> bool | None:
        match test:
            case Exists(field):
                return field in world
            case Text(field, cased=False):
                return _compare(world.get(field), test)
            case Text() | Glob() | Regex() | Flag() if not world:
                return False
        return None

    return answer


def _compare(value: _Value | None, test: Text) -> bool | None:
    if value is None:
        return False
    if build_text_test(test.match, test.values)(value.text):
        return True
    is_open = not value.is_whole and test.match != "exact"  # whole values are worlds of their own
    return None if is_open else False
