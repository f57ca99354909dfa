"""Build the one automaton that answers every test of arguments in a policy.

Tests become trees (:mod:`monitor.rules.automaton_tests`), these are split at their
gaps (``automaton_chains``), looked for together (``automaton_graph``,
``automaton_states``), made small (``automaton_minimal``) and laid out
(``automaton_packing``). What comes out is :mod:`monitor.model.argument_automaton`.
"""

from collections.abc import Iterable, Mapping

from monitor.model.argument_automaton import (
    CLAUSES_MAX,
    COLUMNS_MAX,
    FIRST_BYTE_COLUMN,
    MARKINGS_MAX,
    MARKS_MAX,
    ArgumentAutomaton,
    Clause,
    Marking,
)
from monitor.rules.automaton_chains import Plan, split_chains
from monitor.rules.automaton_clauses import Conjunction, Tests
from monitor.rules.automaton_graph import TooLargeError
from monitor.rules.automaton_minimal import Table, reduce_table
from monitor.rules.automaton_packing import NoRoomError, Packed, pack
from monitor.rules.automaton_states import build_states
from monitor.rules.automaton_tests import patterns_of


def build_argument_automaton(conjunctions: Mapping[int, Conjunction], everything: int) -> ArgumentAutomaton:
    """The automaton of what these terms ask of arguments.

    Args:
        conjunctions: by number of the term.
        everything: the vector with all terms, those included that ask nothing of arguments.

    Raises:
        TooLargeError: it needs more states, cells, marks or clauses than the kernel has.
        UnsupportedError: a test that :func:`~monitor.rules.automaton_tests.check_test` refuses.
    """
    plan = Plan()
    clauses = _build_clauses(plan, conjunctions, everything)
    if plan.marks > MARKS_MAX:
        raise TooLargeError(f"{plan.marks:,} different texts and parts of texts, of at most {MARKS_MAX}")
    if len(clauses) > CLAUSES_MAX:
        raise TooLargeError(f"{len(clauses):,} different conditions, of at most {CLAUSES_MAX}")
    table, markings = _build_table(plan)
    packed = _pack(table)
    return ArgumentAutomaton(
        classes=packed.classes,
        defaults=packed.defaults,
        owners=packed.owners,
        nexts=packed.nexts,
        start=packed.start,
        marking_from=packed.marking_from,
        states=len(table.rows),
        markings=markings,
        clauses=clauses,
    )


def count_states(conjunctions: Iterable[Conjunction], states_max: int) -> int:
    """How many states some terms need by themselves, before equal ones are joined; at most this many are counted."""
    plan = Plan()
    for conjunction in conjunctions:
        for tests in (*conjunction.some, conjunction.none):
            _add_tests(plan, tests)
    try:
        return len(build_states(plan.patterns_with_events(), states_max).rows)
    except TooLargeError:
        return states_max


def _build_clauses(plan: Plan, conjunctions: Mapping[int, Conjunction], everything: int) -> tuple[Clause, ...]:
    wanting: dict[Tests, int] = {}
    refusing: dict[Tests, int] = {}
    for term, conjunction in conjunctions.items():
        for tests in map(frozenset, conjunction.in_order()):
            wanting[tests] = wanting.get(tests, 0) | 1 << term
        if conjunction.none:
            refusing[conjunction.none] = refusing.get(conjunction.none, 0) | 1 << term
    return tuple(
        Clause(_add_tests(plan, tests), everything & ~refusing.get(tests, 0), everything & ~wanting.get(tests, 0))
        for tests in {**wanting, **refusing}
    )


def _add_tests(plan: Plan, tests: Tests) -> int:
    """The marks of which one is there when one of the tests is fulfilled."""
    marks = own = 0
    for view, tree in [pattern for test in sorted(tests, key=repr) for pattern in patterns_of(test)]:
        for chain in split_chains(view, tree):
            if chain.gaps:
                marks |= plan.add_chain(view, chain)
            else:
                own = own or plan.add_mark()
                plan.add_part(view, chain.parts[0], own)
    return marks | own


def _build_table(plan: Plan) -> tuple[Table, tuple[Marking, ...]]:
    states = build_states(plan.patterns_with_events())
    numbers: dict[Marking, int] = {Marking(): 0}
    by_events: dict[frozenset[int], int] = {}

    def number(events: frozenset[int]) -> int:
        if events not in by_events:
            by_events[events] = numbers.setdefault(plan.actions.marking(events), len(numbers))
        return by_events[events]

    table = reduce_table(
        Table(states.alphabet.classes, states.rows, [*map(number, states.enters)], [*map(number, states.ends)])
    )
    if len(numbers) > MARKINGS_MAX:
        raise TooLargeError(
            f"{len(numbers):,} different combinations of what is found at once, of at most {MARKINGS_MAX:,}"
        )
    return table, tuple(numbers)


def _pack(table: Table) -> Packed:
    if FIRST_BYTE_COLUMN + len(table.rows[0]) > COLUMNS_MAX:
        raise TooLargeError("bytes that differ from each other in more ways than there are columns")
    try:
        return pack(table)
    except NoRoomError as error:
        raise TooLargeError(str(error)) from error
