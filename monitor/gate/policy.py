"""What the gate decides by, as plain data that goes through a socket, and made ready for lookups.

The terms are those of :mod:`monitor.rules.kernel_policy`; which of its dimensions a
held event can answer, and in what sense, is :mod:`monitor.gate.facts`. Vectors are
integers here and little-endian bytes on the way; equal ones are sent once.
"""

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from monitor.model.held import DIMENSIONS
from monitor.model.kernel_policy import PATH_END, ContainerTerms, Dimension, Key, Lookup, PolicyTables

EXEC: Final = "exec"
OPEN: Final = "open"

EXEC_FILE_DIMENSIONS: Final = frozenset({Dimension.EXECUTABLE, Dimension.EXECUTABLE_END})
"""What the file of an exec answers by its name alone."""
OPEN_FILE_DIMENSIONS: Final = frozenset({Dimension.FILE, Dimension.FILE_END})


class Scope(Struct, frozen=True, array_like=True):
    """What holds for the tasks of one container, or of the host."""

    applies: bytes
    """The vector of :attr:`Dimension.CONTAINER`: the terms that ask for this container, and those that ask for none."""
    enforced: bytes
    """The terms that deny here; the others say what they would have denied."""


class HeldContainer(Struct, frozen=True):
    """One container, as the gate knows it."""

    cgroup_id: int
    cgroup_path: str
    """As ``/proc/PID/cgroup`` shows it in the tag's hierarchy; nested cgroups belong to it."""
    scope: Scope


class Table(Struct, frozen=True, array_like=True):
    """One dimension. Numbers are places in :attr:`HoldPolicy.vectors`."""

    none: int
    unread: int
    """Of a value that is not to be had."""
    entries: dict[str, int]
    """By text; a number in decimal, the names of set bits sorted and joined by ``|``."""


class HoldPolicy(Struct, frozen=True):
    """All terms, and what the host's tasks and containers not yet known get of them."""

    generation: int
    term_count: int
    vectors: tuple[bytes, ...]
    tables: dict[str, Table]
    """By the dimension's name; one that no term asks has none."""
    host: Scope
    pending: Scope
    """Of a cgroup with a container's shape that nobody has named yet."""
    containers: tuple[HeldContainer, ...] = ()
    is_test: bool = False
    """The service proves that the gate denies: what it forks itself is not let through."""


def find_events(policy: HoldPolicy) -> frozenset[str]:
    """What must be held for a policy: ``exec``, ``open``, both or nothing."""
    table = policy.tables.get(Dimension.EVENT.name)
    return frozenset(table.entries) if table else frozenset()


def pack_vector(vector: int) -> bytes:
    """A vector as it is sent."""
    return vector.to_bytes((vector.bit_length() + 7) // 8, "little")


def unpack_vector(data: bytes) -> int:
    """What :func:`pack_vector` packed."""
    return int.from_bytes(data, "little")


def pack_scope(terms: ContainerTerms) -> Scope:
    """What a policy is for one container, or for the host."""
    return Scope(pack_vector(terms.scope), pack_vector(terms.enforced))


def pack_policy(
    tables: PolicyTables,
    generation: int,
    *,
    host: ContainerTerms,
    pending: ContainerTerms,
    containers: Sequence[HeldContainer] = (),
    is_test: bool = False,
) -> HoldPolicy:
    """What the kernel would be told, as the gate takes it.

    Raises:
        ValueError: a term asks what a held event cannot answer (:mod:`monitor.rules.hold_terms`).
    """
    everything = (1 << tables.terms) - 1
    places: dict[int, int] = {}
    packed = {}
    for dimension, found in tables.vectors.items():
        vectors = (found.none, tables.unread[dimension], *found.entries.values())
        if dimension is Dimension.CONTAINER or all(vector == everything for vector in vectors):
            continue  # by scope, or no term asks
        if dimension not in DIMENSIONS:
            raise ValueError(f"tier hold cannot decide by {dimension.subject}")
        none, unread = (places.setdefault(vector, len(places)) for vector in vectors[:2])
        entries = {_write_key(key): places.setdefault(vector, len(places)) for key, vector in found.entries.items()}
        packed[dimension.name] = Table(none, unread, entries)
    return HoldPolicy(
        generation=generation,
        term_count=tables.terms,
        vectors=tuple(pack_vector(vector) for vector in places),
        tables=packed,
        host=pack_scope(host),
        pending=pack_scope(pending),
        containers=tuple(containers),
        is_test=is_test,
    )


class LoadedTable:
    """One dimension, ready for lookups."""

    def __init__(self, dimension: Dimension, table: Table, vectors: list[int]) -> None:
        self._lookup = dimension.lookup
        self._none, self._unread = vectors[table.none], vectors[table.unread]
        self._entries: dict[Key, int] = {
            _read_key(key, self._lookup): vectors[place] for key, place in table.entries.items()
        }
        self._lengths = sorted({len(key) for key in self._entries if isinstance(key, str)}, reverse=True)
        self._named = frozenset[str]().union(*(key for key in self._entries if isinstance(key, frozenset)))
        self.any = _unite([self._none, self._unread, *self._entries.values()])
        """The terms that some value satisfies."""
        self.all = _intersect([self._none, self._unread, *self._entries.values()])
        """The terms that every value satisfies."""

    def find(self, value: Key | None) -> int:
        """The vector of a value; ``None``: it is not to be had."""
        if value is None:
            return self._unread
        if isinstance(value, str):
            return self._find_text(value)
        if isinstance(value, frozenset):
            value &= self._named
        return self._entries.get(value, self._none)

    def _find_text(self, path: str) -> int:
        entries = self._entries
        text = path + PATH_END if self._lookup is Lookup.BEGINNING else PATH_END + path
        for length in self._lengths:
            part = text[:length] if self._lookup is Lookup.BEGINNING else text[max(len(text) - length, 0) :]
            if (vector := entries.get(part)) is not None:
                return vector
        return self._none


class LoadedScope(Struct, frozen=True):
    """One scope, ready."""

    cgroup_id: int
    """0: the host, or a container that nobody has named yet."""
    applies: int
    enforced: int


class EventPlan:
    """What is looked up for one kind of event. The name of its file is known; anything else has yet to be asked for."""

    def __init__(self, event: str, tables: Mapping[Dimension, LoadedTable]) -> None:
        about = tables.get(Dimension.EVENT)
        self.terms = about.find(frozenset({event})) if about else 0
        """Those about this event."""
        by_name = EXEC_FILE_DIMENSIONS if event == EXEC else OPEN_FILE_DIMENSIONS
        asked = []
        for dimension, table in tables.items():
            if event == EXEC and dimension in OPEN_FILE_DIMENSIONS:
                self.terms &= table.find("")  # an exec opens no file besides its program
            elif dimension is not Dimension.EVENT:
                asked.append((dimension, table))
        self.asked = tuple(asked)
        self.by_name = tuple(table for dimension, table in asked if dimension in by_name)
        self.by_any_name = _intersect([self.terms, *(table.all for table in self.by_name)])
        """The terms that no name of the file rules out."""
        others = [table.any for dimension, table in asked if dimension not in by_name]
        self.by_other_facts = _intersect([self.terms, *others])
        """The terms that some process fulfils."""


class LoadedPolicy:
    """A policy in force."""

    def __init__(self, policy: HoldPolicy) -> None:
        """Raises ``ValueError`` or ``IndexError`` for what :func:`pack_policy` never makes."""
        vectors = [unpack_vector(vector) for vector in policy.vectors]
        self.generation = policy.generation
        self.is_test = policy.is_test
        self.tables = {
            dimension: LoadedTable(dimension, policy.tables[dimension.name], vectors)
            for dimension in DIMENSIONS
            if dimension.name in policy.tables
        }
        self.plans = {event: EventPlan(event, self.tables) for event in (EXEC, OPEN)}
        self.host = load_scope(policy.host)
        self.pending = load_scope(policy.pending)
        self.containers = {held.cgroup_path: load_container(held) for held in policy.containers}
        scopes = (self.host, self.pending, *self.containers.values())
        self.applies_anywhere = _unite(scope.applies for scope in scopes)
        """The terms that hold for some task: host processes may enter a container's file system."""

    def add_container(self, held: HeldContainer) -> bool:
        """Know a container. Whether terms may now match what none matched before."""
        scope = load_container(held)
        self.containers[held.cgroup_path] = scope
        before, self.applies_anywhere = self.applies_anywhere, self.applies_anywhere | scope.applies
        return self.applies_anywhere != before


def load_scope(scope: Scope, cgroup_id: int = 0) -> LoadedScope:
    """One scope, ready."""
    return LoadedScope(cgroup_id, unpack_vector(scope.applies), unpack_vector(scope.enforced))


def load_container(held: HeldContainer) -> LoadedScope:
    """A container's scope, ready."""
    return load_scope(held.scope, held.cgroup_id)


def _unite(vectors: Iterable[int]) -> int:
    united = 0
    for vector in vectors:
        united |= vector
    return united


def _intersect(vectors: Iterable[int]) -> int:
    """Of at least one vector."""
    return functools.reduce(operator.and_, vectors)


def _write_key(key: Key) -> str:
    return "|".join(sorted(key)) if isinstance(key, frozenset) else str(key)


def _read_key(text: str, lookup: Lookup) -> Key:
    match lookup:
        case Lookup.NUMBER:
            return int(text)
        case Lookup.BITS:
            return frozenset(text.split("|")) if text else frozenset()
        case _:
            return text
