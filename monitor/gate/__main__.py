"""The gate's two processes: ``python -m monitor.gate FD``, started by :mod:`monitor.gate.supervisor` alone.

The first tests overlayfs, forks the second, and is its watchdog from then on. The
second, the gate, makes the fanotify group itself: nobody else ever has a descriptor of
it, so that its death lets everything go.

Everything is imported here, before the first mark.
"""

import gc
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Final

import msgspec

from monitor.gate.answers import Answers
from monitor.gate.channel import Channel, ChannelClosed
from monitor.gate.discipline import BreachError, Discipline
from monitor.gate.facts import HostFacts
from monitor.gate.loop import Loop
from monitor.gate.overlay_sight import find_overlay_sight
from monitor.gate.pulse import Pulse
from monitor.gate.watchdog import End, beat_interval_ms, runtime_wait_ms, watch
from monitor.gate.wire import OverlaySight, Ready, Setup
from monitor.host.fanotify import PermissionGroup
from monitor.host.priority import before_others
from monitor.host.task_calls import end_with_parent, give_up_new_privileges, lock_memory

_SETUP_MS: Final = 10_000
_USAGE: Final = 2
_GC_THRESHOLDS: Final = (50_000, 20, 100)
"""What an answer makes is freed when nothing refers to it; the collector is for the rest, and seldom in the way."""


def main(arguments: list[str]) -> int:
    """Be the watchdog; the exit status is an :class:`~monitor.gate.watchdog.End`."""
    if len(arguments) != 1 or not arguments[0].isdigit():
        print("the gate is started by the service alone", file=sys.stderr)  # noqa: T201
        return _USAGE
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the service ends us, last of all
    end = socket.socket(fileno=int(arguments[0]))
    channel = Channel(end)
    setup = _await_setup(channel)
    if setup is None:
        return End.ASKED
    sight, pulse, watchdog = find_overlay_sight(), Pulse(), os.getpid()
    with before_others():
        gate = os.fork()
        if gate == 0:
            os._exit(_run_gate(setup, channel, sight, pulse, watchdog))
        _prepare()
        return watch(gate, pulse, end.fileno(), setup.deadline_ms)


def _await_setup(channel: Channel) -> Setup | None:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    try:
        received = channel.receive() if poll.poll(_SETUP_MS) else None
    except ChannelClosed:
        return None
    return received[0] if received and isinstance(received[0], Setup) else None


def _run_gate(setup: Setup, channel: Channel, sight: OverlaySight, pulse: Pulse, watchdog: int) -> int:
    """The gate's life; answers its exit status."""
    discipline = Discipline(is_strict=setup.is_strict)
    try:
        end_with_parent()
        if os.getppid() != watchdog:
            return End.FAILED  # it has ended meanwhile
        group = PermissionGroup()
        loop = Loop(
            channel,
            group,
            Answers(group, _read_host(setup, watchdog)),
            discipline,
            pulse,
            wait_ms=runtime_wait_ms(setup.deadline_ms),
        )
        is_locked = _prepare()
        discipline.begin()
        channel.send(Ready(os.getpid(), watchdog, sight, is_locked))
        loop.run(beat_interval_ms(setup.deadline_ms))
    except (OSError, msgspec.MsgspecError, BreachError) as error:
        discipline.end()
        print(f"gate: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return End.FAILED
    return End.ASKED


def _read_host(setup: Setup, watchdog: int) -> HostFacts:
    root = Path("/").stat()
    memfd = os.memfd_create("device")
    try:
        device = os.fstat(memfd).st_dev
    finally:
        os.close(memfd)
    return HostFacts(
        own_tgids=frozenset({setup.service_tgid, watchdog, os.getpid()}),
        service_tgid=setup.service_tgid,
        runtime_files=frozenset(setup.runtime_files),
        root=(root.st_dev, root.st_ino),
        memfd_device=device,
        controller=setup.controller,
    )


def _prepare() -> bool:
    """Wait for nothing later on: no disk, no collector, no limit. Whether memory could be locked."""
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        give_up_new_privileges()
        lock_memory()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
