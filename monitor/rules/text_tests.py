"""Tests on one text: the four ways Sigma compares, and globs without ``?``."""

from collections.abc import Callable

from monitor.rules.ir import TextMatch

TextTest = Callable[[str], bool]


def build_text_test(match: TextMatch, values: tuple[str, ...]) -> TextTest:
    """Whether a text compares with at least one of ``values``."""
    if match == "exact":
        wanted = frozenset(values)
        return lambda text: text in wanted
    if match == "prefix":
        return lambda text: text.startswith(values)
    if match == "suffix":
        return lambda text: text.endswith(values)
    return lambda text: any(value in text for value in values)


def build_glob_test(parts: tuple[str | int | None, ...]) -> TextTest:
    """Whether a whole text is these strings with any runs of characters (None) between: linear, no backtracking."""
    literals = tuple(part for part in parts if isinstance(part, str))
    if None not in parts:
        whole = "".join(literals)
        return lambda text: text == whole
    head = parts[0] if isinstance(parts[0], str) else ""
    tail = parts[-1] if isinstance(parts[-1], str) else ""
    middles = literals[1 if head else 0 : len(literals) - (1 if tail else 0)]
    anchors = len(head) + len(tail)

    def matches(text: str) -> bool:
        if len(text) < anchors or not text.startswith(head) or not text.endswith(tail):
            return False
        at, end = len(head), len(text) - len(tail)
        for middle in middles:
            at = text.find(middle, at, end)
            if at < 0:
                return False
            at += len(middle)
        return True

    return matches
