"""Which Sigma categories are which events here, and which fields a keyword is looked for in."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from monitor.model.events import Event, FileOpen, ProcessExec, ProcessExecFailed, ProcessExit
from monitor.model.process import Context

_PROCESS_TEXT = ("process.executable", "process.command_line", "process.script")
_FILE_TEXT = ("file.path", "process.executable", "process.command_line")


class Category(Struct, frozen=True):
    """One category of ``logsource``."""

    name: str
    event: type[Event]
    description: str
    keyword_fields: tuple[str, ...]
    is_open: bool = False
    """Needs file opens, which the kernel filters by path."""
    failed: bool = False
    """About failed calls: paths are claims."""
    writes_only: bool = False


def is_opened(context: Context) -> bool:
    """A successful open."""
    event = context.event
    return type(event) is FileOpen and not event.errno


def is_written(context: Context) -> bool:
    """A successful open that may change the file's content, or made it."""
    event = context.event
    return type(event) is FileOpen and not event.errno and (event.is_write or event.is_created)


def is_open_failed(context: Context) -> bool:
    """An open that returned an error."""
    event = context.event
    return type(event) is FileOpen and event.errno != 0


CATEGORIES: Final[dict[str, Category]] = {
    category.name: category
    for category in (
        Category("process_creation", ProcessExec, "programs that start (exec)", _PROCESS_TEXT),
        Category("process_termination", ProcessExit, "processes that end (exit)", _PROCESS_TEXT),
        Category(
            "process_creation_failed",
            ProcessExecFailed,
            "programs that could not start; the path is a claim (ours, not Sigma's)",
            ("file.path", *_PROCESS_TEXT),
            failed=True,
        ),
        Category("file_access", FileOpen, "successful opens, reading and writing", _FILE_TEXT, is_open=True),
        Category(
            "file_event", FileOpen, "files created or opened for writing", _FILE_TEXT, is_open=True, writes_only=True
        ),
        Category(
            "file_access_failed",
            FileOpen,
            "opens that returned an error; the path is a claim (ours, not Sigma's)",
            _FILE_TEXT,
            is_open=True,
            failed=True,
        ),
    )
}

GUARDS: Final[dict[str, Callable[[Context], bool]]] = {
    "file_access": is_opened,
    "file_event": is_written,
    "file_access_failed": is_open_failed,
}
"""What an event must be, apart from its class, to belong to the category."""
