"""Pack a kernel policy into numbers: which vectors there are, and what leads to which.

Pure: tables in, :class:`PackedPolicy` or :class:`PolicyDoesNotFit` out. Writing it is
:mod:`monitor.bpf.kernel_policy`; how the kernel reads it is
``ebpf/include/policy_match.bpf.h``.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct, structs

from monitor.model import kernel_hooks
from monitor.model.argument_automaton import ArgumentAutomaton
from monitor.model.capabilities import CAPABILITY_NAMES
from monitor.model.kernel_policy import ContainerTerms, Dimension, Lookup, PolicyTables, Vectors
from monitor.wire import _layout as layout

HALF_VECTORS: Final = (layout.POLICY_VECTORS - 1) // 2
"""The first of all is neither half's: it has every bit."""
HALF_TEXTS: Final = layout.POLICY_TEXTS // 2
HALF_NUMBERS: Final = layout.POLICY_NUMBERS // 2

NUMBERS: Final = {
    Dimension.EXECUTABLE: layout.POLICY_EXECUTABLE,
    Dimension.EXECUTABLE_END: layout.POLICY_EXECUTABLE_END,
    Dimension.PARENT: layout.POLICY_PARENT,
    Dimension.PARENT_END: layout.POLICY_PARENT_END,
    Dimension.FILE: layout.POLICY_FILE,
    Dimension.FILE_END: layout.POLICY_FILE_END,
    Dimension.SCRIPT: layout.POLICY_SCRIPT,
    Dimension.SCRIPT_END: layout.POLICY_SCRIPT_END,
    Dimension.ACCESS: layout.POLICY_ACCESS,
    Dimension.FLAGS: layout.POLICY_FLAGS,
    Dimension.CAPABILITIES: layout.POLICY_CAPABILITIES,
    Dimension.USER: layout.POLICY_USER,
    Dimension.CONTAINER: layout.POLICY_CONTAINER,
    Dimension.ARGUMENTS: layout.POLICY_ARGUMENTS,
    Dimension.SYSTEM_FILE: layout.POLICY_SYSTEM_FILE,
    Dimension.EVENT: layout.POLICY_EVENT,
}
"""The kernel's number of each lookup."""
_EVENTS: Final = {
    kernel_hooks.EXEC: layout.POLICY_EXEC,
    kernel_hooks.OPEN: layout.POLICY_OPEN,
    kernel_hooks.CREATE: layout.POLICY_CREATE,
    kernel_hooks.RENAME: layout.POLICY_RENAME,
    kernel_hooks.DELETE: layout.POLICY_DELETE,
    kernel_hooks.LINK: layout.POLICY_LINK,
    kernel_hooks.LINKED: layout.POLICY_LINKED,
    kernel_hooks.SYMLINK: layout.POLICY_SYMLINK,
    kernel_hooks.TRUNCATE: layout.POLICY_TRUNCATE,
    kernel_hooks.MODE: layout.POLICY_MODE,
    kernel_hooks.OWNER: layout.POLICY_OWNER,
    kernel_hooks.MAP: layout.POLICY_MAP,
    kernel_hooks.PTRACE: layout.POLICY_PTRACE,
    kernel_hooks.CONNECT: layout.POLICY_CONNECT,
    kernel_hooks.ENDED: layout.POLICY_ENDED,
}
_MASKS: Final[dict[Dimension, dict[str, int]]] = {
    Dimension.ACCESS: {
        "read": layout.OPEN_READ,
        "write": layout.OPEN_WRITE | layout.OPEN_CREATED,  # what an open makes it writes, as in the events of opens
        "create": layout.OPEN_CREATED,
    },
    Dimension.FLAGS: {
        "memfd": layout.FILE_MEMFD,
        "deleted": layout.FILE_DELETED,
        "tmpfs": layout.FILE_TMPFS,
        "other_filesystem": layout.FILE_OTHER_FILESYSTEM,
        "upper_layer": layout.FILE_UPPER_LAYER,
        "upper_unknown": layout.FILE_UPPER_UNKNOWN,
        "32bit": layout.POLICY_FLAG_32BIT,
        "runtime_init": layout.POLICY_FLAG_RUNTIME_INIT,
    },
    Dimension.CAPABILITIES: {name.lower(): 1 << bit for bit, name in enumerate(CAPABILITY_NAMES)},
}
_TEXT_BYTES_MAX: Final = layout.POLICY_KEY_BYTES - 1


class PolicyDoesNotFit(ValueError):
    """The kernel's tables are too small for this policy as a whole; the one in force stays."""


class Bits(Struct, frozen=True):
    """One dimension of bits: the masks that are named, and the vector of each combination of them."""

    masks: tuple[int, ...]
    vectors: tuple[int, ...]


class PackedPolicy(Struct, frozen=True):
    """Every vector below is a place in :attr:`vectors`."""

    vectors: tuple[int, ...]
    asked: int
    """Bit N: dimension N is asked by some term."""
    events: dict[int, int]
    """By the kernel's number of the event: the terms about it."""
    unnamed: dict[int, int]
    unread: dict[int, int]
    texts: dict[tuple[int, bytes], int]
    """(dimension, key) -> vector."""
    numbers: dict[tuple[int, int], int]
    """(dimension, value) -> vector."""
    bits: dict[int, Bits]
    containers: dict[int, tuple[int, int]]
    """Slot -> scope, enforced."""
    arguments: ArgumentAutomaton | None
    clauses: tuple[tuple[int, int], ...]
    """Of the automaton: the vector when one of its marks is there, and when none is."""


def pack(tables: PolicyTables, containers: Mapping[int, ContainerTerms]) -> PackedPolicy:
    """Pack a policy, with what it is for the containers that there are now.

    Raises:
        PolicyDoesNotFit: says what there is too much of.
    """
    places: dict[int, int] = {}
    everything = (1 << tables.terms) - 1
    clauses = () if tables.arguments is None else tables.arguments.clauses

    def place(vector: int) -> int:
        return places.setdefault(vector, len(places))

    lookups = {NUMBERS[dimension]: vectors for dimension, vectors in tables.vectors.items()}
    packed = PackedPolicy(
        asked=sum(1 << NUMBERS[each] for each in Dimension if _is_asked(tables, each, everything)),
        events={
            _EVENTS[name]: place(vector)
            for key, vector in tables.vectors[Dimension.EVENT].entries.items()
            if isinstance(key, frozenset)
            for name in key
        },
        unnamed={number: place(vectors.none) for number, vectors in lookups.items()},
        unread={NUMBERS[dimension]: place(vector) for dimension, vector in tables.unread.items()},
        texts={
            (NUMBERS[dimension], _text_key(text, dimension)): place(vector)
            for dimension in Dimension
            if dimension.lookup in (Lookup.BEGINNING, Lookup.END)
            for text, vector in tables.vectors[dimension].entries.items()
        },
        numbers={
            (NUMBERS[dimension], value): place(vector)
            for dimension in Dimension
            if dimension.lookup is Lookup.NUMBER
            for value, vector in tables.vectors[dimension].entries.items()
            if isinstance(value, int)
        },
        bits={NUMBERS[each]: _pack_bits(tables.vectors[each], _MASKS[each], place) for each in _MASKS},
        containers={slot: (place(terms.scope), place(terms.enforced)) for slot, terms in containers.items()},
        arguments=tables.arguments,
        clauses=tuple((place(clause.some), place(clause.none)) for clause in clauses),
        vectors=(),
    )
    _check("different vectors", len(places), HALF_VECTORS)
    _check("paths, prefixes and suffixes", len(packed.texts), HALF_TEXTS)
    _check("user ids", len(packed.numbers), HALF_NUMBERS)
    return structs.replace(packed, vectors=tuple(places))


def _is_asked(tables: PolicyTables, dimension: Dimension, everything: int) -> bool:
    """Whether any value makes a difference. The container and the event are always looked up."""
    vectors = tables.vectors[dimension]
    return any(vector != everything for vector in (vectors.none, tables.unread[dimension], *vectors.entries.values()))


def _text_key(text: object, dimension: Dimension) -> bytes:
    key = str(text).encode("utf-8", "surrogatepass")
    if len(key) > _TEXT_BYTES_MAX:
        raise PolicyDoesNotFit(f"{str(text)[:40]!r}... is longer than the {_TEXT_BYTES_MAX} bytes of a kernel key")
    return key[::-1] if dimension.lookup is Lookup.END else key


def _pack_bits(vectors: Vectors, masks: Mapping[str, int], place: Callable[[int], int]) -> Bits:
    names = sorted({name for key in vectors.entries if isinstance(key, frozenset) for name in key})
    combinations = []
    for number in range(1 << len(names)):
        is_set = frozenset(name for bit, name in enumerate(names) if number >> bit & 1)
        combinations.append(place(vectors.entries.get(is_set, vectors.none)))
    return Bits(tuple(masks.get(name, 0) for name in names), tuple(combinations))  # 0: a bit that no value has


def _check(what: str, count: int, room: int) -> None:
    if count > room:
        raise PolicyDoesNotFit(
            f"the deny rules make {count} {what}, the kernel's policy has room for {room}: "
            "disable rules, or merge those that differ in a value only"
        )
