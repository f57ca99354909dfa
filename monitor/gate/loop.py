"""The answering loop: commands of the service, events of the kernel, a beat for the watchdog."""

import os
import select
from typing import Final

import msgspec

from monitor.gate.answers import Answers
from monitor.gate.channel import Channel, ChannelClosed
from monitor.gate.discipline import Discipline
from monitor.gate.policy import EXEC, OPEN, LoadedPolicy
from monitor.gate.pulse import Pulse
from monitor.gate.starts import LOOK_MS, RuntimeHold
from monitor.gate.wire import (
    POLICY_BYTES_MAX,
    AddContainer,
    Command,
    Fence,
    LetGo,
    Marked,
    MarkFilesystem,
    MarkRuntime,
    PolicyPart,
    Refused,
    RemoveContainer,
    Report,
    Setup,
    decode_policy,
)
from monitor.host.fanotify import FAN_OPEN_EXEC_PERM, FAN_OPEN_PERM, PermissionGroup

_COMMANDS_AT_ONCE: Final = 16
"""Then what is held has its turn."""
_NS_PER_US: Final = 1000


class Loop:
    """Runs until the service has gone."""

    def __init__(
        self,
        channel: Channel,
        group: PermissionGroup,
        answers: Answers,
        discipline: Discipline,
        pulse: Pulse,
        *,
        wait_ms: int,
    ) -> None:
        """``wait_ms``: how long a runtime waits for the service at most."""
        self._channel = channel
        self._group = group
        self._answers = answers
        self._starts = RuntimeHold(channel.send, wait_ms)
        self._discipline = discipline
        self._pulse = pulse
        self._parts = bytearray()
        self._marked: set[int] = set()
        self._mask = 0
        self._last_fence = 0

    def run(self, beat_ms: int) -> None:
        """Answer until the service has gone."""
        poll = select.poll()
        poll.register(self._group, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        poll.register(self._starts, select.POLLIN)
        while True:
            ready = poll.poll(min(beat_ms, LOOK_MS) if self._starts.is_waiting else beat_ms)
            self._pulse.beat()
            for fd, _ in ready:
                if fd == self._group.fileno():
                    self._answer_events()
                elif fd == self._starts.fileno():
                    self._starts.take_events(is_needed=bool(self._mask))
                elif not self._take_commands():
                    return
            self._starts.let_go_overdue()

    def _answer_events(self) -> None:
        for event in self._group.read():
            denial = self._answers.handle(event)
            self._pulse.beat()
            if denial is not None:
                self._channel.send(denial)

    # -- commands

    def _take_commands(self) -> bool:
        """Whether the service is still there."""
        for _ in range(_COMMANDS_AT_ONCE):
            try:
                received = self._channel.receive()
            except ChannelClosed:
                return False
            if received is None:
                return True
            command, fd = received
            try:
                self._obey(command, fd)
            finally:
                if fd >= 0:
                    os.close(fd)
            self._pulse.beat()
        return True

    def _obey(self, command: Command, fd: int) -> None:
        policy = self._answers.policy
        match command:
            case PolicyPart():
                self._take_part(command)
            case AddContainer(container):
                if policy is not None and policy.add_container(container):
                    self._group.forget_ignored()
            case RemoveContainer(cgroup_path):
                if policy is not None:
                    policy.containers.pop(cgroup_path, None)
            case MarkFilesystem():
                self._mark_filesystem(command, fd)
            case MarkRuntime():
                self._starts.mark(fd)
            case LetGo(tid):
                self._starts.let_go(tid)
            case Fence(number):
                self._last_fence = number
                self._channel.send(self._report())
            case Setup():
                pass  # was the first frame; a second says nothing new

    def _take_part(self, part: PolicyPart) -> None:
        if part.is_first:
            self._parts.clear()
        if len(self._parts) + len(part.data) > POLICY_BYTES_MAX:
            self._channel.send(Refused(f"a policy of more than {POLICY_BYTES_MAX} bytes"))
            return
        self._parts += part.data
        if part.is_last:
            self._switch_policy()

    def _switch_policy(self) -> None:
        try:
            policy = LoadedPolicy(decode_policy(bytes(self._parts)))
        except (msgspec.MsgspecError, ValueError, IndexError, KeyError) as error:
            self._channel.send(Refused(f"{type(error).__name__}: {error}"))
            return
        finally:
            self._parts.clear()
        self._answers.policy = policy
        self._mask = (FAN_OPEN_EXEC_PERM if policy.plans[EXEC].terms else 0) | (
            FAN_OPEN_PERM if policy.plans[OPEN].terms else 0
        )
        self._group.forget_ignored()

    def _mark_filesystem(self, command: MarkFilesystem, fd: int) -> None:
        """As the policy in force wants it. What it does not ask for is marked no more."""
        error = ""
        try:
            for mask in (FAN_OPEN_EXEC_PERM, FAN_OPEN_PERM):
                if mask & self._mask:
                    self._group.mark_filesystem(fd, mask)
                else:
                    self._group.unmark_filesystem(fd, mask)
        except OSError as failure:
            error = failure.strerror or str(failure)
        else:
            self._marked.add(command.device)
            self._answers.host_points[command.device] = command.host_points
        self._channel.send(Marked(command.device, error))

    def _report(self) -> Report:
        counts, policy = self._answers.counts, self._answers.policy
        return Report(
            fence=self._last_fence,
            generation=policy.generation if policy else 0,
            held=counts.held,
            denied=counts.denied,
            audited=counts.audited,
            exempted=counts.exempted,
            ignored=counts.ignored,
            failed=counts.failed,
            hurried=self._starts.hurried,
            dropped=self._channel.dropped,
            breaches=self._discipline.breaches,
            last_breach=self._discipline.last_breach,
            slowest_us=counts.slowest_ns // _NS_PER_US,
            marks=len(self._marked),
        )
