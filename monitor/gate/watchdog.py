"""Kill a gate that answers no more; the kernel then lets go what it held. Opens no file, holds no mark.

The deadline is counted in looks of the watchdog's own, so that a machine that stood
still as a whole (suspend, a paused guest) is no reason to kill.
"""

import enum
import os
import select
import signal
from typing import Final

from monitor.gate.pulse import Pulse

_LOOKS: Final = 5
"""In a deadline. A gate that stops just after a beat is killed by the last."""
BEATS_PER_LOOK: Final = 2
_MS_PER_S: Final = 1000


class End(enum.IntEnum):
    """Why a gate ended: the watchdog's exit status."""

    ASKED = 0
    """The service has closed its socket, or ended."""
    FAILED = 3
    """It said why on its standard error."""
    MISSED = 10
    """Killed: it had not answered within the deadline."""
    DIED = 11
    """Of a signal that the watchdog did not send."""


def beat_interval_ms(deadline_ms: int) -> int:
    """How often a gate without work has to beat."""
    return max(deadline_ms // (_LOOKS * BEATS_PER_LOOK), 1)


def runtime_wait_ms(deadline_ms: int) -> int:
    """How long a container runtime's start waits for the service at most: a quarter of what everybody else may."""
    return max(deadline_ms // 4, 1)


def watch(gate_pid: int, pulse: Pulse, lifeline: int, deadline_ms: int) -> End:
    """Wait for the gate's end, or bring it about. ``lifeline`` is readable once the service has gone."""
    pidfd = os.pidfd_open(gate_pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(lifeline, 0)  # POLLHUP alone: what is sent through it is the gate's
    look_ms, missed, beats = max(deadline_ms // _LOOKS, 1), 0, pulse.read()
    while missed < _LOOKS - 1:
        ready = dict(poll.poll(look_ms))
        if pidfd in ready:
            return _reap(gate_pid)
        if lifeline in ready:
            return _kill(pidfd, gate_pid, End.ASKED)
        now = pulse.read()
        # Before its first beat it holds nothing, and on a busy machine its start may take longer than an answer.
        missed, beats = (missed + 1, beats) if now == beats and now else (0, now)
    return _kill(pidfd, gate_pid, End.MISSED)


def _kill(pidfd: int, gate_pid: int, end: End) -> End:
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitpid(gate_pid, 0)
    return end


def _reap(gate_pid: int) -> End:
    _, status = os.waitpid(gate_pid, 0)
    if os.WIFSIGNALED(status):
        return End.DIED
    return End.ASKED if os.WEXITSTATUS(status) == 0 else End.FAILED
