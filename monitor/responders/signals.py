"""Signals that cannot hit the wrong process: by pidfd, after the key was checked.

The pidfd is opened first. If the key is right after that, and the signal is delivered,
then it was right for the process of the pidfd: a pid is not reused while that lives.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from monitor.model.ids import ProcessKey

BATCH: Final = 256
"""Processes of which a pidfd is held at once: the usual limit is 1,024 descriptors."""


def send_signal(key: ProcessKey, number: signal.Signals, is_alive: Callable[[ProcessKey], bool]) -> bool:
    """Signal this life of this pid; answer False when it is over.

    Raises:
        OSError: the kernel refused (EPERM without CAP_KILL).
    """
    try:
        pidfd = os.pidfd_open(key.tgid)
    except (ProcessLookupError, ValueError):
        return False
    try:
        if not is_alive(key):
            return False
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def kill_members(list_members: Callable[[], Iterable[int]]) -> int:
    """Send SIGKILL to each process of a cgroup once; answer to how many.

    A pid that is in the list again after its pidfd was opened was that process then, if it still lives.

    Raises:
        OSError: the cgroup is gone, or the kernel refused.
    """
    waiting = iter([tgid for tgid in list_members() if tgid > 0])
    killed = 0
    while batch := list(islice(waiting, BATCH)):
        pidfds: dict[int, int] = {}
        try:
            for tgid in batch:
                with contextlib.suppress(ProcessLookupError):
                    pidfds[tgid] = os.pidfd_open(tgid)
            still = set(list_members())
            for tgid, pidfd in pidfds.items():
                if tgid in still:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                        killed += 1
        finally:
            for pidfd in pidfds.values():
                os.close(pidfd)
    return killed
