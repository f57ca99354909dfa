"""Asked to stop before there is a service to stop: leave at once, with status 0, undoing what was done on the way out.

Imports nothing: the signals may come while the command is being imported. Once it runs,
:mod:`monitor.runtime.launch` takes the signals over and ends in good order.
"""

import signal
import sys
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def leave_when_asked() -> None:
    """From now on a stop signal raises ``SystemExit(0)``."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and `&` in scripts set it
            signal.signal(number, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # asked twice: the way out is short, and must not be cut off
    sys.exit(0)
