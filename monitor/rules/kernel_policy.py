"""Number the terms of all rules and make, for each lookup of the kernel, the vector of every value that rules name.

Pure: rules in, integers and texts out. How they become maps is :mod:`monitor.bpf`.
What does not fit is refused as a whole, so that a policy in force is always one
that was meant.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Final

from msgspec import Struct

from monitor.model.argument_automaton import ArgumentAutomaton
from monitor.model.kernel_hooks import (
    ABOVE_EVENTS,
    CONNECT,
    DELETE,
    EXEC,
    MAP,
    MODE,
    NAME_EVENTS,
    OPEN,
    OWNER,
    PTRACE,
    RENAME,
)
from monitor.model.kernel_policy import PATH_END, TERMS_MAX, Dimension, Key, KnownVectors, Lookup, PolicyTables, Vectors
from monitor.model.rule import Rule
from monitor.rules.argument_automaton import build_argument_automaton, count_states
from monitor.rules.automaton_clauses import Conjunction
from monitor.rules.automaton_graph import TooLargeError
from monitor.rules.categories import CATEGORIES
from monitor.rules.ir import AnyNode, Flag, Number, Text
from monitor.rules.kernel_terms import (
    NotDecidable,
    Term,
    build_terms,
    find_argument_conjunctions,
    find_folders_above,
    holds,
    keys_of,
    tests_of,
)
from monitor.rules.known_paths import find_known_paths
from monitor.rules.trees import all_of

UPPER_UNKNOWN: Final = "upper_unknown"
"""A bit of :attr:`Dimension.FLAGS`: this kernel cannot tell, so that the flag is neither true nor false."""
BITS_MAX: Final = 8
"""Of one dimension, named by all rules together: the kernel's table has an entry for each combination."""
RULES_NAMED: Final = 3
"""When a policy does not fit: the rules that take most of it."""
STATES_COUNTED: Final = 2_000
"""Of one of them; more is said as this many."""
_WRITES: Final = Text("file.access", "exact", ("create", "write"))
_EVENTS: Final = {
    "process_creation": (EXEC,),
    "file_access": (OPEN,),
    "file_event": (OPEN, *NAME_EVENTS),
    "file_rename": (RENAME,),
    "file_delete": (DELETE,),
    "file_change": (MODE, OWNER),
    "process_access": (PTRACE,),
    "network_connection": (CONNECT,),
}
"""By category: what a hook that can say no is called for, the usual one first. A rule about writing a file is one about
all that changes, replaces or removes it."""


_KNOWN_OF_OPENS: Final = frozenset({Dimension.ACCESS, Dimension.SYSTEM_FILE})
_PROGRAM_DIMENSIONS: Final = frozenset({Dimension.EXECUTABLE, Dimension.EXECUTABLE_END, Dimension.FLAGS})
_SCRIPT: Final = frozenset({Dimension.SCRIPT, Dimension.SCRIPT_END})
_UNKNOWN_OF_MAPPINGS: Final = _SCRIPT | {Dimension.ARGUMENTS, Dimension.CAPABILITIES}
_LIBRARIES: Final = (
    "/lib/libc.so.6",
    "/lib64/libc.so.6",
    "/usr/lib/libc.so.6",
    "/usr/lib64/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/local/lib/libx.so",
)
"""Some that programs need."""


class PolicyError(ValueError):
    """The rules do not fit the kernel's policy; the one in force stays."""


class PolicyTerm(Struct, frozen=True):
    """One bit of the policy."""

    rule: Rule
    event: str
    """What it is about, a name of :mod:`monitor.model.kernel_hooks`,"""
    asks: Term
    also: tuple[str, ...] = ()
    """and what else."""
    is_above: bool = False
    """Of another term: about the folders that its file lies in."""

    @property
    def events(self) -> tuple[str, ...]:
        """All that it is about."""
        return (self.event, *self.also)


class KernelPolicy(Struct, frozen=True):
    """The terms of all rules, by number, and the vectors of each dimension."""

    terms: tuple[PolicyTerm, ...]
    vectors: dict[Dimension, Vectors]
    arguments: ArgumentAutomaton | None = None
    """Finds the vector of :attr:`Dimension.ARGUMENTS`; None when no term asks for any."""
    known: dict[str, KnownVectors] = {}
    """See :mod:`monitor.rules.known_paths`."""

    @property
    def everything(self) -> int:
        """The vector with all terms."""
        return (1 << len(self.terms)) - 1

    @property
    def tables(self) -> PolicyTables:
        """What the kernel is told of it."""
        unread = {dimension: _Asking(self.terms, dimension).unread() for dimension in Dimension}
        return PolicyTables(len(self.terms), self.vectors, unread, self.arguments, self.known)

    def select(self, dimension: Dimension, is_true: Callable[[AnyNode], bool]) -> int:
        """The terms that a value satisfies of which ``is_true`` answers every test of this dimension.

        For containers, whose values are not known beforehand.
        """
        return _Asking(self.terms, dimension).select(is_true)


def build_rule_terms(rule: Rule, category: str, condition: AnyNode) -> tuple[PolicyTerm, ...]:
    """The terms of one rule. Raises :class:`NotDecidable`."""
    events = _EVENTS.get(category)
    if events is None:
        known = CATEGORIES.get(category)
        raise NotDecidable(f"{known.description if known else category}: there is nothing left to deny")
    terms = build_terms(condition)
    if events[0] not in {EXEC, OPEN} and any(not _KNOWN_OF_OPENS.isdisjoint(asked) for asked in terms):
        raise NotDecidable("it asks for what the kernel knows of opens alone")
    if events != (EXEC,) and any(not _SCRIPT.isdisjoint(asked) for asked in terms):
        raise NotDecidable("which script a program runs is known to the kernel only when it starts")
    if CATEGORIES[category].writes_only:
        return tuple(term for asked in terms for term in _build_write_terms(rule, asked, events[1:]))
    if events == (EXEC,):
        return tuple(PolicyTerm(rule, EXEC, asked, (MAP,) if _is_about_mappings(asked) else ()) for asked in terms)
    return tuple(PolicyTerm(rule, events[0], asked, events[1:]) for asked in terms)


def _is_about_mappings(asked: Term) -> bool:
    """Whether a file that must not be executed must not be mapped to be executed either.

    Not where a program that may run could not load its libraries then, or be loaded with capabilities of its own; and
    arguments are not known of what is mapped.
    """
    what = {dimension: test for dimension, test in asked.items() if dimension in _PROGRAM_DIMENSIONS}
    if not what or not _UNKNOWN_OF_MAPPINGS.isdisjoint(asked):
        return False
    return not any(
        all(holds(test, partial(_is_true_of_library, path)) for test in what.values()) for path in _LIBRARIES
    )


def _is_true_of_library(path: str, test: AnyNode) -> bool:
    if isinstance(test, Flag):
        return _is_set(frozenset(), test)
    whole = f"{PATH_END}{path}{PATH_END}"
    return any(whole.startswith(PATH_END + key) or whole.endswith(key + PATH_END) for key in keys_of(test))


def _build_write_terms(rule: Rule, asked: Term, also: tuple[str, ...]) -> Iterator[PolicyTerm]:
    """A term about all that changes a file; who asks for what only opens have asks for opens alone."""
    if not _KNOWN_OF_OPENS.isdisjoint(asked):
        wanted = [asked[Dimension.ACCESS], _WRITES] if Dimension.ACCESS in asked else [_WRITES]
        yield PolicyTerm(rule, OPEN, asked | {Dimension.ACCESS: all_of(wanted)})
        return
    yield PolicyTerm(rule, OPEN, asked | {Dimension.ACCESS: _WRITES}, also)
    folders = find_folders_above(asked)
    if folders:
        about: Term = {dimension: test for dimension, test in asked.items() if dimension is not Dimension.FILE_END}
        above = about | {Dimension.FILE: Text("file.path", "exact", folders)}
        yield PolicyTerm(rule, ABOVE_EVENTS[0], above, ABOVE_EVENTS[1:], is_above=True)


def build_policy(terms: Sequence[PolicyTerm]) -> KernelPolicy:
    """Pack terms.

    Raises:
        PolicyError: more terms than a vector has bits, more named bits than a table has room for, or more
            texts and expressions over arguments than the automaton has.
    """
    if len(terms) > TERMS_MAX:
        raise PolicyError(
            f"the deny rules take {len(terms)} terms of the kernel's policy, which has room for {TERMS_MAX}: "
            "disable rules, or merge those that differ in a value only"
        )
    vectors = {dimension: _pack(terms, dimension) for dimension in Dimension}
    known = find_known_paths([{} if term.is_above else term.asks for term in terms])
    return KernelPolicy(tuple(terms), vectors, _build_arguments(terms), known)


def _build_arguments(terms: Sequence[PolicyTerm]) -> ArgumentAutomaton | None:
    conjunctions: dict[int, Conjunction] = {}
    for number, term in enumerate(terms):
        expression = term.asks.get(Dimension.ARGUMENTS)
        if expression is not None:
            (conjunctions[number],) = find_argument_conjunctions(expression)  # terms were split so
    if not conjunctions:
        return None
    try:
        return build_argument_automaton(conjunctions, everything=(1 << len(terms)) - 1)
    except TooLargeError as error:
        raise PolicyError(
            f"the deny rules ask more of arguments than the kernel's automaton can tell ({error}); of the most states "
            f"are {_describe_largest(terms, conjunctions)}: disable rules, or look for less "
            "(plain texts and whole arguments take least, repetitions and alternatives most)"
        ) from error


def _describe_largest(terms: Sequence[PolicyTerm], conjunctions: Mapping[int, Conjunction]) -> str:
    """The rules that take most by themselves."""
    of_rule: dict[str, list[Conjunction]] = {}
    for number, conjunction in conjunctions.items():
        of_rule.setdefault(terms[number].rule.name, []).append(conjunction)
    sizes = {name: count_states(asked, STATES_COUNTED) for name, asked in of_rule.items()}
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:RULES_NAMED]
    return ", ".join(f"{name} ({sizes[name]:,})" for name in largest)


class _Asking:
    """The terms that ask one dimension. A vector is that of an unknown value, but for the terms that name the value."""

    def __init__(self, terms: Sequence[PolicyTerm], dimension: Dimension) -> None:
        self._terms = terms
        self._rest = 0
        self._expressions: dict[int, AnyNode] = {}
        for number, term in enumerate(terms):
            expression = term.asks.get(dimension)
            if expression is None:
                self._rest |= 1 << number
            else:
                self._expressions[number] = expression

    def tests(self) -> Iterator[tuple[int, AnyNode]]:
        """Every test, with the number of its term."""
        for number, expression in self._expressions.items():
            for test in tests_of(expression):
                yield number, test

    def select(self, is_true: Callable[[AnyNode], bool]) -> int:
        """The vector of a value of which ``is_true`` answers every test."""
        return self._rest | self._bits(self._expressions, is_true)

    def unread(self) -> int:
        """The vector of a value that is not to be had."""
        return self._rest | sum(1 << number for number in self._expressions if self._denies_unread(number))

    def change(self, vector: int, numbers: Iterable[int], is_true: Callable[[AnyNode], bool]) -> int:
        """``vector`` with these terms asked anew."""
        for number in numbers:
            vector &= ~(1 << number)
        return vector | self._bits(numbers, is_true)

    def _denies_unread(self, number: int) -> bool:
        return self._terms[number].rule.on_truncated == "deny"

    def _bits(self, numbers: Iterable[int], is_true: Callable[[AnyNode], bool]) -> int:
        return sum(1 << number for number in numbers if holds(self._expressions[number], is_true))


def _pack(terms: Sequence[PolicyTerm], dimension: Dimension) -> Vectors:
    asking = _Asking(terms, dimension)
    match dimension.lookup:
        case Lookup.BEGINNING | Lookup.END:
            return _pack_texts(asking, dimension.lookup)
        case Lookup.NUMBER:
            return _pack_numbers(asking)
        case Lookup.BITS if dimension is Dimension.EVENT:
            return _pack_events(terms)
        case Lookup.BITS:
            return _pack_bits(asking, dimension)
        case _:
            return Vectors(none=asking.select(lambda _: False), entries={})


def _pack_texts(asking: _Asking, lookup: Lookup) -> Vectors:
    """An entry's vector holds what its shorter entries say too: the kernel finds the longest alone."""
    named: dict[str, set[int]] = {}
    for number, test in asking.tests():
        for key in keys_of(test):
            named.setdefault(key, set()).add(number)
    none, lengths = asking.select(lambda _: False), sorted({len(key) for key in named})
    entries: dict[Key, int] = {}
    for key in sorted(named):
        implied = {part for part in _parts(key, lookup, lengths) if part in named}
        numbers = set().union(*(named[part] for part in implied))
        entries[key] = asking.change(none, numbers, partial(_has_key, implied))
    return Vectors(none, entries)


def _parts(key: str, lookup: Lookup, lengths: Sequence[int]) -> list[str]:
    sizes = [length for length in lengths if length <= len(key)]
    return [key[:size] if lookup is Lookup.BEGINNING else key[len(key) - size :] for size in sizes]


def _has_key(keys: set[str], test: AnyNode) -> bool:
    return not keys.isdisjoint(keys_of(test))


def _pack_numbers(asking: _Asking) -> Vectors:
    named: dict[int, set[int]] = {}
    for number, test in asking.tests():
        if isinstance(test, Number):
            named.setdefault(int(test.value), set()).add(number)
    none = asking.select(partial(_is_number, None))
    return Vectors(
        none, {value: asking.change(none, numbers, partial(_is_number, value)) for value, numbers in named.items()}
    )


def _pack_events(terms: Sequence[PolicyTerm]) -> Vectors:
    """There is always exactly one event."""
    events: dict[Key, int] = {}
    for number, term in enumerate(terms):
        for event in term.events:
            key = frozenset({event})
            events[key] = events.get(key, 0) | 1 << number
    return Vectors(0, events)


def _pack_bits(asking: _Asking, dimension: Dimension) -> Vectors:
    names = sorted({name for _, test in asking.tests() for name in _bit_names(test)})
    if len(names) > BITS_MAX:
        raise PolicyError(
            f"the deny rules ask for {len(names)} different {dimension.subject}, the kernel's policy has room for "
            f"{BITS_MAX}: {', '.join(names)}"
        )
    combined = [frozenset(chosen) for size in range(len(names) + 1) for chosen in combinations(names, size)]
    entries: dict[Key, int] = {bits: asking.select(partial(_is_set, bits)) for bits in combined}
    return Vectors(entries[frozenset()], entries)


def _bit_names(test: AnyNode) -> tuple[str, ...]:
    """The bits that one test looks at."""
    match test:
        case Text(values=values):
            return values
        case Flag("file.created"):
            return ("create",)
        case Flag(field):
            name = field.rpartition(".")[2]
            return (name, UPPER_UNKNOWN) if name == "upper_layer" else (name,)
    return ()


def _is_set(bits: frozenset[str], test: AnyNode) -> bool:
    match test:
        case Text(values=values):
            return not bits.isdisjoint(values)
        case Flag(value=wanted):
            name = _bit_names(test)[0]
            if name == "upper_layer" and UPPER_UNKNOWN in bits:
                return False
            return (name in bits) is wanted
    return False


def _is_number(value: int | None, test: AnyNode) -> bool:
    """``None``: a number that no rule names."""
    match test:
        case Number(operator="eq", value=wanted):
            return value == wanted
        case Number(operator="neq", value=wanted):
            return value != wanted
    return False
