"""What a term of the kernel's policy can be about, and the hooks that are called for it.

Names are about what happens to them: a rename is a new name for one, the end of
another, and perhaps the end of what it replaces.
"""

from typing import Final

EXEC: Final = "exec"
ENDED: Final = "ended"
"""The same, decided when it has taken place, where tier lsm cannot read arguments before: the program is ended."""
OPEN: Final = "open"
CREATE: Final = "create"
"""A file that was not there (an open makes it, too), a folder, a node."""
RENAME: Final = "rename"
"""Something gets this name by rename."""
DELETE: Final = "delete"
"""What had this name has it no more: removed, renamed, replaced."""
LINK: Final = "link"
"""This name is made for a file that has one."""
LINKED: Final = "linked"
"""The file of this name gets another one."""
SYMLINK: Final = "symlink"
TRUNCATE: Final = "truncate"
MODE: Final = "mode"
OWNER: Final = "owner"
MAP: Final = "map"
"""The file, as the program that it would be, is mapped to be executed."""
PTRACE: Final = "ptrace"
"""A process takes control of another, or reads or writes its memory, or takes its descriptors."""
CONNECT: Final = "connect"
"""A connection to a Unix socket, or a datagram for one."""

NAME_EVENTS: Final = (CREATE, RENAME, DELETE, LINK, LINKED, SYMLINK, TRUNCATE, MODE, OWNER)
"""What is done to a file other than by opening it."""
ABOVE_EVENTS: Final = (RENAME, DELETE, SYMLINK)
"""What, done to a folder, puts other files in the place of those below it."""

FILES, MEMORY, ACCESS, SOCKETS, ENDING = "files", "memory", "access", "sockets", "ending"
HOOKS: Final = {ENDED: ENDING, **dict.fromkeys(NAME_EVENTS, FILES), MAP: MEMORY, PTRACE: ACCESS, CONNECT: SOCKETS}
"""By event: the group of hooks that is loaded when a term is about it. Those of the others always are."""
