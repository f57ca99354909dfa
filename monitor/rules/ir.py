"""The intermediate representation between pySigma and closures: predicate trees and rules as plain data.

Made by :mod:`monitor.rules.lowering` (with pySigma), kept by
:mod:`monitor.rules.cache`, read by :mod:`monitor.rules.compiler` (closures),
:mod:`monitor.rules.open_filter` (kernel patterns), :mod:`monitor.rules.index`
and :mod:`monitor.rules.readable`. Field names are the catalogue's (ECS) names.
Texts of a condition without case are folded by their field's ``fold``.
"""

from typing import Literal

from msgspec import Struct

from monitor.model.rule import Location, Rule, RuleWarning

TextMatch = Literal["exact", "prefix", "suffix", "contains"]
Operator = Literal["eq", "neq", "lt", "lte", "gt", "gte"]


class Node(Struct, frozen=True, gc=False, tag=True, array_like=True):
    """A part of a predicate."""


class And(Node, frozen=True, gc=False, tag="and", array_like=True):
    """All of them; true when empty."""

    nodes: tuple["AnyNode", ...]


class Or(Node, frozen=True, gc=False, tag="or", array_like=True):
    """At least one of them; false when empty."""

    nodes: tuple["AnyNode", ...]


class Not(Node, frozen=True, gc=False, tag="not", array_like=True):
    """Not this."""

    node: "AnyNode"


class Text(Node, frozen=True, gc=False, tag="text", array_like=True):
    """A text field (or one element of a list) compares with at least one of these values, none of them empty."""

    field: str
    match: TextMatch
    values: tuple[str, ...]
    cased: bool = False


class Glob(Node, frozen=True, gc=False, tag="glob", array_like=True):
    """A text with wildcards, whole value: strings, and ``None`` for any run of characters, ``1`` for one character."""

    field: str
    parts: tuple[str | int | None, ...]
    cased: bool = False


class Regex(Node, frozen=True, gc=False, tag="re", array_like=True):
    """RE2 finds this somewhere in the text."""

    field: str
    pattern: str
    flags: str = ""
    """Of ``i m s``."""


class Number(Node, frozen=True, gc=False, tag="number", array_like=True):
    """A number compares; an absent one never does."""

    field: str
    operator: Operator
    value: int | float


class Flag(Node, frozen=True, gc=False, tag="flag", array_like=True):
    """A boolean has this value; an absent one has neither."""

    field: str
    value: bool


class Exists(Node, frozen=True, gc=False, tag="exists", array_like=True):
    """The event has this field with a value that is not empty."""

    field: str


class FieldRef(Node, frozen=True, gc=False, tag="fieldref", array_like=True):
    """Two text fields of one event compare (``field`` against the value of ``other``)."""

    field: str
    other: str
    match: TextMatch = "exact"


class Cidr(Node, frozen=True, gc=False, tag="cidr", array_like=True):
    """A text is an address in this network."""

    field: str
    network: str


AnyNode = And | Or | Not | Text | Glob | Regex | Number | Flag | Exists | FieldRef | Cidr

TRUE = And(())
FALSE = Or(())


class RuleException(Struct, frozen=True):
    """One of a rule's ``exceptions``: what it would have matched and must not."""

    when: AnyNode
    owner: str
    reason: str
    expires: str
    """ISO date; the exception does not hold on that day any more. Empty: never."""
    location: Location


class RuleIR(Struct, frozen=True):
    """One rule of single events."""

    rule: Rule
    category: str
    condition: AnyNode
    """Selections, condition and scope."""
    exceptions: tuple[RuleException, ...] = ()


class CorrelationIR(Struct, frozen=True):
    """One correlation rule."""

    rule: Rule
    kind: str
    base_rule_ids: tuple[str, ...]
    group_by: tuple[tuple[str, ...], ...]
    """Field names for each base rule."""
    timespan_s: int
    operator: Operator
    count: float
    value_fields: tuple[str, ...] = ()
    expression: AnyNode | None = None
    """Boolean condition over base rules: ``Exists(base rule id)`` leaves."""


class RuleBook(Struct, frozen=True):
    """Everything that was read from the rule files."""

    rules: tuple[RuleIR, ...]
    correlations: tuple[CorrelationIR, ...]
    warnings: tuple[RuleWarning, ...]

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """The facts of every rule, correlations last."""
        return (*(ir.rule for ir in self.rules), *(ir.rule for ir in self.correlations))
