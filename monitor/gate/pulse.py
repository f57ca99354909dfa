"""The number by which the watchdog sees that the gate goes on: one word of shared memory."""

import mmap
import struct
from typing import Final

_WORD: Final = struct.Struct("=Q")


class Pulse:
    """Made before the fork, known to both sides of it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._beats = 0

    def beat(self) -> None:
        """Say that something was done, or that there was nothing to do."""
        self._beats += 1
        _WORD.pack_into(self._memory, 0, self._beats)

    def read(self) -> int:
        """The number of beats; any other than before means that the gate goes on."""
        beats: int = _WORD.unpack_from(self._memory, 0)[0]
        return beats
