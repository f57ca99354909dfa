"""Which of the programs that processes ran before are still kept: a ledger of ages and bytes.

An open is judged after the execs that came before it in the other ring, so a
process may have gone on to others by then, and a quick one to many. What is kept
is bounded by time, and by bytes over all processes. Too many bytes are the affair
of the cgroup that has most of them: its oldest go first, so that a flood costs
its own container's images and nobody else's. The images themselves are in the
rows of :mod:`monitor.engine.processes`; the functions here put them there.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from operator import itemgetter
from typing import Final, NamedTuple

from monitor.model.ids import CgroupId, ProcessKey
from monitor.model.process import Process, ProcessImage

IMAGE_BYTES: Final = 1_536
"""What an image takes beside its texts, its place here included."""
ROOM_SHARE: Final = 16
"""When there is too much, so that a sixteenth of the bound is free again: looking for the heaviest costs time."""


_EXEC_ID = itemgetter(0)


class Kept(NamedTuple):
    """One image that is kept."""

    key: ProcessKey
    exec_id: int
    until_ktime_ns: int
    size_bytes: int


class EarlierImages:
    """At most ``bytes_max``, each for ``keep_ns`` at most."""

    def __init__(self, bytes_max: int, keep_ns: int) -> None:
        self._max = bytes_max
        self._keep_ns = keep_ns
        self._kept: dict[CgroupId, deque[Kept]] = {}
        """By cgroup, oldest first."""
        self._bytes: dict[CgroupId, int] = {}
        self._total = 0

    @property
    def size_bytes(self) -> int:
        """Of all that is kept."""
        return self._total

    def add(
        self, cgroup_id: CgroupId, key: ProcessKey, exec_id: int, image: ProcessImage, ktime_ns: int
    ) -> Iterator[Kept]:
        """One more. Yields what has to go for it."""
        size = IMAGE_BYTES + image.weight_bytes
        self._kept.setdefault(cgroup_id, deque()).append(Kept(key, exec_id, ktime_ns + self._keep_ns, size))
        self._bytes[cgroup_id] = self._bytes.get(cgroup_id, 0) + size
        self._total += size
        return self._make_room() if self._total > self._max else iter(())

    def expire(self, ktime_ns: int, budget: int) -> Iterator[Kept]:
        """Yields what was kept long enough; at most ``budget`` of them."""
        for cgroup_id in list(self._kept):
            while budget and self._kept.get(cgroup_id) and self._kept[cgroup_id][0].until_ktime_ns <= ktime_ns:
                budget -= 1
                yield self._drop_oldest(cgroup_id)

    def _make_room(self) -> Iterator[Kept]:
        wanted = self._max - self._max // ROOM_SHARE
        while self._total > wanted:
            heaviest = max(self._bytes, key=self._bytes.__getitem__)
            enough = self._bytes[heaviest] // 2
            while self._total > wanted and self._bytes.get(heaviest, 0) > enough:
                yield self._drop_oldest(heaviest)

    def _drop_oldest(self, cgroup_id: CgroupId) -> Kept:
        kept = self._kept[cgroup_id].popleft()
        self._total -= kept.size_bytes
        self._bytes[cgroup_id] -= kept.size_bytes
        if not self._kept[cgroup_id]:
            del self._kept[cgroup_id], self._bytes[cgroup_id]
        return kept


def find_earlier(process: Process, exec_id: int) -> ProcessImage | None:
    """What it ran under this number, before what it runs now."""
    images = process.earlier_images
    if images is None:
        return None
    at = bisect_left(images, exec_id, key=_EXEC_ID)
    return images[at][1] if at < len(images) and images[at][0] == exec_id else None


def insert_earlier(process: Process, exec_id: int, image: ProcessImage) -> None:
    """Put it in its place."""
    if process.earlier_images is None:
        process.earlier_images = [(exec_id, image)]
    else:
        process.earlier_images.insert(bisect_left(process.earlier_images, exec_id, key=_EXEC_ID), (exec_id, image))


def remove_earlier(process: Process, exec_id: int) -> None:
    """Forget what it ran under this number."""
    images = process.earlier_images or []
    at = bisect_left(images, exec_id, key=_EXEC_ID)
    if at < len(images) and images[at][0] == exec_id:
        del images[at]
