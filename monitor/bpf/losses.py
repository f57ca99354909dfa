"""What the kernel side could not write, by CPU, type, cgroup and reason: told once each, as it grows."""

import struct
from collections.abc import Iterator
from typing import Final, Protocol

from monitor.model.events import LossReport
from monitor.model.ids import CgroupId
from monitor.wire import _layout as layout
from monitor.wire.decoder import EVENT_NAMES

_LOSS_KEY: Final = layout.STRUCTS["loss_key"]
_REASONS: Final = {
    layout.LOSS_RING_FULL: "ring_full",
    layout.LOSS_LIMITED: "limited",
    layout.LOSS_NO_SLOT: "no_slot",
}
_UNATTRIBUTED: Final = 64


class LossMaps(Protocol):
    """What this needs of a loaded object (:class:`monitor.bpf.libbpf.BpfObject`)."""

    def map_lookup(self, name: str, key: bytes) -> bytes | None:
        """One value."""

    def map_items(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """All entries."""


class LossReader:
    """Remembers what was told already. One for each object."""

    def __init__(self, maps: LossMaps) -> None:
        self._maps = maps
        self._seen: dict[tuple[int, int, int, int], int] = {}

    def read(self, ktime_ns: int) -> Iterator[LossReport]:
        """What was lost since the last call."""
        for key, value in self._maps.map_items("losses"):
            cgroup_id, kind, reason = _LOSS_KEY.unpack(key)
            yield from self._tell(ktime_ns, (cgroup_id, kind, reason), value)
        for index in range(_UNATTRIBUTED):
            value = self._maps.map_lookup("losses_unattributed", struct.pack("<I", index)) or b""
            if any(value):
                yield from self._tell(ktime_ns, (0, index >> 2, index & 3), value)

    def _tell(self, ktime_ns: int, key: tuple[int, int, int], value: bytes) -> Iterator[LossReport]:
        cgroup_id, kind, reason = key
        for cpu, count in enumerate(memoryview(value).cast("Q")):
            seen = self._seen.get((cpu, *key), 0)
            if count > seen:
                self._seen[cpu, *key] = count
                yield LossReport(
                    ktime_ns,
                    cpu,
                    EVENT_NAMES.get(kind, str(kind)),
                    CgroupId(cgroup_id),
                    count - seen,
                    _REASONS.get(reason, str(reason)),
                )
