"""What the events about one file have and have not, by what was done to it.

An open has its access; a rename the name that was there before, a symlink what it
says. Asking for something else is asking in vain: the index and the kernel's
patterns rest on that.
"""

from collections.abc import Mapping
from typing import Final

from monitor.model.events import ChangeAction

_ALL: Final = frozenset(ChangeAction)
MADE: Final = frozenset({ChangeAction.RENAME, ChangeAction.LINK, ChangeAction.SYMLINK, ChangeAction.TRUNCATE})
"""A name leads to something else now, or its file was cut."""
RENAMED: Final = frozenset({ChangeAction.RENAME})
DELETED: Final = frozenset({ChangeAction.DELETION})
ATTRIBUTES: Final = frozenset({ChangeAction.CHMOD, ChangeAction.CHOWN})

_OF_OPENS: Final = ("file.access", "file.created", "file.link_count")
_OF_CHANGES: Final[Mapping[str, frozenset[ChangeAction]]] = {
    "file.original.path": frozenset({ChangeAction.RENAME, ChangeAction.LINK}),
    "file.target_path": frozenset({ChangeAction.SYMLINK}),
    "file.size": frozenset({ChangeAction.TRUNCATE}),
    "file.uid": frozenset({ChangeAction.CHOWN}),
    "file.gid": frozenset({ChangeAction.CHOWN}),
}
OPEN: Final = "open"
"""``event.action`` of an open."""

PATH_FIELDS: Final = frozenset({"file.path", "file.original.path", "file.target_path", "destination.address"})
"""Each is a text that the kernel's filter compares with all its patterns."""


def absent_fields(action: str) -> tuple[str, ...]:
    """Fields that no event of this ``event.action`` has."""
    if action == OPEN:
        return tuple(_OF_CHANGES)
    return (*_OF_OPENS, *(field for field, actions in _OF_CHANGES.items() if action not in actions))
