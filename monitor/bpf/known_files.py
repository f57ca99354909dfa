"""The kernel's table of files that are known by their inodes, whatever they are called.

An entry leads from a file, in one container, to a number; a number stands for the paths
that it was found at, and leads in each half of the policy to the terms that name them. So
another policy is a switch of numbers' rows, and the files stay.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from monitor.model.ids import InodeKey
from monitor.model.kernel_policy import SUBJECTS, KnownVectors
from monitor.wire import _layout as layout

_KEY: Final = struct.Struct("<QQII")
_NUMBER: Final = struct.Struct("<I")
_ROW: Final = layout.POLICY_SUBJECTS
_HALF: Final = layout.POLICY_FILE_PATHS * _ROW
Place = Callable[[int], int | None]
"""The index of a vector in a half; None when there is no room."""


class FileMaps(Protocol):
    """What this needs of the loaded object."""

    def variable_view(self, name: str) -> memoryview:
        """Memory of a global variable, shared with the programs."""

    def map_update(self, name: str, key: bytes, value: bytes) -> None:
        """Set one entry; OSError when the kernel refuses."""

    def map_delete(self, name: str, key: bytes) -> None:
        """Remove one entry, if it is there."""

    def map_items(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """All entries."""


class KnownFileTable:
    """Owns the numbers. What an earlier service left decides on until it is found again, or another policy comes."""

    def __init__(self, maps: FileMaps) -> None:
        self._maps = maps
        self._left = {key: int(_NUMBER.unpack(value[:4])[0]) for key, value in maps.map_items("policy_files")}
        self._numbers: dict[frozenset[str], int] = {}
        self._files: dict[int, dict[bytes, frozenset[str]]] = {}
        """By slot: what is there, and the paths that it was found at."""
        self._vectors: Mapping[str, KnownVectors] | None = None
        """Of the last policy; None: there is none yet, and what an earlier service wrote stays."""
        self.without_room: frozenset[int] = frozenset()
        """Slots of which some files found no room in the kernel: these are denied by their names alone."""

    def __len__(self) -> int:
        return sum(map(len, self._files.values()))

    # --- files ----------------------------------------------------------------------------------

    def replace(self, slot: int, files: Mapping[InodeKey, frozenset[str]], half: int, place: Place) -> None:
        """Say which files of a container are known, and the paths that each was found at."""
        wanted = {_pack(key, slot): paths for key, paths in files.items()}
        present = self._files.setdefault(slot, {})
        for key in [key for key in present if key not in wanted]:
            self._maps.map_delete("policy_files", key)
            del present[key]
        self.without_room -= {slot}
        for key, paths in wanted.items():
            if present.get(key) != paths and not self._write_file(key, paths, half, place):
                self.without_room |= {slot}
        if not present:
            del self._files[slot]

    def forget(self, slot: int) -> None:
        """The slot is free, and its next container another one."""
        left = [key for key in self._left if _KEY.unpack(key)[3] == slot]
        for key in (*self._files.pop(slot, {}), *left):
            self._left.pop(key, None)
            self._maps.map_delete("policy_files", key)
        self.without_room -= {slot}

    def _write_file(self, key: bytes, paths: frozenset[str], half: int, place: Place) -> bool:
        is_new = paths not in self._numbers
        number = self._find_number(paths, self._left.get(key, 0))
        if not number:
            return False
        if is_new:
            self._write_row(half, number, paths, place)
        try:
            self._maps.map_update("policy_files", key, _NUMBER.pack(number))
        except OSError:
            return False
        self._left.pop(key, None)
        slot = _KEY.unpack(key)[3]
        self._files[slot][key] = paths
        return True

    def _find_number(self, paths: frozenset[str], earlier: int) -> int:
        """The number of these paths; that which an earlier service gave, if it is free. 0: none is left."""
        number = self._numbers.get(paths)
        if number is not None:
            return number
        used = set(self._numbers.values())
        if not earlier or earlier in used:
            used |= set(self._left.values())
            earlier = next((each for each in range(1, layout.POLICY_FILE_PATHS) if each not in used), 0)
        if earlier:
            self._numbers[paths] = earlier
        return earlier

    # --- what they are in a policy --------------------------------------------------------------

    def write_half(self, half: int, vectors: Mapping[str, KnownVectors], place: Place) -> None:
        """Write what each number is in a policy that is to be in force."""
        self._vectors = vectors
        in_use = {paths for files in self._files.values() for paths in files.values()}
        self._numbers = {paths: number for paths, number in self._numbers.items() if paths in in_use}
        rows = self._maps.variable_view("policy_known_files").cast("I")
        rows[half * _HALF : (half + 1) * _HALF] = memoryview(_NUMBER.pack(layout.POLICY_NOTHING) * _HALF).cast("I")
        self._maps.variable_view("policy_known").cast("I")[half] = 0
        for paths, number in self._numbers.items():
            self._write_row(half, number, paths, place)

    def drop_what_is_left(self) -> None:
        """The policy of an earlier service is in force no more: what it knew leads nowhere."""
        for key in self._left:
            self._maps.map_delete("policy_files", key)
        self._left = {}

    def _write_row(self, half: int, number: int, paths: frozenset[str], place: Place) -> None:
        if self._vectors is None:
            return
        rows = self._maps.variable_view("policy_known_files").cast("I")
        subjects = self._maps.variable_view("policy_known").cast("I")
        begin = half * _HALF + number * _ROW
        for subject in range(len(SUBJECTS)):
            vector = 0
            for path in paths:
                vector |= self._vectors[path][subject] if path in self._vectors else 0
            index = place(vector) if vector else None
            rows[begin + subject] = layout.POLICY_NOTHING if index is None else index
            if index is not None:
                subjects[half] |= 1 << subject


def _pack(key: InodeKey, slot: int) -> bytes:
    return _KEY.pack(key.inode, key.device, key.generation, slot)
