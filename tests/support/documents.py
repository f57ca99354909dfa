"""Ask questions of stream documents: nested dictionaries with ECS names."""

from collections.abc import Callable
from typing import Any

Document = dict[str, Any]
Predicate = Callable[[Document], bool]


def field(document: Document, name: str) -> Any:
    """The value at a dotted name (``process.parent.executable``); None when it is left out."""
    value: Any = document
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def has(**expected: Any) -> Predicate:
    """Whether all these fields have these values; ``process__args`` is written for ``process.args``.

    A callable is asked about the value.
    """

    def judge(document: Document) -> bool:
        for name, wanted in expected.items():
            value = field(document, name.replace("__", "."))
            if not (wanted(value) if callable(wanted) else value == wanted):
                return False
        return True

    judge.__doc__ = ", ".join(f"{name.replace('__', '.')}={wanted!r}" for name, wanted in expected.items())
    return judge


def is_alert(document: Document) -> bool:
    return bool(field(document, "event.kind") == "alert")


def summarize(document: Document) -> str:
    """One line for a failed test's message."""
    names = (
        *("event.kind", "event.action", "rule.name", "process.pid", "process.executable", "process.args"),
        *("file.path", "container.id", "process.parent.executable"),
    )
    shown = ((name, field(document, name)) for name in names)
    return " ".join(f"{name}={str(value)[:100]}" for name, value in shown if value is not None)
