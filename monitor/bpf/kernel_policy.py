"""Put a packed policy in force in the kernel, and keep its table of containers.

A policy is written to the half that is not in force and switched by one store.
Containers come and go under a policy: their vectors are added to the half in force.
"""

import struct
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final, Literal, Protocol

from monitor.bpf.automaton_tables import write_automaton
from monitor.bpf.known_files import KnownFileTable
from monitor.bpf.policy_packing import HALF_VECTORS, PackedPolicy, PolicyDoesNotFit, pack
from monitor.bpf.syscalls import wait_for_programs
from monitor.model.ids import CgroupId, InodeKey
from monitor.model.kernel_policy import ContainerTerms, PolicyTables
from monitor.wire import _layout as layout

_GENERATION_MAX: Final = 1 << 31
_WORD: Final = (1 << 64) - 1
_ROW: Final = struct.Struct(f"<{layout.POLICY_WORDS + 1}Q")
_NUMBER_KEY: Final = struct.Struct("<QII")
_TEXT_BITS: Final = struct.Struct("<I")
_INDEX: Final = struct.Struct("<I")
_CGROUP: Final = struct.Struct("<Q")
_EVERYTHING: Final = (1 << layout.POLICY_TERMS_MAX) - 1


class PolicyMaps(Protocol):
    """What this needs of the loaded object (:class:`monitor.bpf.libbpf.BpfObject`)."""

    def variable_view(self, name: str) -> memoryview:
        """Memory of a global variable, shared with the programs."""

    def map_update(self, name: str, key: bytes, value: bytes) -> None:
        """Set one entry; OSError when the kernel refuses."""

    def map_lookup(self, name: str, key: bytes) -> bytes | None:
        """One value."""

    def map_delete(self, name: str, key: bytes) -> None:
        """Remove one entry, if it is there."""

    def map_items(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """All entries."""


class KernelPolicyWriter:
    """Owns the policy's memory in the kernel. One writer an object."""

    def __init__(self, maps: PolicyMaps) -> None:
        self._maps = maps
        self._places: dict[int, int] = {}
        """Of the half in force: vector -> index."""
        maps.variable_view("policy_vectors")[: _ROW.size] = _pack_row(_EVERYTHING)
        self.files = KnownFileTable(maps)

    @property
    def generation(self) -> int:
        """Number of the policy in force; 0: none."""
        return int(self._maps.variable_view("policy_generation").cast("I")[0])

    @property
    def next_generation(self) -> int:
        """Number of the policy that :meth:`apply` will put in force."""
        return self.generation % _GENERATION_MAX + 1

    def continue_from(self, generation: int) -> None:
        """Number the next policy after this one, of an object that has none yet: no two have one number."""
        if not self.generation:
            self._maps.variable_view("policy_generation").cast("I")[0] = generation

    def apply(self, tables: PolicyTables, containers: Mapping[int, ContainerTerms]) -> int:
        """Put a policy in force; answers its generation.

        Raises:
            PolicyDoesNotFit: nothing was changed.
            OSError: the kernel refused an entry; the old policy is still in force.
        """
        packed = pack(tables, containers)
        generation = self._maps.variable_view("policy_generation").cast("I")
        following = self.next_generation
        half = following & 1
        wait_for_programs()  # that still read this half, from before the last switch
        self._clear(half)
        base = 1 + half * HALF_VECTORS
        self._write(packed, half, base)
        places = {vector: base + place for place, vector in enumerate(packed.vectors)}
        self.files.write_half(half, tables.known, partial(self._find_place, half, places))
        generation[0] = following
        self._places = places
        self.files.drop_what_is_left()
        return following

    def set_container(self, slot: int, terms: ContainerTerms) -> None:
        """Say what the policy in force is for a container that has come.

        Raises:
            PolicyDoesNotFit: no room for its vectors; what the slot had stays.
        """
        half = self.generation & 1
        scope, enforced = self._add(terms.scope), self._add(terms.enforced)
        self._row_view("policy_enforced", half, layout.POLICY_CONTAINERS)[slot] = enforced
        self._row_view("policy_containers", half, layout.POLICY_CONTAINERS)[slot] = scope

    def set_files(self, slot: int, files: Mapping[InodeKey, frozenset[str]]) -> None:
        """Say which files of a container (or of the host) lie at the exact paths of the policy."""
        half = self.generation & 1
        self.files.replace(slot, files, half, partial(self._find_place, half, self._places))

    def set_cgroup(self, cgroup_id: CgroupId, slot: int) -> None:
        """Say whose a cgroup is.

        Raises:
            LibbpfError: E2BIG when the table is full; the cgroup then is its parent's.
        """
        self._maps.map_update("policy_cgroups", _CGROUP.pack(cgroup_id), _INDEX.pack(slot))

    def read_cgroup(self, cgroup_id: CgroupId) -> int | None:
        """The slot that a cgroup has of its own."""
        value = self._maps.map_lookup("policy_cgroups", _CGROUP.pack(cgroup_id))
        return None if value is None else int(_INDEX.unpack(value[: _INDEX.size])[0])

    def read_cgroups(self) -> dict[CgroupId, int]:
        """The slot of each cgroup that has one of its own."""
        return {
            CgroupId(_CGROUP.unpack(key)[0]): _INDEX.unpack(value[: _INDEX.size])[0]
            for key, value in self._maps.map_items("policy_cgroups")
        }

    # --- writing a half -----------------------------------------------------------------------

    def _clear(self, half: int) -> None:
        for key in [key for key, _ in self._maps.map_items("policy_texts") if key[_TEXT_BITS.size] & 1 == half]:
            self._maps.map_delete("policy_texts", key)
        for key in [key for key, _ in self._maps.map_items("policy_numbers") if _NUMBER_KEY.unpack(key)[2] == half]:
            self._maps.map_delete("policy_numbers", key)

    def _write(self, packed: PackedPolicy, half: int, base: int) -> None:
        rows = self._maps.variable_view("policy_vectors")
        rows[base * _ROW.size : (base + len(packed.vectors)) * _ROW.size] = b"".join(map(_pack_row, packed.vectors))
        self._write_tables(packed, half, base)
        if packed.arguments is not None:
            write_automaton(self._maps, packed.arguments, half)
        for number, (some, none) in enumerate(packed.clauses):
            row = self._row_view("policy_clause_vectors", half * layout.POLICY_CLAUSES + number, 2)
            row[0], row[1] = base + some, base + none
        for (dimension, text), place in packed.texts.items():
            key = bytes([dimension * 2 + half]) + text
            packed_key = _TEXT_BITS.pack(8 * len(key)) + key.ljust(layout.POLICY_KEY_BYTES, b"\0")
            self._maps.map_update("policy_texts", packed_key, _INDEX.pack(base + place))
        for (dimension, value), place in packed.numbers.items():
            self._maps.map_update("policy_numbers", _NUMBER_KEY.pack(value, dimension, half), _INDEX.pack(base + place))

    def _write_tables(self, packed: PackedPolicy, half: int, base: int) -> None:
        stride = layout.POLICY_DIMENSIONS_STRIDE
        _fill(self._row_view("policy_asked", half, 1), {0: packed.asked})
        for name, room, places in (
            ("policy_events", layout.POLICY_EVENTS, packed.events),
            ("policy_unnamed", stride, packed.unnamed),
            ("policy_unread", stride, packed.unread),
        ):
            _fill(self._row_view(name, half, room), {key: base + place for key, place in places.items()})
        self._write_containers(packed, half, base)
        for dimension, bits in packed.bits.items():
            row = half * stride + dimension
            _fill(self._row_view("policy_masks", row, layout.POLICY_NAMED_BITS, "Q"), dict(enumerate(bits.masks)))
            combinations = {number: base + place for number, place in enumerate(bits.vectors)}
            _fill(self._row_view("policy_combinations", row, layout.POLICY_COMBINATIONS), combinations)

    def _write_containers(self, packed: PackedPolicy, half: int, base: int) -> None:
        """A slot that nobody speaks of is some container's: no place of it must be the one that has every bit."""
        nobody = packed.containers.get(layout.POLICY_PENDING, (0, 0))
        for name, part in (("policy_containers", 0), ("policy_enforced", 1)):
            row = self._row_view(name, half, layout.POLICY_CONTAINERS)
            for slot in range(layout.POLICY_CONTAINERS):
                row[slot] = base + packed.containers.get(slot, nobody)[part]

    def _add(self, vector: int) -> int:
        """The index of a vector in the half in force."""
        index = self._find_place(self.generation & 1, self._places, vector)
        if index is None:
            raise PolicyDoesNotFit("the kernel's policy has no room for another container's vectors")
        return index

    def _find_place(self, half: int, places: dict[int, int], vector: int) -> int | None:
        """The index of a vector in a half, where it is put if it is not there; None when that is full."""
        index = places.get(vector)
        if index is not None or len(places) >= HALF_VECTORS:
            return index
        index = 1 + half * HALF_VECTORS + len(places)
        self._maps.variable_view("policy_vectors")[index * _ROW.size : (index + 1) * _ROW.size] = _pack_row(vector)
        places[vector] = index
        return index

    def _row_view(self, name: str, row: int, room: int, code: Literal["I", "Q"] = "I") -> "memoryview[int]":
        """One row of a table of numbers."""
        return self._maps.variable_view(name).cast(code)[row * room : (row + 1) * room]


def _pack_row(vector: int) -> bytes:
    """Its words, and the one that says which of them are not zero."""
    words = [vector >> 64 * number & _WORD for number in range(layout.POLICY_WORDS)]
    return _ROW.pack(*words, sum(1 << number for number, word in enumerate(words) if word))


def _fill(row: "memoryview[int]", values: Mapping[int, int]) -> None:
    """What is not given is zero."""
    for place in range(len(row)):
        row[place] = values.get(place, 0)
