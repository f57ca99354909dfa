"""The service's side of tier `hold`: start the gate, tell it rules and containers, take its denials, start it again.

All that was said is kept and said again to a new gate, so that callers need not know of
its deaths. While there is none the kernel holds nothing: fail-open, and counted.
"""

import asyncio
import contextlib
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from monitor.gate.connection import Connection
from monitor.gate.marker import HeldPaths, Marker
from monitor.gate.policy import HeldContainer, HoldPolicy, find_events
from monitor.gate.processes import start_gate
from monitor.gate.watchdog import End
from monitor.gate.wire import (
    AddContainer,
    Command,
    Denial,
    Fence,
    LetGo,
    Marked,
    MarkFilesystem,
    Message,
    Ready,
    Refused,
    RemoveContainer,
    Report,
    RuntimeStarts,
    Setup,
    split_policy,
)

_LOG: Final = logging.getLogger(__name__)
READY_S: Final = 20.0
ANSWER_S: Final = 10.0
_BACK_OFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
_STABLE_S: Final = 60.0
"""A gate that has lived so long is started again at once when it ends."""
_REASONS: Final[dict[int, str]] = {End.MISSED: "it missed its deadline and was killed", End.DIED: "it was killed"}


class GateError(Exception):
    """The gate cannot be started, or does not answer; one line."""


class DenialSink(Protocol):
    """Makes an event of what the gate has seen. Never raises, never waits."""

    def __call__(self, denial: Denial, /) -> None:
        """Take one."""


def ignore_end(_: str) -> None:
    """For who asks :attr:`GateSupervisor.health` instead."""


class GateSettings(Struct, frozen=True):
    """What stays the same for all gates that a service starts."""

    deadline_ms: int
    hold_paths: tuple[Path, ...] = ()
    controller: str = ""
    """The v1 hierarchy that tells containers apart; empty for cgroup2."""
    runtimes: tuple[Path, ...] = ()
    """The host's low-level runtimes (:func:`~monitor.host.protected_files.find_runtime_paths`): their starts wait for
    marks, and what they do in a new container before its program runs is let through."""
    namespace_pid: int = 0
    """A process whose mount namespace shows containers' overlays, the service's own as a rule; 0: only those are
    marked that processes of :meth:`GateSupervisor.add_container` show."""
    is_strict: bool = False
    """A breach of the answering thread's discipline ends the gate; else it is counted."""


class GateHealth(Struct):
    """What happened to gates, beside what the running one reports."""

    starts: int = 0
    missed_deadlines: int = 0
    """Gates that their watchdog killed; what they held went on."""
    deaths: int = 0
    """Gates that ended otherwise without being asked."""
    refused: str = ""
    """Why a policy was not taken; empty when the last was."""
    unmarked: dict[int, str] = {}
    """Device of a file system that could not be marked -> why."""


class GateSupervisor:
    """One gate at a time, on the running event loop."""

    def __init__(
        self, settings: GateSettings, on_denial: DenialSink, on_end: Callable[[str], None] = ignore_end
    ) -> None:
        """``on_end`` hears why a gate has ended that should not have."""
        self._settings = settings
        self._on_denial = on_denial
        self._on_gate_end = on_end
        self._marker = Marker(HeldPaths(settings.hold_paths, settings.runtimes), settings.namespace_pid, self._send)
        self._policy: HoldPolicy | None = None
        self._containers: dict[str, HeldContainer] = {}
        self._pids: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._ready: asyncio.Future[Ready] | None = None
        self._reports: dict[int, asyncio.Future[Report]] = {}
        self._fences = 0
        self._started_s = 0.0
        self._failures = 0
        self._restart: asyncio.TimerHandle | None = None
        self._is_wanted = False
        self.health = GateHealth()
        self.readiness: Ready | None = None
        """What the running gate said of itself; None while there is none."""

    # -- life

    async def start(self) -> Ready:
        """Start a gate and wait until it answers.

        Raises:
            GateError: it does not start, or a path to be held cannot be.
        """
        try:
            self._is_wanted = True
            self._marker.start()
            return await asyncio.wait_for(self._launch(), READY_S)
        except (OSError, ValueError, TimeoutError) as error:
            await self.stop()
            raise GateError(str(error) or f"the gate was not ready within {READY_S:.0f} s") from error

    async def stop(self) -> None:
        """End the gate: it lets everything go. Twice is fine."""
        self._is_wanted = False
        self._marker.stop()
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        process, self._process = self._process, None
        if process is not None:
            self._disconnect()
            await asyncio.get_running_loop().run_in_executor(None, process.wait)

    def end(self) -> None:
        """The same without an event loop that could wait: some milliseconds. What it has said is taken before."""
        self._is_wanted = False
        self._marker.stop()
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if self._connection is not None:
            self._connection.receive()
        process, self._process = self._process, None
        if process is not None:
            self._disconnect()
            process.wait()

    def set_controller(self, controller: str) -> None:
        """Tell containers apart by another hierarchy: by another gate, and containers are told anew."""
        self._settings = msgspec.structs.replace(self._settings, controller=controller)
        self._containers.clear()
        self._pids.clear()
        process, self._process = self._process, None
        if process is not None:
            self._disconnect()
            process.wait()
            self._launch_again()

    # -- what the gate decides by

    def set_policy(self, policy: HoldPolicy) -> None:
        """Put a policy in force. Containers that it does not name are forgotten.

        Raises:
            ValueError: it is larger than a policy can be; the one in force stays.
        """
        parts = split_policy(policy)
        before = self._policy
        has_other_events = before is None or before.is_test or find_events(policy) != find_events(before)
        self._policy = msgspec.structs.replace(policy, containers=())
        self._containers = {held.cgroup_path: held for held in policy.containers}
        self._pids = {path: pid for path, pid in self._pids.items() if path in self._containers}
        self.health.refused = ""
        for part in parts:
            self._send(part)
        if has_other_events and not policy.is_test:
            self._marker.mark_everything(self._pids.values())

    def add_container(self, container: HeldContainer, pid: int) -> None:
        """Know a container, and mark the file systems that one of its processes shows (0: none is known).

        To be called when its cgroup appears, and again for the processes that enter it
        until its entry program runs: the runtime's first ones live for milliseconds, and
        the container's own tmpfs comes last.
        """
        self._containers[container.cgroup_path] = container
        self._pids[container.cgroup_path] = pid
        self._send(AddContainer(container))
        self._marker.look_at(pid)

    def mark(self, fd: int) -> None:
        """Hold what the policy asks for on the file system of this descriptor, until that ends or the gate does."""
        self._send(MarkFilesystem(os.fstat(fd).st_dev), fd)

    def look_at(self, pid: int) -> None:
        """Mark what a process shows of containers' file systems, such as a runtime in a mount namespace of its own."""
        self._marker.look_at(pid)

    def remove_container(self, cgroup_path: str) -> None:
        """Forget a container."""
        self._pids.pop(cgroup_path, None)
        if self._containers.pop(cgroup_path, None) is not None:
            self._send(RemoveContainer(cgroup_path))

    async def report(self) -> Report:
        """The gate's counters, once all that was said to it is done, marks of containers included.

        Raises:
            GateError: there is no gate, or it does not answer.
        """
        end = time.monotonic() + ANSWER_S
        while self._marker.is_busy and time.monotonic() < end:
            await asyncio.sleep(0.005)
        if self._connection is None:
            raise GateError("the gate does not run")
        self._fences += 1
        number = self._fences
        answer = self._reports[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(Fence(number))
            return await asyncio.wait_for(answer, ANSWER_S)
        except (TimeoutError, ConnectionError) as error:
            raise GateError("the gate does not answer") from error
        finally:
            del self._reports[number]

    # -- its processes

    def _launch(self) -> asyncio.Future[Ready]:
        """Start the processes, and say all that was said before."""
        self._process, end = start_gate()
        self._connection = Connection(end, self._take, self._on_end)
        self._ready = asyncio.get_running_loop().create_future()
        self._started_s = time.monotonic()
        self.health.starts += 1
        self.health.unmarked.clear()
        settings = self._settings
        files = tuple(_read_identities(settings.runtimes))
        self._send(Setup(os.getpid(), settings.deadline_ms, settings.controller, files, settings.is_strict))
        if self._policy is not None:
            whole = msgspec.structs.replace(self._policy, containers=tuple(self._containers.values()))
            for part in split_policy(whole):
                self._send(part)
            self._marker.mark_everything(self._pids.values())
        return self._ready

    def _disconnect(self) -> None:
        self.readiness = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        gone = ConnectionError("the gate has ended")
        for future in (self._ready, *self._reports.values()):
            if future is not None and not future.done():
                future.set_exception(gone)
                future.exception()  # somebody may have stopped waiting

    def _on_end(self) -> None:
        """Its socket is closed."""
        process, self._process = self._process, None
        self._disconnect()
        if process is not None:
            waiting = asyncio.get_running_loop().run_in_executor(None, process.wait)
            waiting.add_done_callback(lambda done: self._count_end(done.result()))

    def _count_end(self, status: int) -> None:
        if not self._is_wanted:
            return
        if status == End.MISSED:
            self.health.missed_deadlines += 1
        else:
            self.health.deaths += 1
        self._failures = 0 if time.monotonic() - self._started_s > _STABLE_S else self._failures + 1
        wait_s = _BACK_OFF_S[min(self._failures, len(_BACK_OFF_S)) - 1] if self._failures else 0.0
        why = _REASONS.get(status, f"it failed (status {status})")
        _LOG.warning("the gate has ended: %s; nothing is held until it runs again, in %.1f s", why, wait_s)
        self._on_gate_end(why)
        self._restart = asyncio.get_running_loop().call_later(wait_s, self._launch_again)

    def _launch_again(self) -> None:
        self._restart = None
        try:
            self._launch()
        except OSError as error:
            _LOG.error("the gate cannot be started: %s", error.strerror)
            self._restart = asyncio.get_running_loop().call_later(_BACK_OFF_S[-1], self._launch_again)

    # -- what it says

    def _send(self, command: Command, fd: int = -1) -> None:
        if self._connection is not None:
            self._connection.send(command, fd)
        elif fd >= 0:
            os.close(fd)

    def _take(self, message: Message) -> None:
        match message:
            case Denial():
                self._on_denial(message)
            case Ready():
                self.readiness = message
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(message)
            case RuntimeStarts(tid):
                self._marker.look_at(tid, LetGo(tid))
            case Marked(device, error):
                if error:
                    self.health.unmarked[device] = error
                    _LOG.warning("the file system %d:%d cannot be held: %s", os.major(device), os.minor(device), error)
            case Refused(reason):
                self.health.refused = reason
                _LOG.error("the gate has refused the policy, the old one stays: %s", reason)
            case Report(fence=fence):
                if (waiting := self._reports.get(fence)) is not None and not waiting.done():
                    waiting.set_result(message)


def _read_identities(paths: Iterable[Path]) -> Iterator[tuple[int, int]]:
    """(device, inode) of those that are there."""
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            yield status.st_dev, status.st_ino
