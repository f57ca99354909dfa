"""Which tests of rules the automaton over argv can decide, and what each looks for.

The texts are those of :mod:`monitor.rules.fields`: ``process.command_line`` is the
arguments joined by single spaces, so that a space within an argument and the one
between two are the same; ``process.args`` are the arguments, of which any one
fulfils a test.
"""

from functools import lru_cache
from typing import Final

from monitor.rules.automaton_graph import Graph, Pattern, TooLargeError, View
from monitor.rules.automaton_states import build_states
from monitor.rules.automaton_syntax import parse_regex
from monitor.rules.automaton_tree import ANY_TEXT, BEGIN, END, Tree, UnsupportedError, cat, text_of
from monitor.rules.ir import AnyNode, Glob, Regex, Text, TextMatch

_VIEWS: Final = {"process.command_line": View.LINE, "process.args": View.ARGUMENT}
ARGUMENT_FIELDS: Final = frozenset(_VIEWS)
TEST_STATES_MAX: Final = 4_096
"""Of one test by itself, before equal states are joined."""
CHARACTERS_MAX: Final = 8_000
"""Of all texts of one test."""


@lru_cache(maxsize=4_096)
def check_test(test: AnyNode) -> str:
    """Why the automaton cannot decide a test; empty when it can."""
    try:
        patterns = [Pattern(view, tree, 0) for view, tree in patterns_of(test)]
        if isinstance(test, Text):
            Graph(patterns)  # a text takes no more states than it has bytes
        else:
            build_states(patterns, TEST_STATES_MAX)
    except UnsupportedError as error:
        return str(error)
    except TooLargeError as error:
        return f"for it alone the kernel's automaton takes {error}: repeat less, or look for less at a time"
    return ""


def patterns_of(test: AnyNode) -> list[tuple[View, Tree]]:
    """What is looked for; any of it fulfils the test. Raises :class:`UnsupportedError`."""
    match test:
        case Text(field, match, values, cased):
            _check_size(values)
            return [(_VIEWS[field], _text_tree(match, value, cased=cased)) for value in values]
        case Glob(field, parts, cased):
            return [(_VIEWS[field], _glob_tree(parts, cased=cased))]
        case Regex(field, pattern, flags):
            return [(_VIEWS[field], parse_regex(pattern, flags))]
    raise UnsupportedError(f"the kernel's automaton has no {type(test).__name__.lower()}")


def _check_size(values: tuple[str, ...]) -> None:
    size = sum(map(len, values))
    if size > CHARACTERS_MAX:
        raise UnsupportedError(f"its values have {size:,} characters; a test of the kernel may have {CHARACTERS_MAX:,}")


def _text_tree(match: TextMatch, value: str, *, cased: bool) -> Tree:
    ends = match in {"exact", "suffix"}
    text = text_of(value, cased=cased, ends_text=ends)
    return cat([*([BEGIN] if match in {"exact", "prefix"} else []), text, *([END] if ends else [])])


def _glob_tree(parts: tuple[str | int | None, ...], *, cased: bool) -> Tree:
    """A run of any characters at one of the ends is no anchor there."""
    if 1 in parts:
        raise UnsupportedError("? stands for a character in its folded form: write a regular expression")
    first, last = int(parts[0] is None), len(parts) - int(parts[-1] is None)
    pieces = [
        text_of(part, cased=cased, ends_text=at + 1 == len(parts)) if isinstance(part, str) else ANY_TEXT
        for at, part in enumerate(parts)
    ]
    return cat([*([] if first else [BEGIN]), *pieces[first:last], *([END] if last == len(parts) else [])])
