"""Read a BPF ring buffer through its two mappings, without a callback per record.

The kernel maps the data twice in a row, so that no record wraps. A record is an
8-byte header (length with two flag bits) and its bytes, rounded up to 8
(``kernel/bpf/ringbuf.c``). Nothing is copied here: the caller's function gets the
mapping and an offset, and must be done with them when it returns.
"""

import mmap
from collections.abc import Callable
from typing import Final

_BUSY: Final = 1 << 31
_DISCARDED: Final = 1 << 30
_HEADER_BYTES: Final = 8

RecordHandler = Callable[[memoryview, int, int], None]
"""Called with (data, offset, length) of each record."""


class Ring:
    """One ring: the consumer's side. Single reader."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        page = mmap.PAGESIZE
        self._mask = size_bytes - 1
        self._consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer_map = mmap.mmap(fd, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = memoryview(self._consumer_map).cast("Q")
        whole = memoryview(self._producer_map)
        self._producer = whole[:8].cast("Q")
        self._data = whole[page:]
        self._lengths = self._data.cast("I")
        whole.release()
        self.fd = fd

    @property
    def end(self) -> int:
        """Position behind the last record reserved so far. Positions only grow."""
        return int(self._producer[0])

    @property
    def position(self) -> int:
        """Position behind the last record read."""
        return int(self._consumer[0])

    @property
    def backlog_bytes(self) -> int:
        """Bytes written by the kernel and not yet read."""
        return self._producer[0] - self._consumer[0]

    def drain(self, handle: RecordHandler, limit: int, end: int | None = None) -> int:
        """Hand over at most ``limit`` records that lie before ``end`` (default: all) and free them; answer how many."""
        position = self._consumer[0]
        if end is None:
            end = self._producer[0]
        mask, lengths, data = self._mask, self._lengths, self._data
        count = 0
        while position < end and count < limit:
            offset = position & mask
            length = lengths[offset >> 2]
            if length & _BUSY:
                break  # reserved, not yet committed
            if length & _DISCARDED:
                length &= ~_DISCARDED
            else:
                handle(data, offset + _HEADER_BYTES, length)
                count += 1
            position += (length + _HEADER_BYTES + 7) & ~7
        self._consumer[0] = position
        return count

    def close(self) -> None:
        """Unmap."""
        for view in (self._lengths, self._data, self._producer, self._consumer):
            view.release()
        self._producer_map.close()
        self._consumer_map.close()
