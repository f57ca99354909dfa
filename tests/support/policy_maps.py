"""The kernel's memory for the denial policy, without a kernel: what the writer writes can be looked at."""

import struct
from collections.abc import Iterator

from monitor.wire import _layout as layout

_SIZES = {
    "policy_generation": 4,
    "policy_vectors": layout.POLICY_VECTORS * (layout.POLICY_WORDS + 1) * 8,
    "policy_events": 2 * layout.POLICY_EVENTS * 4,
    "policy_asked": 2 * 4,
    "policy_unnamed": 2 * layout.POLICY_DIMENSIONS_STRIDE * 4,
    "policy_unread": 2 * layout.POLICY_DIMENSIONS_STRIDE * 4,
    "policy_masks": 2 * layout.POLICY_DIMENSIONS_STRIDE * layout.POLICY_NAMED_BITS * 8,
    "policy_combinations": 2 * layout.POLICY_DIMENSIONS_STRIDE * layout.POLICY_COMBINATIONS * 4,
    "policy_containers": 2 * layout.POLICY_CONTAINERS * 4,
    "policy_enforced": 2 * layout.POLICY_CONTAINERS * 4,
    "policy_known": 2 * 4,
    "policy_known_files": 2 * layout.POLICY_FILE_PATHS * layout.POLICY_SUBJECTS * 4,
}


class PolicyMemory:
    """``full`` names a map that refuses new entries."""

    def __init__(self, full: str = "") -> None:
        self.full = full
        names = "policy_texts", "policy_numbers", "policy_cgroups", "policy_files"
        self.maps: dict[str, dict[bytes, bytes]] = {name: {} for name in names}
        self._variables = {name: bytearray(size) for name, size in _SIZES.items()}

    def variable_view(self, name: str) -> memoryview:
        return memoryview(self._variables[name])

    def map_update(self, name: str, key: bytes, value: bytes) -> None:
        if name == self.full:
            raise OSError(7, "the map is full")
        self.maps[name][key] = value

    def map_lookup(self, name: str, key: bytes) -> bytes | None:
        return self.maps[name].get(key)

    def map_delete(self, name: str, key: bytes) -> None:
        self.maps[name].pop(key, None)

    def map_items(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        yield from list(self.maps[name].items())

    # --- what programs would find ---------------------------------------------------------------

    @property
    def half(self) -> int:
        """The half in force."""
        return int.from_bytes(self._variables["policy_generation"], "little") & 1

    def vector(self, index: int) -> int:
        """The terms of a vector."""
        row = (layout.POLICY_WORDS + 1) * 8
        return int.from_bytes(self._variables["policy_vectors"][index * row : (index + 1) * row - 8], "little")

    def terms_of_slot(self, slot: int) -> tuple[int, int]:
        """What the policy in force is for a slot: scope, enforced."""
        place = self.half * layout.POLICY_CONTAINERS + slot
        rows = [memoryview(self._variables[name]).cast("I") for name in ("policy_containers", "policy_enforced")]
        return self.vector(rows[0][place]), self.vector(rows[1][place])

    def slot_of(self, cgroup_id: int) -> int | None:
        """The slot of a cgroup."""
        found = self.maps["policy_cgroups"].get(struct.pack("<Q", cgroup_id))
        return None if found is None else int.from_bytes(found, "little")
