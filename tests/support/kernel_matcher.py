"""What the kernel does with a packed policy, in Python: one lookup for each dimension, and an AND.

Follows the lookups alone (longest entry, table, number, automaton), never the conditions, but for the dimension that is
asked value by value: the container's, which user space decides.
"""

from collections.abc import Sequence

from monitor.model.argument_automaton import END, ENTER, MARK_WORD_BITS, MARKS_MAX, USUAL, ArgumentAutomaton, Marking
from monitor.model.events import Event, FileOpen, NetworkConnection, ProcessAccess
from monitor.model.kernel_hooks import CONNECT, PTRACE
from monitor.model.kernel_policy import PATH_END, Dimension, Key, Lookup, Vectors
from monitor.model.process import Context
from monitor.rules.field import fold_ascii
from monitor.rules.fields import find_field
from monitor.rules.kernel_policy import EXEC, OPEN, UPPER_UNKNOWN, KernelPolicy
from monitor.rules.kernel_terms import FLAG_NAMES, RUNTIME_INIT
from tests.support.rule_trees import walk

_TEXTS = {
    "executable": "process.executable",
    "parent's executable": "process.parent.executable",
    "file": "file.path",
    "script": "process.script",
    "kernel's own file": "file.system_path",
}
_FILES = {ProcessAccess: "target.process.executable", NetworkConnection: "destination.address"}
"""What the file is of other events,"""
_EVENTS: dict[type[Event], str] = {FileOpen: OPEN, ProcessAccess: PTRACE, NetworkConnection: CONNECT}
"""and which they are."""


def match(policy: KernelPolicy, context: Context) -> int:
    """The terms that an event fulfils."""
    vector = policy.everything
    for dimension, vectors in policy.vectors.items():
        vector &= _look_up(policy, dimension, vectors, context)
    return vector


def _look_up(policy: KernelPolicy, dimension: Dimension, vectors: Vectors, context: Context) -> int:
    match dimension.lookup:
        case Lookup.CONTAINER:
            return policy.select(dimension, lambda test: walk(test, context))
        case Lookup.ARGUMENTS:
            assert context.image is not None
            return match_arguments(policy, lie_in_memory([text.encode() for text in context.image.exec.args]))
        case Lookup.NUMBER:
            number = _value("user.id", context)
            return vectors.entries.get(number, vectors.none) if isinstance(number, int) else vectors.none
        case Lookup.BITS:
            named = frozenset[str]().union(*(key for key in vectors.entries if isinstance(key, frozenset)))
            return vectors.entries.get(_bits(dimension, context) & named, vectors.none)
        case lookup:
            field = _TEXTS[dimension.subject]
            if field == "file.path":
                field = _FILES.get(type(context.event), field)
            text = fold_ascii(str(_value(field, context) or ""))
            text = text + PATH_END if lookup is Lookup.BEGINNING else PATH_END + text
            return max(
                ((len(key), vector) for key, vector in _texts(vectors) if _fits(lookup, text, key)),
                default=(0, vectors.none),
            )[1]


def _texts(vectors: Vectors) -> list[tuple[str, int]]:
    return [(key, vector) for key, vector in vectors.entries.items() if isinstance(key, str)]


def _fits(lookup: Lookup, text: str, key: str) -> bool:
    return text.startswith(key) if lookup is Lookup.BEGINNING else text.endswith(key)


def _bits(dimension: Dimension, context: Context) -> frozenset[str]:
    match dimension:
        case Dimension.EVENT:
            return frozenset({_EVENTS.get(type(context.event), EXEC)})
        case Dimension.ACCESS:
            return _names("file.access", context)
        case Dimension.CAPABILITIES:
            return _names("process.thread.capabilities.effective", context)
    is_set: dict[Key, object] = {name: _value(f"process.flags.{name}", context) for name in FLAG_NAMES}
    is_set[RUNTIME_INIT] = _value("container.runtime_init", context)
    is_set[UPPER_UNKNOWN] = is_set["upper_layer"] is None
    return frozenset(str(name) for name, value in is_set.items() if value)


def _names(field: str, context: Context) -> frozenset[str]:
    found = _value(field, context)
    return frozenset(map(str.lower, found)) if isinstance(found, tuple) else frozenset()


def _value(name: str, context: Context) -> object:
    field = find_field(name)
    assert field is not None, name
    return field.get(context)


def lie_in_memory(argv: Sequence[bytes]) -> bytes:
    """argv as it lies in memory; a program without any gets an empty argument (kernel commit dcd46d897adb)."""
    return b"".join(argument + b"\0" for argument in argv or [b""])


def match_arguments(policy: KernelPolicy, memory: bytes) -> int:
    """The terms that argv satisfies."""
    if policy.arguments is None:
        return policy.everything
    marks = find_marks(policy.arguments, memory)
    vector = policy.everything
    for clause in policy.arguments.clauses:
        vector &= clause.some if marks & clause.marks else clause.none
    return vector


def find_marks(automaton: ArgumentAutomaton, memory: bytes) -> int:
    """The marks at the end of argv: one step for each byte, 16-bit states, marks in words of 64 bits."""
    state, marks = automaton.start, 0
    for byte in memory[:-1]:
        state = _step(automaton, state, automaton.classes[byte])
        if state >= automaton.marking_from:
            marks = _mark(automaton.markings[_step(automaton, state, ENTER)], marks)
    return _mark(automaton.markings[_step(automaton, state, END)], marks)


def _step(automaton: ArgumentAutomaton, state: int, column: int) -> int:
    own = _own(automaton, state, column)
    return automaton.defaults[(_own(automaton, state, USUAL) or 0) + column] if own is None else own


def _own(automaton: ArgumentAutomaton, state: int, column: int) -> int | None:
    cell = state + column
    return automaton.nexts[cell] if automaton.owners[cell] == state else None


def _mark(marking: Marking, marks: int) -> int:
    whole_word, changed = (1 << MARK_WORD_BITS) - 1, 0
    for first in range(0, MARKS_MAX, MARK_WORD_BITS):
        clears, sets, follows, old = (
            part >> first & whole_word for part in (marking.clears, marking.sets, marking.follows, marks)
        )
        changed |= ((old & ~clears) | sets | (follows & (old << 1))) << first
    return changed
