"""Sort events by what is cheap to see and decides much: in a container or not, a script or not, read or written,
what was done to a file.

A shape is a small number; for each there is what its events lack (and so which
tests are constants) and which categories they belong to.
"""

from collections.abc import Callable

from msgspec import Struct, structs

from monitor.model.events import ChangeAction, Event, FileChange, FileOpen
from monitor.model.process import Context
from monitor.rules.categories import CATEGORIES, Category
from monitor.rules.changes import OPEN, absent_fields
from monitor.rules.ir import FALSE, AnyNode
from monitor.rules.specialise import KnownEvents, specialise

_SCRIPT_FIELDS = ("process.script", "process.script_name")


class Shape(Struct, frozen=True):
    """Events that look alike."""

    absent: tuple[str, ...]
    """Fields without a value, as :class:`~monitor.rules.specialise.KnownEvents` has them."""
    present: frozenset[str]
    categories: frozenset[str]
    """The categories that such an event belongs to."""


class Shapes(Struct, frozen=True):
    """How the events of one class are sorted."""

    path_field: str
    name_field: str
    name_of: Callable[[Context], str]
    """Folded last component of ``path_field``."""
    number_of: Callable[[Context], int]
    """Place in ``shapes``."""
    shapes: tuple[Shape, ...]


def find_shapes(event: type[Event]) -> Shapes:
    """How events of this class are sorted."""
    if event is FileOpen:
        accesses = (
            frozenset({"file_access"}),
            frozenset({"file_access", "file_event"}),
            frozenset({"file_access_failed"}),
        )
        absent = absent_fields(OPEN)
        shapes = tuple(_shape(in_container, absent, names) for in_container in (False, True) for names in accesses)
        return Shapes("file.path", "file.name", _opened_name, _open_number, shapes)
    if event is FileChange:
        shapes = tuple(
            _shape(in_container, absent_fields(action), _change_categories(action))
            for in_container in (False, True)
            for action in ChangeAction
        )
        return Shapes("file.path", "file.name", _changed_name, _change_number, shapes)
    names = frozenset(category.name for category in CATEGORIES.values() if event in category.events)
    shapes = tuple(
        _shape(in_container, () if is_script else _SCRIPT_FIELDS, names)
        for in_container in (False, True)
        for is_script in (False, True)
    )
    return Shapes("process.executable", "process.name", _program_name, _process_number, shapes)


def can_match(condition: AnyNode, category: Category) -> bool:
    """Whether any event of the category could fulfil this; True when that is not easy to see."""
    return any(_can_match_event(condition, category, event) for event in category.events)


def _can_match_event(condition: AnyNode, category: Category, event: type[Event]) -> bool:
    shapes = find_shapes(event)
    anything = KnownEvents(shapes.path_field, shapes.name_field, frozenset(), is_other=True)
    return any(
        specialise(condition, structs.replace(anything, absent=shape.absent, present=shape.present)) != FALSE
        for shape in shapes.shapes
        if category.name in shape.categories
    )


def _change_categories(action: ChangeAction) -> frozenset[str]:
    return frozenset(category.name for category in CATEGORIES.values() if action in category.changes)


def _shape(in_container: bool, absent: tuple[str, ...], categories: frozenset[str]) -> Shape:
    if in_container:
        return Shape(absent, frozenset({"container.id"}), categories)
    return Shape((*absent, "container."), frozenset(), categories)


def _program_name(context: Context) -> str:
    return context.image.name.lower()


def _process_number(context: Context) -> int:
    return (0 if context.container is None else 2) + (1 if context.image.exec.script else 0)


def _opened_name(context: Context) -> str:
    event = context.event
    assert type(event) is FileOpen  # asked for opens only
    return event.path.rpartition("/")[2].lower()


def _open_number(context: Context) -> int:
    event = context.event
    assert type(event) is FileOpen
    access = 2 if event.errno else 1 if event.is_write or event.is_created else 0
    return access if context.container is None else access + 3


_CHANGE_NUMBERS = {action: number for number, action in enumerate(ChangeAction)}


def _changed_name(context: Context) -> str:
    event = context.event
    assert type(event) is FileChange  # asked for changes only
    return event.path.rpartition("/")[2].lower()


def _change_number(context: Context) -> int:
    event = context.event
    assert type(event) is FileChange
    number = _CHANGE_NUMBERS[event.action]
    return number if context.container is None else number + len(_CHANGE_NUMBERS)
