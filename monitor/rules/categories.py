"""Which Sigma categories are which events here, and which fields a keyword is looked for in."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from monitor.model.events import (
    ChangeAction,
    Event,
    FileChange,
    FileOpen,
    NetworkConnection,
    ProcessAccess,
    ProcessExec,
    ProcessExecFailed,
    ProcessExit,
)
from monitor.model.process import Context
from monitor.rules.changes import ATTRIBUTES, DELETED, MADE, RENAMED

_PROCESS_TEXT = ("process.executable", "process.command_line", "process.script")
_ACCESS_TEXT = ("process.executable", "process.command_line", "target.process.executable")
_CONNECTION_TEXT = ("destination.address", "process.executable", "process.command_line")
_FILE_TEXT = ("file.path", "process.executable", "process.command_line")


class Category(Struct, frozen=True):
    """One category of ``logsource``."""

    name: str
    events: tuple[type[Event], ...]
    description: str
    keyword_fields: tuple[str, ...]
    is_file: bool = False
    """About files: their events are filtered by path in the kernel."""
    failed: bool = False
    """About failed calls: paths are claims."""
    writes_only: bool = False
    changes: frozenset[ChangeAction] = frozenset()
    """What can be done to a file without an open that belongs to it."""

    @property
    def event_names(self) -> frozenset[str]:
        """Names of the event classes."""
        return frozenset(event.__name__ for event in self.events)


def is_opened(context: Context) -> bool:
    """A successful open."""
    event = context.event
    return type(event) is FileOpen and not event.errno


def is_written(context: Context) -> bool:
    """A successful open that may change the file's content, or made it; or its name now leads to another file."""
    event = context.event
    if type(event) is FileChange:
        return event.action in MADE
    return type(event) is FileOpen and not event.errno and (event.is_write or event.is_created)


def is_open_failed(context: Context) -> bool:
    """An open that returned an error."""
    event = context.event
    return type(event) is FileOpen and event.errno != 0


def _is_changed(actions: frozenset[ChangeAction]) -> Callable[[Context], bool]:
    def is_changed(context: Context) -> bool:
        event = context.event
        return type(event) is FileChange and event.action in actions

    return is_changed


CATEGORIES: Final[dict[str, Category]] = {
    category.name: category
    for category in (
        Category("process_creation", (ProcessExec,), "programs that start (exec)", _PROCESS_TEXT),
        Category("process_termination", (ProcessExit,), "processes that end (exit)", _PROCESS_TEXT),
        Category(
            "process_creation_failed",
            (ProcessExecFailed,),
            "programs that could not start; the path is a claim (ours, not Sigma's)",
            ("file.path", *_PROCESS_TEXT),
            failed=True,
        ),
        Category("file_access", (FileOpen,), "successful opens, reading and writing", _FILE_TEXT, is_file=True),
        Category(
            "file_event",
            (FileOpen, FileChange),
            "files created, opened for writing or truncated; names made by rename, link or symlink",
            _FILE_TEXT,
            is_file=True,
            writes_only=True,
            changes=MADE,
        ),
        Category(
            "file_rename",
            (FileChange,),
            "files and folders that get another name",
            (*_FILE_TEXT, "file.original.path"),
            is_file=True,
            changes=RENAMED,
        ),
        Category("file_delete", (FileChange,), "names removed", _FILE_TEXT, is_file=True, changes=DELETED),
        Category("file_change", (FileChange,), "mode or owner changed", _FILE_TEXT, is_file=True, changes=ATTRIBUTES),
        Category(
            "process_access",
            (ProcessAccess,),
            "processes that take control of another one, read or write its memory, take its descriptors (ptrace ...)",
            _ACCESS_TEXT,
        ),
        Category(
            "network_connection", (NetworkConnection,), "connections to Unix sockets; no others yet", _CONNECTION_TEXT
        ),
        Category(
            "file_access_failed",
            (FileOpen,),
            "opens that returned an error; the path is a claim (ours, not Sigma's)",
            _FILE_TEXT,
            is_file=True,
            failed=True,
        ),
    )
}

GUARDS: Final[dict[str, Callable[[Context], bool]]] = {
    "file_access": is_opened,
    "file_event": is_written,
    "file_rename": _is_changed(RENAMED),
    "file_delete": _is_changed(DELETED),
    "file_change": _is_changed(ATTRIBUTES),
    "file_access_failed": is_open_failed,
}
"""What an event must be, apart from its class, to belong to the category."""
