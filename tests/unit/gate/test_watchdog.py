"""The watchdog ends a gate that beats no more, and no other."""

import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from monitor.gate.pulse import Pulse
from monitor.gate.watchdog import End, beat_interval_ms, watch

DEADLINE_MS = 1000


def beat(pulse: Pulse, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pulse.beat()
        time.sleep(beat_interval_ms(DEADLINE_MS) / 1000)


def sleep_on(pulse: Pulse) -> None:
    pulse.beat()
    time.sleep(60)


def begin_late(pulse: Pulse) -> None:
    """It holds nothing yet."""
    time.sleep(1.5 * DEADLINE_MS / 1000)
    beat(pulse, 0.1)


def beat_and_end(pulse: Pulse) -> None:
    beat(pulse, 1.5 * DEADLINE_MS / 1000)


def fail(_: Pulse) -> None:
    os._exit(7)


def die(_: Pulse) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    "live, end",
    [(sleep_on, End.MISSED), (begin_late, End.ASKED), (beat_and_end, End.ASKED), (fail, End.FAILED), (die, End.DIED)],
)
def test_a_gate_is_watched(live: Callable[[Pulse], None], end: End) -> None:
    pulse, (ours, theirs) = Pulse(), socket.socketpair()
    gate = os.fork()
    if gate == 0:
        live(pulse)
        os._exit(0)
    began = time.monotonic()

    assert watch(gate, pulse, theirs.fileno(), DEADLINE_MS) == end
    if end == End.MISSED:
        assert 0.5 < (time.monotonic() - began) * 1000 / DEADLINE_MS < 2.5
    with pytest.raises(ChildProcessError):
        os.waitpid(gate, 0)
    ours.close()


def test_a_gate_does_not_outlive_the_service() -> None:
    pulse, (ours, theirs) = Pulse(), socket.socketpair()
    gate = os.fork()
    if gate == 0:
        ours.close()
        beat(pulse, 60)
        os._exit(0)
    ours.close()
    began = time.monotonic()

    assert watch(gate, pulse, theirs.fileno(), DEADLINE_MS) == End.ASKED
    assert time.monotonic() - began < DEADLINE_MS / 1000
