"""The open filter in Python, twice: what patterns mean, and what the kernel side does with a packed policy.

``matches`` is the reference (folded text, nothing else); ``KernelModel`` follows
``ebpf/include/match.bpf.h`` over memory that stands for the maps. The property
tests hold one against the other, the kernel tests hold the reference against the
real programs.
"""

import struct
from collections.abc import Iterator

from monitor.model.interest import OpenPattern, PatternKind
from monitor.rules.fields import fold_ascii
from monitor.wire import _layout as layout

SEED = struct.pack("<6Q", *(0x9E3779B97F4A7C15 * (2 * number + 1) & (1 << 64) - 1 for number in range(6)))
READ, WRITE = layout.OPEN_CLASS_READ, layout.OPEN_CLASS_WRITE
_READS = layout.INTEREST_HOST_READ | layout.INTEREST_CONTAINER_READ
_WRITES = layout.INTEREST_HOST_WRITE | layout.INTEREST_CONTAINER_WRITE
_FAILED = layout.INTEREST_HOST_FAILED | layout.INTEREST_CONTAINER_FAILED
_ALL = sum(value for name, value in vars(layout).items() if name.startswith("INTEREST_"))
_CLASS_INTEREST = {READ: _READS, WRITE: _ALL & ~_FAILED}
_FILTER_BYTES = layout.STRUCTS["open_filter_head"].size + layout.OPEN_CLASS_COUNT * layout.OPEN_NAME_BITMAP_BYTES


def matches(pattern: OpenPattern, path: str) -> bool:
    """Does the text fit, whatever the access and the scope?"""
    folded = fold_ascii(path)
    match pattern.kind:
        case PatternKind.EXACT:
            return folded == pattern.text
        case PatternKind.PREFIX:
            return folded.startswith(pattern.text)
        case PatternKind.SUFFIX:
            return folded.endswith(pattern.text)
        case PatternKind.ANY:
            return True


class MemoryMaps:
    """The maps and globals that a policy is applied to. ``full`` names a map that refuses new entries."""

    def __init__(self, full: str = "") -> None:
        self.full = full
        self.tries: dict[str, dict[bytes, bytes]] = {"open_paths": {}, "open_endings": {}}
        self._variables = {
            "open_policy_generation": bytearray(4),
            "open_filters": bytearray(2 * _FILTER_BYTES),
            "tag_seed": bytearray(SEED),
        }

    def variable_view(self, name: str) -> memoryview:
        return memoryview(self._variables[name])

    def map_update(self, name: str, key: bytes, value: bytes) -> None:
        if name == self.full:
            raise OSError(7, "the map is full")
        self.tries[name][key] = value

    def map_delete(self, name: str, key: bytes) -> None:
        self.tries[name].pop(key, None)

    def map_items(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        yield from list(self.tries[name].items())

    @property
    def generation(self) -> int:
        return int.from_bytes(self._variables["open_policy_generation"], "little")


class KernelModel:
    """Answers what the programs would, from the bytes that user space has written."""

    def __init__(self, maps: MemoryMaps) -> None:
        self._maps = maps
        self._half = maps.generation & 1
        start = self._half * _FILTER_BYTES
        memory = bytes(maps.variable_view("open_filters"))[start : start + _FILTER_BYTES]
        head = layout.STRUCTS["open_filter_head"]
        self.wanted, self.any, self.exacts, self.prefixes, self.suffixes, *self._endings, _ = head.unpack_from(memory)
        self._names = memory[head.size :]
        self._factors = struct.unpack("<6Q", SEED)

    def name_is_suspect(self, name: bytes, class_: int) -> bool:
        folded = bytes(byte | 0x20 for byte in name)
        tail = int.from_bytes(folded[-8:].rjust(8, b"\0"), "little")
        head = int.from_bytes(folded[:8], "little")
        if self._has(class_, (head + len(name)) * self._factors[0] + tail * self._factors[1]):
            return True
        return any(
            wanted & _CLASS_INTEREST[class_] and self._has(class_, (tail >> shift) * self._factors[2])
            for wanted, shift in zip(self._endings, (32, 48), strict=True)
        )

    def _has(self, class_: int, value: int) -> bool:
        bit = (value & (1 << 64) - 1) >> 48
        return bool(self._names[class_ * layout.OPEN_NAME_BITMAP_BYTES + (bit >> 3)] >> (bit & 7) & 1)

    def path_interest(self, path: bytes) -> int:
        interest = self.any | self._look_up("open_paths", self._path_key(path, layout.OPEN_SPACE_PATHS))
        ending = bytes([self._half]) + bytes(byte | 0x20 for byte in path[::-1][: layout.OPEN_ENDING_KEY_BYTES - 1])
        return interest | self._look_up("open_endings", ending)

    def directory_interest(self, directory: bytes) -> int:
        return self._look_up("open_paths", self._path_key(directory, layout.OPEN_SPACE_DIRECTORIES))

    def _path_key(self, text: bytes, space: int) -> bytes:
        kept = text[: layout.OPEN_PATH_KEY_BYTES - 1]
        key = bytes([space + self._half]) + bytes(byte | 0x20 for byte in kept)
        return key + b"\0" if len(key) < layout.OPEN_PATH_KEY_BYTES else key

    def _look_up(self, name: str, key: bytes) -> int:
        """The longest entry that begins the key, as the kernel's trie finds it."""
        best, interest = -1, 0
        for entry, value in self._maps.tries[name].items():
            length = int.from_bytes(entry[:4], "little") // 8
            if length > best and key.startswith(entry[4 : 4 + length]):
                best, interest = length, layout.STRUCTS["open_interest_value"].unpack(value)[0]
        return interest
