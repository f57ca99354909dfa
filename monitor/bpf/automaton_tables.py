"""Write the automaton over argv into the half of the kernel's policy that is not in force."""

import struct
from array import array
from typing import Final, Protocol

from monitor.model.argument_automaton import NO_OWNER, ArgumentAutomaton, Clause, Marking
from monitor.wire import _layout as layout

_WORD: Final = (1 << 64) - 1
_WORDS: Final = layout.POLICY_MARK_WORDS
_MARKING: Final = struct.Struct(f"<{_WORDS * layout.POLICY_MARKING_PARTS}Q")
_CLAUSE: Final = struct.Struct(f"<{_WORDS}Q")
_HEAD: Final = struct.Struct(f"<{layout.POLICY_AUTOMATON_WORDS}I")


class Variables(Protocol):
    """What this needs of the loaded object."""

    def variable_view(self, name: str) -> memoryview:
        """Memory of a global variable, shared with the programs."""


def write_automaton(variables: Variables, automaton: ArgumentAutomaton, half: int) -> None:
    """Write all but the vectors of its clauses."""
    cells = array("I", (owner << 16 | held for owner, held in zip(automaton.owners, automaton.nexts, strict=True)))
    cells.extend([NO_OWNER << 16] * (layout.POLICY_CELLS - len(cells)))
    _write(variables, "policy_cells", half, cells.tobytes())
    _write(variables, "policy_defaults", half, array("H", automaton.defaults).tobytes())
    _write(variables, "policy_classes", half, automaton.classes)
    _write(variables, "policy_markings", half, b"".join(map(_pack_marking, automaton.markings)))
    _write(variables, "policy_clause_marks", half, b"".join(map(_pack_clause, automaton.clauses)))
    head = _HEAD.pack(automaton.start, automaton.marking_from, len(automaton.clauses), 0)
    _write(variables, "policy_automaton", half, head)


def _write(variables: Variables, name: str, half: int, data: bytes) -> None:
    """The rest of a table is not read: nothing leads there."""
    view = variables.variable_view(name)
    room = len(view) // 2
    view[half * room : half * room + len(data)] = data


def _pack_marking(marking: Marking) -> bytes:
    parts = {
        layout.POLICY_MARKING_CLEARS: marking.clears,
        layout.POLICY_MARKING_SETS: marking.sets,
        layout.POLICY_MARKING_FOLLOWS: marking.follows,
    }
    return _MARKING.pack(*(word for part in sorted(parts) for word in _words(parts[part])))


def _pack_clause(clause: Clause) -> bytes:
    return _CLAUSE.pack(*_words(clause.marks))


def _words(marks: int) -> list[int]:
    return [marks >> 64 * number & _WORD for number in range(_WORDS)]
