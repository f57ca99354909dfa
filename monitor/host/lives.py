"""Whether a process still is the one that an event named: before it is sent a signal.

A pid alone may be somebody else's by now. With its start time it is one life of one
process (:class:`~monitor.model.ids.ProcessKey`); ``/proc`` shows that time in clock ticks.
"""

import os
from pathlib import Path
from typing import Final

from monitor.host import procfs
from monitor.model.ids import ProcessKey

_PROC: Final = Path("/proc")
_NS_PER_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_ENDED_STATES: Final = "ZX"


def is_alive(key: ProcessKey, proc: Path = _PROC) -> bool:
    """Whether this life of this pid goes on: neither ended nor a zombie whose threads have ended."""
    try:
        folder = procfs.open_process(key.tgid, proc)
    except OSError:
        return False
    try:
        stat = procfs.read_stat(folder)
        if abs(stat.start_ticks - key.start_boottime_ns // _NS_PER_TICK) > 1:  # differs by one in a time namespace
            return False
        return stat.state not in _ENDED_STATES or _has_threads(folder, key)
    except OSError:
        return False  # ended while it was read
    finally:
        os.close(folder)


def _has_threads(folder: int, key: ProcessKey) -> bool:
    """A leader that has called pthread_exit is a zombie, and its process goes on."""
    thread = procfs.find_live_thread(folder, key.tgid)
    if thread is None:
        return False
    os.close(thread)
    return True
