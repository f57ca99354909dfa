"""Write a predicate tree as indented lines, for people: what ``stockade rules explain`` shows."""

from collections.abc import Iterator

from monitor.rules.ir import And, AnyNode, Cidr, Exists, FieldRef, Flag, Glob, Not, Number, Or, Regex, Text

_MATCH_WORDS = {"exact": "is", "prefix": "begins with", "suffix": "ends with", "contains": "contains"}
_NUMBER_WORDS = {"eq": "=", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
VALUES_SHOWN = 12


def describe_condition(node: AnyNode, indent: int = 0) -> Iterator[str]:
    """Lines of the tree; what belongs together is indented by two spaces more. Values are shown as Python does."""
    pad = "  " * indent
    match node:
        case And(()):
            yield f"{pad}always"
        case Or(()):
            yield f"{pad}never"
        case And(nodes) | Or(nodes):
            yield f"{pad}{'all of' if isinstance(node, And) else 'any of'}:"
            for part in nodes:
                yield from describe_condition(part, indent + 1)
        case Not(Exists(field)):
            yield f"{pad}{field} is absent"
        case Not(And() | Or() as inner):
            yield f"{pad}not:"
            yield from describe_condition(inner, indent + 1)
        case Not(inner):
            (line,) = describe_condition(inner)
            yield f"{pad}not {line}"
        case _:
            yield pad + describe_test(node)


def describe_test(node: AnyNode) -> str:
    """One test in words."""
    match node:
        case Text(field, match, values, cased):
            return f"{field} {_MATCH_WORDS[match]} {_values(values)}{_case(cased)}"
        case Glob(field, parts, cased):
            pattern = "".join(part if isinstance(part, str) else "?" if part else "*" for part in parts)
            return f"{field} looks like {pattern!r}{_case(cased)}"
        case Regex(field, pattern, flags):
            return f"{field} matches /{pattern}/{flags}"
        case Number(field, operator, value):
            return f"{field} {_NUMBER_WORDS[operator]} {value}"
        case Flag(field, value):
            return f"{field} is {'true' if value else 'false'}"
        case Exists(field):
            return f"{field} is there"
        case FieldRef(field, other, match):
            return f"{field} {_MATCH_WORDS[match]} the value of {other}"
        case Cidr(field, network):
            return f"{field} is an address in {network}"
        case And() | Or() | Not():
            return " ".join(line.strip() for line in describe_condition(node))


def _values(values: tuple[str, ...]) -> str:
    shown = " or ".join(repr(value) for value in values[:VALUES_SHOWN])
    return shown if len(values) <= VALUES_SHOWN else f"{shown} or {len(values) - VALUES_SHOWN} more"


def _case(cased: bool) -> str:
    return " (case matters)" if cased else ""
