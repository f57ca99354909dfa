"""The bytes of argv: classes of bytes that no pattern tells apart, and where characters of UTF-8 begin.

What is not UTF-8 is cut into characters as Python's decoder does with
``errors="replace"``: the longest beginning of a character is one, and so is a
byte that begins none. No text equals such a character; sets that have everything
beyond ASCII have it.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from monitor.rules.automaton_graph import WORD_BYTES

NUL: Final = 0
_NEWLINE: Final = 10

# A state of decoding: what is missing of a character. RFC 3629, section 4.
WHOLE: Final = 0
_ONE, _TWO, _THREE, _AFTER_E0, _AFTER_ED, _AFTER_F0, _AFTER_F4 = range(1, 8)
_LEADS: Final = {
    range(0xC2, 0xE0): _ONE,
    range(0xE0, 0xE1): _AFTER_E0,
    range(0xE1, 0xED): _TWO,
    range(0xED, 0xEE): _AFTER_ED,
    range(0xEE, 0xF0): _TWO,
    range(0xF0, 0xF1): _AFTER_F0,
    range(0xF1, 0xF4): _THREE,
    range(0xF4, 0xF5): _AFTER_F4,
}
_CONTINUED: Final = {
    _ONE: (range(0x80, 0xC0), WHOLE),
    _TWO: (range(0x80, 0xC0), _ONE),
    _THREE: (range(0x80, 0xC0), _TWO),
    _AFTER_E0: (range(0xA0, 0xC0), _ONE),
    _AFTER_ED: (range(0x80, 0xA0), _ONE),
    _AFTER_F0: (range(0x90, 0xC0), _TWO),
    _AFTER_F4: (range(0x80, 0x90), _TWO),
}
_CUTS: Final = sorted(
    {edge for span in _LEADS for edge in (span.start, span.stop)} | {0x80, 0x90, 0xA0, 0xC0}  # ranges begin here
)


class Alphabet(Struct, frozen=True):
    """Classes of bytes, numbered."""

    classes: bytes
    """The class of each byte."""
    examples: bytes
    """A byte of each class."""

    @property
    def nul(self) -> int:
        """The class of the byte that ends an argument."""
        return self.classes[NUL]


def build_alphabet(sets: Iterable[int]) -> Alphabet:
    """The fewest classes that keep these sets of bytes (bit N: byte N), words, newlines and UTF-8 apart."""
    word = sum(1 << byte for byte in WORD_BYTES)
    telling = [*sorted(set(sets)), word, 1 << NUL, 1 << _NEWLINE, *((1 << cut) - 1 for cut in _CUTS)]
    kinds: dict[int, int] = {}
    classes, examples = bytearray(), bytearray()
    for byte in range(256):
        kind = sum((members >> byte & 1) << number for number, members in enumerate(telling))
        if kind not in kinds:
            kinds[kind] = len(kinds)
            examples.append(byte)
        classes.append(kinds[kind])
    return Alphabet(bytes(classes), bytes(examples))


def begin_character(byte: int) -> int:
    """What is missing behind a byte that begins a character."""
    return next((missing for span, missing in _LEADS.items() if byte in span), WHOLE)


def continue_character(missing: int, byte: int) -> int | None:
    """What is missing behind a byte that continues a character; None when it does not."""
    if missing == WHOLE:
        return None
    span, left = _CONTINUED[missing]
    return left if byte in span else None
