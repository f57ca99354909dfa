"""Asked to stop before there is a service to stop: undo what stays behind a process, and leave with status 0.

The handler ends the process itself. An exception would not do: it is raised wherever the
program happens to be, and module initialisers of C extensions, among others, swallow it.
What the kernel ends with a process (sensors, locks) needs no undoing.

Imports little: the signals may come while the command is being imported. Once it runs,
:mod:`monitor.runtime.launch` takes the signals over and ends in good order.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_undo: Final[list[Callable[[], None]]] = []
"""Of the process, as its signal handlers are."""


def leave_when_asked() -> None:
    """From now on a stop signal ends the process."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and `&` in scripts set it
            signal.signal(number, _leave)


@contextlib.contextmanager
def undoing(undo: Callable[[], None]) -> Iterator[None]:
    """What to do in here when the process leaves so. ``undo`` may raise ``OSError``."""
    _undo.append(undo)
    try:
        yield
    finally:
        _undo.remove(undo)


def _leave(_number: int, _frame: FrameType | None) -> None:
    for undo in reversed(_undo):
        with contextlib.suppress(OSError):
            undo()
    os._exit(0)
