"""Pack open patterns into what the kernel's open filter reads, and put a policy in force.

:meth:`OpenPolicy.build` is pure: patterns in, bytes out (bitmaps of names, trie entries), or
:class:`OpenPolicyError` and nothing. :meth:`OpenPolicy.apply` writes them into the half of
the policy that is not in force and switches with one store. What a rule asks for is
:mod:`monitor.rules.open_filter`; how the kernel reads this is ``ebpf/include/match.bpf.h``.
"""

import secrets
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from msgspec import Struct

from monitor.model.interest import OpenPattern, PatternKind
from monitor.wire import _layout as layout

_SEED: Final = struct.Struct("<6Q")
_FOLD: Final = bytes(byte | 0x20 for byte in range(256))
_MASK_64: Final = (1 << 64) - 1
_PATH_TEXT_BYTES_MAX: Final = layout.OPEN_PATH_KEY_BYTES - 1
_ENDING_TEXT_BYTES_MAX: Final = layout.OPEN_ENDING_KEY_BYTES - 1
_ENTRIES_MAX: Final = layout.OPEN_PATTERNS_MAX // 2
"""In each trie: both halves of the policy share it."""

_HEAD: Final = layout.STRUCTS["open_filter_head"]
_VALUE: Final = layout.STRUCTS["open_interest_value"]
_KEY_BITS: Final = struct.Struct("<I")
_GENERATION_MAX: Final = 1 << 31
_LONG_ENDING_BYTES: Final = 4
"""Of a suffix without a slash: so many are asked for at once, of shorter ones two."""

_READ: Final = layout.INTEREST_HOST_READ | layout.INTEREST_CONTAINER_READ
_WRITE: Final = layout.INTEREST_HOST_WRITE | layout.INTEREST_CONTAINER_WRITE
_FAILED: Final = layout.INTEREST_HOST_FAILED | layout.INTEREST_CONTAINER_FAILED
_MADE: Final = layout.INTEREST_HOST_MADE | layout.INTEREST_CONTAINER_MADE
_RENAMED: Final = layout.INTEREST_HOST_RENAMED | layout.INTEREST_CONTAINER_RENAMED
_DELETED: Final = layout.INTEREST_HOST_DELETED | layout.INTEREST_CONTAINER_DELETED
_ATTRIBUTES: Final = layout.INTEREST_HOST_ATTRIBUTES | layout.INTEREST_CONTAINER_ATTRIBUTES
_CONNECTED: Final = layout.INTEREST_HOST_CONNECTED | layout.INTEREST_CONTAINER_CONNECTED
_ACCESSED: Final = layout.INTEREST_HOST_ACCESSED | layout.INTEREST_CONTAINER_ACCESSED
_HOST: Final = (
    layout.INTEREST_HOST_READ
    | layout.INTEREST_HOST_WRITE
    | layout.INTEREST_HOST_FAILED
    | layout.INTEREST_HOST_MADE
    | layout.INTEREST_HOST_RENAMED
    | layout.INTEREST_HOST_DELETED
    | layout.INTEREST_HOST_ATTRIBUTES
    | layout.INTEREST_HOST_CONNECTED
    | layout.INTEREST_HOST_ACCESSED
)
_CONTAINER: Final = (
    layout.INTEREST_CONTAINER_READ
    | layout.INTEREST_CONTAINER_WRITE
    | layout.INTEREST_CONTAINER_FAILED
    | layout.INTEREST_CONTAINER_MADE
    | layout.INTEREST_CONTAINER_RENAMED
    | layout.INTEREST_CONTAINER_DELETED
    | layout.INTEREST_CONTAINER_ATTRIBUTES
    | layout.INTEREST_CONTAINER_CONNECTED
    | layout.INTEREST_CONTAINER_ACCESSED
)
_CHANGES: Final = _MADE | _RENAMED | _DELETED | _ATTRIBUTES
_CLASSES: Final = {layout.OPEN_CLASS_READ: _READ, layout.OPEN_CLASS_WRITE: _READ | _WRITE | _CHANGES}
"""A pattern enters the bitmap of each class that can have its interest; changes are judged by that of writes."""


class OpenPolicyError(ValueError):
    """The patterns do not fit as a whole; the policy in force stays as it is."""


class OpenMaps(Protocol):
    """What this needs of the loaded object (:class:`monitor.bpf.libbpf.BpfObject`)."""

    def variable_view(self, name: str) -> memoryview:
        """Memory of a global variable, shared with the programs."""

    def map_update(self, name: str, key: bytes, value: bytes) -> None:
        """Set one entry; OSError when the kernel refuses."""

    def map_delete(self, name: str, key: bytes) -> None:
        """Remove one entry, if it is there."""

    def map_items(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """All entries."""


class Entry(Struct, frozen=True):
    """One entry of a trie, but for the half of the policy."""

    space: int
    text: bytes
    """Folded."""
    interest: int
    pattern: int


class PackedPolicy(Struct, frozen=True):
    """A policy as the kernel reads it."""

    head: bytes
    names: bytes
    """The bitmaps, one after another by class."""
    paths: tuple[Entry, ...]
    endings: tuple[Entry, ...]


class _Want(Struct):
    """What the patterns with one text ask for, added up."""

    interest: int
    pattern: int


_Wants = dict[bytes, _Want]


class OpenPolicy:
    """Builds and applies policies for one loaded object.

    ``seed`` holds the multipliers that its programs hash names with (the variable
    ``tag_seed``), random for each load.
    """

    def __init__(self, seed: bytes) -> None:
        self._head_factor: int
        self._tail_factor: int
        self._ending_factor: int
        self._head_factor, self._tail_factor, self._ending_factor, *_ = _SEED.unpack(seed)

    # -- building

    def build(self, patterns: Iterable[OpenPattern]) -> PackedPolicy:
        """Pack patterns; those that the kernel cannot hold in full are widened, never narrowed.

        Raises:
            OpenPolicyError: more distinct patterns than the tries hold.
        """
        kinds: dict[PatternKind, _Wants] = {kind: {} for kind in PatternKind}
        for number, pattern in enumerate(patterns):
            kind, text = _widen(pattern)
            _add(kinds[kind], text, _interest_of(pattern), number)
        paths = (*_path_entries(kinds), *_directory_entries(kinds[PatternKind.PREFIX]))
        endings = tuple(_ending_entries(kinds[PatternKind.SUFFIX]))
        for what, entries in (("exact paths and prefixes", paths), ("suffixes", endings)):
            if len(entries) > _ENTRIES_MAX:
                raise OpenPolicyError(
                    f"the rules and observe: ask for {len(entries)} entries of {what}, the kernel side holds "
                    f"{_ENTRIES_MAX}: merge patterns (a prefix for many files of one directory) or disable rules"
                )
        return PackedPolicy(_pack_head(kinds), self._pack_names(kinds), paths, endings)

    def _pack_names(self, kinds: dict[PatternKind, _Wants]) -> bytes:
        size = layout.OPEN_NAME_BITMAP_BYTES
        bitmaps = bytearray(size * layout.OPEN_CLASS_COUNT)
        for bit, interest in self._name_bits(kinds):
            for number, wanted in _CLASSES.items():
                if interest & wanted:
                    bitmaps[number * size + (bit >> 3)] |= 1 << (bit & 7)
        return bytes(bitmaps)

    def _name_bits(self, kinds: dict[PatternKind, _Wants]) -> Iterator[tuple[int, int]]:
        """Which bits say that a name could be the end of a pattern."""
        for text, want in kinds[PatternKind.EXACT].items():
            yield self._name_bit(text.rpartition(b"/")[2]), want.interest
        for text, want in kinds[PatternKind.SUFFIX].items():
            _, slash, name = text.rpartition(b"/")
            yield self._name_bit(name) if slash else self._ending_bit(name), want.interest

    def _name_bit(self, name: bytes) -> int:
        head = int.from_bytes(name[:8], "little") if len(name) >= 8 else _left(name) >> (64 - 8 * len(name))
        mixed = (head + len(name)) * self._head_factor + _left(name[-8:]) * self._tail_factor
        return (mixed & _MASK_64) >> 48

    def _ending_bit(self, ending: bytes) -> int:
        last = _left(ending[-8:])
        word = last >> 32 if len(ending) >= _LONG_ENDING_BYTES else last >> 48
        return (word * self._ending_factor & _MASK_64) >> 48

    # -- applying

    @staticmethod
    def apply(packed: PackedPolicy, maps: OpenMaps) -> int:
        """Write the half that is not in force, then switch; answers the new generation.

        Raises:
            OSError: the kernel refused an entry; the old policy is still in force.
        """
        generation = maps.variable_view("open_policy_generation").cast("I")
        following = generation[0] % _GENERATION_MAX + 1
        half = following & 1
        _clear_half(maps, half)
        filters = maps.variable_view("open_filters")
        half_bytes = len(filters) // 2
        filters[half * half_bytes : (half + 1) * half_bytes] = packed.head + packed.names
        for name, key_bytes, entries in _tries(packed):
            for entry in entries:
                maps.map_update(name, _pack_key(entry, half, key_bytes), _VALUE.pack(entry.interest, entry.pattern))
        generation[0] = following
        return following


def make_seed() -> bytes:
    """Multipliers for one load of the sensor: random, and odd, because even ones lose bits."""
    return _SEED.pack(*(secrets.randbits(64) | 1 for _ in range(6)))


def read_seed(maps: OpenMaps) -> bytes:
    """The multipliers of a loaded object, for :class:`OpenPolicy`."""
    return bytes(maps.variable_view("tag_seed"))


def _tries(packed: PackedPolicy) -> tuple[tuple[str, int, tuple[Entry, ...]], ...]:
    return (
        ("open_paths", layout.OPEN_PATH_KEY_BYTES, packed.paths),
        ("open_endings", layout.OPEN_ENDING_KEY_BYTES, packed.endings),
    )


def _clear_half(maps: OpenMaps, half: int) -> None:
    """Remove what the half held: programs that began under it have long ended."""
    for name in ("open_paths", "open_endings"):
        for key in [key for key, _ in maps.map_items(name) if key[_KEY_BITS.size] & 1 == half]:
            maps.map_delete(name, key)


def _pack_key(entry: Entry, half: int, size: int) -> bytes:
    text = bytes([entry.space + half]) + entry.text
    return _KEY_BITS.pack(8 * len(text)) + text.ljust(size, b"\0")


def _interest_of(pattern: OpenPattern) -> int:
    scope = (_HOST if pattern.on_host else 0) | (_CONTAINER if pattern.in_containers else 0)
    opens = (_READ if pattern.reads else 0) | (_WRITE if pattern.writes else 0) | (_FAILED if pattern.failed else 0)
    names = (_MADE if pattern.made else 0) | (_RENAMED if pattern.renamed else 0)
    rest = (_DELETED if pattern.deleted else 0) | (_ATTRIBUTES if pattern.attributes else 0)
    other = (_CONNECTED if pattern.connected else 0) | (_ACCESSED if pattern.accessed else 0)
    return scope & (opens | names | rest | other)


def _widen(pattern: OpenPattern) -> tuple[PatternKind, bytes]:
    """The pattern in folded bytes, let through more where the kernel cannot compare what user space does."""
    text = pattern.text
    kind = pattern.kind
    # Bytes that are no UTF-8 reach user space as ``\\xff``: the kernel sees one byte there.
    if "\\" in text:
        kind, text = _cut_at_escape(kind, text)
    folded = text.encode("utf-8", "surrogatepass").translate(_FOLD)
    if kind is PatternKind.EXACT and len(folded) > _PATH_TEXT_BYTES_MAX - 1:
        return PatternKind.PREFIX, folded[:_PATH_TEXT_BYTES_MAX]
    if kind is PatternKind.PREFIX:
        return (kind, folded[:_PATH_TEXT_BYTES_MAX]) if folded else (PatternKind.ANY, b"")
    if kind is PatternKind.SUFFIX and len(folded) < 2:
        return PatternKind.ANY, b""
    return kind, b"" if kind is PatternKind.ANY else folded


def _cut_at_escape(kind: PatternKind, text: str) -> tuple[PatternKind, str]:
    if kind is PatternKind.SUFFIX:
        rest = text.rpartition("\\")[2]
        return kind, rest[3:] if rest.startswith("x") else rest
    return (kind if kind is PatternKind.ANY else PatternKind.PREFIX), text.partition("\\")[0]


def _add(wants: _Wants, text: bytes, interest: int, number: int) -> None:
    want = wants.setdefault(text, _Want(0, number))
    want.interest |= interest


def _union(wants: Iterable[_Want]) -> int:
    union = 0
    for want in wants:
        union |= want.interest
    return union


def _pack_head(kinds: dict[PatternKind, _Wants]) -> bytes:
    unions = {kind: _union(wants.values()) for kind, wants in kinds.items()}
    wanted = 0
    for union in unions.values():
        wanted |= union
    endings = [(text, want) for text, want in kinds[PatternKind.SUFFIX].items() if b"/" not in text]
    return _HEAD.pack(
        wanted,
        unions[PatternKind.ANY],
        unions[PatternKind.EXACT],
        unions[PatternKind.PREFIX],
        unions[PatternKind.SUFFIX],
        _union(want for text, want in endings if len(text) >= _LONG_ENDING_BYTES),
        _union(want for text, want in endings if len(text) < _LONG_ENDING_BYTES),
        0,
    )


def _shorter(wants: _Wants, lengths: Sequence[int], text: bytes) -> int:
    """Interest of all prefixes of ``text`` among ``wants``, itself included."""
    interest = 0
    for length in lengths:
        if length > len(text):
            break
        want = wants.get(text[:length])
        if want is not None:
            interest |= want.interest
    return interest


def _path_entries(kinds: dict[PatternKind, _Wants]) -> Iterator[Entry]:
    """Prefixes, and exact paths with their NUL; each with the interest of the prefixes that it implies."""
    prefixes = kinds[PatternKind.PREFIX]
    lengths = sorted({len(text) for text in prefixes})
    for text, want in prefixes.items():
        yield Entry(layout.OPEN_SPACE_PATHS, text, _shorter(prefixes, lengths, text), want.pattern)
    for text, want in kinds[PatternKind.EXACT].items():
        interest = want.interest | _shorter(prefixes, lengths, text)
        yield Entry(layout.OPEN_SPACE_PATHS, text + b"\0", interest, want.pattern)


def _directory_entries(prefixes: _Wants) -> Iterator[Entry]:
    """What could match a file directly in a directory: prefixes of its path, and those that begin a name in it."""
    lengths = sorted({len(text) for text in prefixes})
    for text, want in prefixes.items():
        yield Entry(layout.OPEN_SPACE_DIRECTORIES, text, _shorter(prefixes, lengths, text), want.pattern)
    parents: _Wants = {}
    for text, want in prefixes.items():
        directory, slash, name = text.rpartition(b"/")
        if name:
            _add(parents, directory + slash, want.interest, want.pattern)
    for text, want in parents.items():
        interest = want.interest | _shorter(prefixes, lengths, text)
        yield Entry(layout.OPEN_SPACE_DIRECTORIES, text + b"\0", interest, want.pattern)


def _ending_entries(suffixes: _Wants) -> Iterator[Entry]:
    """Suffixes, last byte first, of as many bytes as the kernel looks at."""
    reversed_wants: _Wants = {}
    for text, want in suffixes.items():
        _add(reversed_wants, text[::-1][:_ENDING_TEXT_BYTES_MAX], want.interest, want.pattern)
    lengths = sorted({len(text) for text in reversed_wants})
    for text, want in reversed_wants.items():
        yield Entry(0, text, _shorter(reversed_wants, lengths, text), want.pattern)


def _left(ending: bytes) -> int:
    """Up to eight bytes as the kernel holds a name's end: the last one on top, zeros below."""
    return int.from_bytes(ending.rjust(8, b"\0"), "little")
