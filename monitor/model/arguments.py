"""An argv as a tuple of texts; of a long one its head, a mark, and its tail.

The mark stands between them as an argument of its own, so that no literal of a
rule matches what is only half on one side. Anybody can pass such an argument:
what tells is the number of bytes left out and the place of the mark, which come
beside it (:class:`~monitor.model.events.ProcessExec`).
"""

from typing import Final

CUT: Final = "…"
"""The argument that stands for what was left out. One character that no rule looks for."""


def split_args(text: str) -> tuple[str, ...]:
    """Arguments of the kernel's NUL-separated text; a last one that was cut off stays."""
    if not text:
        return ()
    parts = text.split("\0")
    if not parts[-1]:
        parts.pop()
    return tuple(parts)


def join_cut_args(head: str, tail: str) -> tuple[tuple[str, ...], int]:
    """Arguments of which the middle was left out, and the place of the mark.

    The last one before it and the first one behind it are usually pieces.
    """
    before = split_args(head)
    return (*before, CUT, *split_args(tail.removeprefix("\0"))), len(before)
