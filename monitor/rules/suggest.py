"""The end of an error message: which known word was probably meant."""

import difflib
from collections.abc import Iterable


def find_misspelt(word: str, known: Iterable[str]) -> str:
    """The known word that is surely meant: it differs in case or in a letter or two. Empty when there is none."""
    close = difflib.get_close_matches(word.lower()[:100], list(known), n=1, cutoff=0.85)
    return close[0] if close and close[0] != word else ""


def suggest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'a' or 'b'?`` for up to three close words, or nothing."""
    by_folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower()[:100], by_folded, n=3, cutoff=0.6)
    if not close:
        return ""
    return f"; did you mean {' or '.join(repr(by_folded[name]) for name in close)}?"
