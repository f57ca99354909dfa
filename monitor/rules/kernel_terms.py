"""Turn a condition into terms that the kernel can decide, or say what it cannot.

A term is a conjunction over dimensions; within one dimension it may be any
expression (several values, negations), because a lookup answers with a vector made
here. So only an OR across dimensions makes more terms: ``Image: [a, b]`` is one,
``Image: a or User: b`` two.

What comes out matches what the closures of :mod:`monitor.rules.compiler` match:
that is a property test. What would match less or more is refused instead.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from monitor.model.kernel_policy import PATH_END, PREFIX_BYTES_MAX, RULE_TERMS_MAX, Dimension
from monitor.rules.automaton_clauses import Conjunction, TooManyError, find_conjunctions
from monitor.rules.automaton_tests import ARGUMENT_FIELDS, check_test
from monitor.rules.field import fold_ascii
from monitor.rules.ir import And, AnyNode, Exists, Flag, Glob, Not, Number, Or, Regex, Text
from monitor.rules.system_paths import FIELD as SYSTEM_PATH
from monitor.rules.trees import all_of, any_of

Term = dict[Dimension, AnyNode]
"""For each dimension that it asks, an expression over tests of that dimension alone."""


class NotDecidable(ValueError):
    """The kernel cannot decide this condition; the text says why, for the author of the rule."""


_PATHS: Final = {
    "process.executable": (Dimension.EXECUTABLE, Dimension.EXECUTABLE_END),
    "process.parent.executable": (Dimension.PARENT, Dimension.PARENT_END),
    "process.script": (Dimension.SCRIPT, Dimension.SCRIPT_END),
    "file.path": (Dimension.FILE, Dimension.FILE_END),
    "target.process.executable": (Dimension.FILE, Dimension.FILE_END),
    "destination.address": (Dimension.FILE, Dimension.FILE_END),
}
"""What is done something to, the kernel calls a file: no event has two of these."""
_ASCII_FOLDED: Final = ("file.", "destination.")
"""Fields whose texts lose the case of A to Z alone."""
SYSTEM_KEY: Final = "/"
"""Before a key of :attr:`Dimension.SYSTEM_FILE`: the walk of a path begins each part so."""
_NAMES: Final = {
    "process.name": Dimension.EXECUTABLE_END,
    "process.parent.name": Dimension.PARENT_END,
    "process.script_name": Dimension.SCRIPT_END,
    "file.name": Dimension.FILE_END,
    "target.process.name": Dimension.FILE_END,
}
_CAPABILITIES: Final = "process.thread.capabilities.effective"
FLAG_NAMES: Final = frozenset({"memfd", "deleted", "upper_layer", "tmpfs", "other_filesystem", "32bit"})
"""Of ``process.flags.NAME``: what the kernel knows before the program runs."""
_FLAG_PREFIX: Final = "process.flags."
NESTED: Final = "container.nested.id"
"""The kernel tells containers apart, not what runs inside one."""
RUNTIME_INIT: Final = "runtime_init"
"""Of a task, not of a container: the flag of the catalogue is both."""


def build_terms(condition: AnyNode) -> tuple[Term, ...]:
    """The terms of one rule, none of them when it can never be true.

    Raises:
        NotDecidable: part of it is not the kernel's to decide, or it takes more than 32 terms.
    """
    return _bounded([split for term in _terms(condition, negated=False) for split in _split_arguments(term)])


def find_argument_conjunctions(expression: AnyNode) -> tuple[Conjunction, ...]:
    """What an expression over arguments asks. Raises :class:`NotDecidable`."""
    try:
        return find_conjunctions(expression)
    except TooManyError as error:
        raise NotDecidable(str(error)) from error


def _split_arguments(term: Term) -> Iterator[Term]:
    """Terms whose expression over arguments is one conjunction of clauses."""
    expression = term.get(Dimension.ARGUMENTS)
    if expression is None:
        yield term
        return
    for conjunction in find_argument_conjunctions(expression):
        yield term | {Dimension.ARGUMENTS: conjunction.as_expression()}


def dimension_of(leaf: AnyNode) -> Dimension:
    """The lookup that decides one test. Raises :class:`NotDecidable`."""
    match leaf:
        case Text():
            return _text_dimension(leaf)
        case Number("user.id", "eq" | "neq"):
            return Dimension.USER
        case Flag("file.created"):
            return Dimension.ACCESS
        case Flag(field) if field.removeprefix(_FLAG_PREFIX) in {*FLAG_NAMES, RUNTIME_INIT}:
            return Dimension.FLAGS
        case Regex(field) | Glob(field) if field in ARGUMENT_FIELDS:
            return _argument_dimension(leaf)
        case Exists(field) | Flag(field) if field.startswith("container.") and field != NESTED:
            return Dimension.CONTAINER
    raise NotDecidable(f"the kernel has no lookup for {_describe(leaf)}")


def _text_dimension(leaf: Text) -> Dimension:
    field = leaf.field
    if field.startswith("container."):
        return Dimension.CONTAINER
    if field in ARGUMENT_FIELDS:
        return _argument_dimension(leaf)
    if leaf.match == "exact" and field == "file.access":
        return Dimension.ACCESS
    if leaf.match == "exact" and field == _CAPABILITIES and not leaf.cased:
        return Dimension.CAPABILITIES
    _check_text(leaf)
    if field == SYSTEM_PATH and leaf.match in {"exact", "prefix"}:
        return Dimension.SYSTEM_FILE
    if field in _PATHS and leaf.match != "contains":
        beginning, end = _PATHS[field]
        return end if leaf.match == "suffix" else beginning
    if field in _NAMES and (leaf.match == "exact" or (leaf.match == "suffix" and "/" not in "".join(leaf.values))):
        return _NAMES[field]
    raise NotDecidable(f"the kernel has no lookup for {_describe(leaf)}")


def _argument_dimension(leaf: AnyNode) -> Dimension:
    reason = check_test(leaf)
    if reason:
        raise NotDecidable(f"{_describe(leaf)}: {reason}")
    return Dimension.ARGUMENTS


def _check_text(leaf: Text) -> None:
    """The kernel folds A to Z, whatever the rule says, and its keys are bounded."""
    if leaf.cased:
        raise NotDecidable(f"the kernel compares without case, {_describe(leaf)} asks for it")
    for value in leaf.values:
        if not value.isascii() and value.upper() != value and not leaf.field.startswith(_ASCII_FOLDED):
            raise NotDecidable(f"the kernel knows the case of A to Z alone, not of {value[:40]!r}")
        if "\\" in value:
            raise NotDecidable(
                f"a backslash in {value[:40]!r} also stands for bytes that are no text, in user space alone"
            )
        if len(value.encode()) > PREFIX_BYTES_MAX:
            raise NotDecidable(f"{value[:40]!r}... is longer than the {PREFIX_BYTES_MAX} bytes of a kernel key")


def keys_of(test: AnyNode) -> tuple[str, ...]:
    """The entries, in the lookup of its dimension, any of which a path must have for this test of it to be true."""
    if not isinstance(test, Text):
        return ()
    before = SYSTEM_KEY if test.field == SYSTEM_PATH else ""
    values = [before + fold_ascii(value) for value in test.values]
    if test.match != "exact":
        return tuple(values)
    if test.field in _NAMES:
        names = [value for value in values if "/" not in value]  # others name no last component
        return tuple(before + name for name in names for before in ("/", PATH_END))
    return tuple(value + PATH_END for value in values)


def find_folders_above(term: Term) -> tuple[str, ...]:
    """The folders that the files of a term lie in, as far as its paths say, the root apart."""
    paths = _paths_of(term[Dimension.FILE]) if Dimension.FILE in term else ()
    return tuple(dict.fromkeys(path[:end] for path in paths for end in range(1, len(path)) if path[end] == "/"))


def _paths_of(expression: AnyNode, *, negated: bool = False) -> Iterator[str]:
    """What paths begin with or are, not what they are not."""
    match expression:
        case Not(inner):
            yield from _paths_of(inner, negated=not negated)
        case And(nodes) | Or(nodes):
            for node in nodes:
                yield from _paths_of(node, negated=negated)
        case Text(values=values) if not negated:
            yield from (value for value in values if value.startswith("/"))


def _describe(leaf: AnyNode) -> str:
    what = getattr(leaf, "field", "")
    match leaf:
        case Text(match=match):
            return f"{what} ({match})"
        case Number(operator=operator):
            return f"{what} ({operator})"
        case _:
            return f"{what} ({type(leaf).__name__.lower()})" if what else type(leaf).__name__.lower()


def _terms(node: AnyNode, *, negated: bool) -> tuple[Term, ...]:
    match node:
        case Not(inner):
            return _terms(inner, negated=not negated)
        case And(nodes):
            return _any(nodes, negated=True) if negated else _all(nodes, negated=False)
        case Or(nodes):
            return _all(nodes, negated=True) if negated else _any(nodes, negated=False)
        case Text("network.transport", "exact", values):  # of Unix sockets alone is the kernel asked
            return ({},) if ("unix" in values) is not negated else ()
        case Flag("container.runtime_init", value):
            whole = And((Flag(RUNTIME_INIT, value), Exists("container.id")))
            return _terms(whole, negated=negated)
        case leaf:
            return ({dimension_of(leaf): Not(leaf) if negated else leaf},)


def _all(nodes: Sequence[AnyNode], *, negated: bool) -> tuple[Term, ...]:
    """All of them: each way to fulfil one with each way to fulfil the others."""
    product: tuple[Term, ...] = ({},)
    for part in nodes:
        terms = _terms(part, negated=negated)
        product = _bounded([_merge(left, right) for left in product for right in terms])
    return product


def _any(nodes: Sequence[AnyNode], *, negated: bool) -> tuple[Term, ...]:
    """At least one: terms that ask one and the same dimension become one term."""
    single: dict[Dimension, list[AnyNode]] = {}
    several: list[Term] = []
    for part in nodes:
        for term in _terms(part, negated=negated):
            if len(term) == 1:
                ((dimension, expression),) = term.items()
                single.setdefault(dimension, []).append(expression)
            else:
                several.append(term)
    return _bounded([{dimension: any_of(parts)} for dimension, parts in single.items()] + several)


def _merge(left: Term, right: Term) -> Term:
    return {
        dimension: all_of([term[dimension] for term in (left, right) if dimension in term])
        for dimension in dict.fromkeys((*left, *right))
    }


def _bounded(terms: list[Term]) -> tuple[Term, ...]:
    if any(not term for term in terms):
        return ({},)  # true whatever the event
    if len(terms) > RULE_TERMS_MAX:
        raise NotDecidable(f"it takes more than {RULE_TERMS_MAX} terms of the kernel's policy: split the rule")
    return tuple(terms)


def holds(expression: AnyNode, is_true: Callable[[AnyNode], bool]) -> bool:
    """The value of an expression of one dimension when its tests are answered by ``is_true``."""
    match expression:
        case Not(inner):
            return not holds(inner, is_true)
        case And(nodes):
            return all(holds(part, is_true) for part in nodes)
        case Or(nodes):
            return any(holds(part, is_true) for part in nodes)
        case leaf:
            return is_true(leaf)


def tests_of(expression: AnyNode) -> list[AnyNode]:
    """The tests in an expression."""
    match expression:
        case Not(inner):
            return tests_of(inner)
        case And(nodes) | Or(nodes):
            return [leaf for part in nodes for leaf in tests_of(part)]
        case leaf:
            return [leaf]
