"""Choose the rules that could match an event: by its class, its shape and a name, of the program or the opened file.

Rules name programs by the end of their path. For each shape and each name that
some rule mentions there is a list of rules simplified for it, made when the
first such event comes; every other name shares one list. A rule that cannot
match any more is in no list.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from monitor.model.events import Event
from monitor.model.process import Context
from monitor.rules.ir import FALSE, And, AnyNode, Glob, Not, Or, Text
from monitor.rules.ruleset import CompiledRule
from monitor.rules.shapes import Shape, Shapes, find_shapes
from monitor.rules.specialise import KnownEvents, specialise

_Candidates = tuple[CompiledRule, ...]


class IndexedRule(Struct, frozen=True):
    """One active rule."""

    event: type[Event]
    category: str
    condition: AnyNode
    compile: Callable[[AnyNode], CompiledRule]
    """Makes the rule with this simplified condition, for events that belong to its category."""


class ShapeTable:
    """The rules for events of one shape."""

    def __init__(self, shapes: Shapes, shape: Shape, rules: Sequence[tuple[IndexedRule, frozenset[str]]]) -> None:
        self._shapes = shapes
        self._shape = shape
        self._rules = [(rule, names) for rule, names in rules if rule.category in shape.categories]
        self._others = [self._simplified(rule, names, is_other=True) for rule, names in self._rules]
        self.otherwise: _Candidates = tuple(rule for rule in self._others if rule is not None)
        """The rules for names that no rule mentions."""
        self.by_name: dict[str, _Candidates | None] = {name: None for _, names in self._rules for name in names}
        """The rules for each name that is mentioned; None until such an event has come."""

    def build(self, name: str) -> _Candidates:
        """Make the list of a name that is mentioned."""
        only = frozenset((name,))
        rules = (
            self._simplified(rule, only, is_other=False) if name in names else other
            for (rule, names), other in zip(self._rules, self._others, strict=True)
        )
        built = self.by_name[name] = tuple(rule for rule in rules if rule is not None)
        return built

    def _simplified(self, rule: IndexedRule, names: frozenset[str], *, is_other: bool) -> CompiledRule | None:
        known = KnownEvents(
            path_field=self._shapes.path_field,
            name_field=self._shapes.name_field,
            names=names,
            is_other=is_other,
            absent=self._shape.absent,
            present=self._shape.present,
        )
        tree = specialise(rule.condition, known)
        return None if tree == FALSE else rule.compile(tree)


def index_rules(rules: Iterable[IndexedRule]) -> dict[type[Event], Callable[[Context], Sequence[CompiledRule]]]:
    """For each event class that some rule is about, what finds its candidates."""
    by_event: dict[type[Event], list[IndexedRule]] = {}
    for rule in rules:
        by_event.setdefault(rule.event, []).append(rule)
    return {event: _index_event(find_shapes(event), several) for event, several in by_event.items()}


def _index_event(shapes: Shapes, rules: list[IndexedRule]) -> Callable[[Context], Sequence[CompiledRule]]:
    named = [(rule, _mentioned(rule, shapes)) for rule in rules]
    tables = tuple(ShapeTable(shapes, shape, named) for shape in shapes.shapes)
    name_of, number_of = shapes.name_of, shapes.number_of

    def candidates(context: Context) -> Sequence[CompiledRule]:
        table = tables[number_of(context)]
        name = name_of(context)
        found = table.by_name.get(name, table.otherwise)
        return table.build(name) if found is None else found

    return candidates


def _mentioned(rule: IndexedRule, shapes: Shapes) -> frozenset[str]:
    return frozenset(mentioned_names(rule.condition, shapes.path_field, shapes.name_field))


def mentioned_names(node: AnyNode, path_field: str, name_field: str) -> Iterator[str]:
    """The (folded) last path components that a tree asks for: any other name makes those tests false."""
    match node:
        case And(nodes) | Or(nodes):
            for part in nodes:
                yield from mentioned_names(part, path_field, name_field)
        case Not(inner):
            yield from mentioned_names(inner, path_field, name_field)
        case Text(field, "exact" | "suffix" as match, values) if field == path_field:
            yield from (_last(value) for value in values if match == "exact" or "/" in value)
        case Text(field, "exact", values) if field == name_field:
            yield from (value.lower() for value in values)
        case Glob(field, (*_, str(tail))) if field == path_field and "/" in tail:
            yield _last(tail)


def _last(path: str) -> str:
    return path.lower().rpartition("/")[2]
