"""Prove that the answering thread opens, imports and loads nothing: an open of a file that it holds itself never ends.

Python tells every open, import and library load to an audit hook, before it happens
(PEP 578). The hook allows the few files of ``/proc`` that facts come from, and counts
or refuses everything else.
"""

import re
import sys
from typing import Final

_REFUSED: Final = frozenset(
    {
        "import",
        "ctypes.dlopen",
        "os.exec",
        "os.fork",
        "os.listdir",
        "os.posix_spawn",
        "os.scandir",
        "os.system",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "subprocess.Popen",
    }
)
_OPENED: Final = re.compile(r"/proc/[0-9]+/(?:status|stat|stack|cgroup)")
"""Of procfs, which nobody marks (:mod:`monitor.gate.supervisor` refuses to)."""
_TEXT_CHARACTERS_MAX: Final = 200


class BreachError(RuntimeError):
    """The answering thread was about to do what could make it wait for itself."""


class Discipline:
    """Watches from :meth:`begin` to the end of the process."""

    def __init__(self, *, is_strict: bool) -> None:
        self._is_strict = is_strict
        self._is_over = False
        self.breaches = 0
        self.last_breach = ""

    def begin(self) -> None:
        """From here on. A hook cannot be taken away again."""
        sys.addaudithook(self._on_event)

    def end(self) -> None:
        """Nothing is held any more: the process ends as any other does."""
        self._is_over = True

    def _on_event(self, name: str, arguments: tuple[object, ...]) -> None:
        if name == "open":
            if _OPENED.fullmatch(str(arguments[0])):
                return
        elif name not in _REFUSED:
            return
        if not self._is_over:
            self._breach(name, arguments)

    def _breach(self, name: str, arguments: tuple[object, ...]) -> None:
        what = repr(arguments[0]) if arguments else ""
        self.breaches += 1
        self.last_breach = f"{name} {what}"[:_TEXT_CHARACTERS_MAX]
        if self._is_strict:
            self._is_over = True
            raise BreachError(f"the answering thread was about to do: {self.last_breach}")
