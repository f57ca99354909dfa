"""The end of an error message: which known word was probably meant."""

import difflib
from collections.abc import Iterable


def suggest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'a' or 'b'?`` for up to three close words, or nothing."""
    by_folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower()[:100], by_folded, n=3, cutoff=0.6)
    if not close:
        return ""
    return f"; did you mean {' or '.join(repr(by_folded[name]) for name in close)}?"
