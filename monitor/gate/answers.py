"""Decide one held event after the other, and let the kernel forget files that no rule can name."""

import os
import time
from typing import Protocol

from msgspec import Struct

from monitor.gate.facts import HeldFacts, HostFacts
from monitor.gate.judge import judge, may_ever_match
from monitor.gate.policy import EXEC, LoadedPolicy, LoadedScope, pack_vector
from monitor.gate.task_facts import TaskGone, read_stat
from monitor.gate.wire import Denial
from monitor.host.fanotify import FAN_OPEN_EXEC_PERM, FAN_OPEN_PERM, HeldEvent
from monitor.rules.field import fold_ascii


class Group(Protocol):
    """Where answers go."""

    def answer(self, fd: int, *, allow: bool) -> None:
        """Let the thread go on, or not."""

    def ignore(self, fd: int, mask: int) -> None:
        """Hold this file no more until it changes."""


class Counts(Struct):
    """See :class:`~monitor.gate.wire.Report`."""

    held: int = 0
    denied: int = 0
    audited: int = 0
    exempted: int = 0
    ignored: int = 0
    failed: int = 0
    slowest_ns: int = 0


class Answers:
    """The policy in force, applied to what is held."""

    def __init__(self, group: Group, host: HostFacts) -> None:
        self._group = group
        self._host = host
        self.policy: LoadedPolicy | None = None
        self.host_points: dict[int, tuple[str, ...]] = {}
        """Device of a marked file system -> where the host shows it."""
        self.counts = Counts()

    def handle(self, event: HeldEvent) -> Denial | None:
        """Answer, close the descriptor, and say what is to be reported."""
        began_ns = time.monotonic_ns()
        facts = HeldFacts(event, self._host)
        is_free, denial, allow = False, None, True
        try:
            try:
                terms, scope = judge(self.policy, facts) if self.policy else (0, None)
                is_free = self.policy is not None and not terms
                if terms and scope:
                    denial = self._weigh(facts, terms, scope)
                    allow = denial is None or not denial.is_denied
            except TaskGone:
                allow, denial = False, None  # killed meanwhile: its call ends in any case
            except (OSError, ValueError):
                self.counts.failed += 1
            self._group.answer(event.fd, allow=allow)
            self._count(denial, time.monotonic_ns() - began_ns)
            if is_free and self.policy:
                self._let_forget(self.policy, event, facts)
        finally:
            os.close(event.fd)
        return denial

    def _weigh(self, facts: HeldFacts, terms: int, scope: LoadedScope) -> Denial | None:
        assert self.policy is not None
        if not self.policy.is_test and facts.find_exemption(self.policy, scope):
            self.counts.exempted += 1
            return None
        task, status = facts.task, facts.task.status
        return Denial(
            generation=self.policy.generation,
            ktime_ns=time.monotonic_ns(),
            is_denied=bool(terms & scope.enforced),
            terms=pack_vector(terms),
            event=facts.event,
            path=facts.shown_path or "",
            device=facts.status.st_dev,
            inode=facts.status.st_ino,
            tid=task.tid,
            tgid=status.tgid,
            parent_tgid=status.parent_tgid,
            start_ticks=read_stat(status.tgid).start_ticks,
            file_mode=facts.status.st_mode,
            link_count=facts.status.st_nlink,
            uid=status.uid,
            executable=task.executable,
            cgroup_id=scope.cgroup_id,
            cgroup_path=task.read_cgroup_path(self._host.controller),
        )

    def _count(self, denial: Denial | None, took_ns: int) -> None:
        if self.policy is not None and self.policy.is_test:
            return
        counts = self.counts
        counts.held += 1
        counts.slowest_ns = max(counts.slowest_ns, took_ns)
        if denial is not None:
            counts.denied += denial.is_denied
            counts.audited += not denial.is_denied

    def _let_forget(self, policy: LoadedPolicy, event: HeldEvent, facts: HeldFacts) -> None:
        """Where no rule could match the file, whatever the process and by each of the names that it has.

        A file with several links (busybox) has names that do not show here. Content that
        everybody may run under this name gains nothing by being given another.
        """
        try:
            if facts.path is None or facts.status.st_nlink != 1:
                return
            if may_ever_match(policy, facts.event, facts.path, policy.applies_anywhere):
                return  # most often: asked before what takes system calls
            home = facts.find_home()
            if home is None or self._may_host_match(policy, facts.event, facts.path, home):
                return
            self._group.ignore(event.fd, FAN_OPEN_EXEC_PERM if facts.event == EXEC else FAN_OPEN_PERM)
            self.counts.ignored += 1
        except OSError:  # the file has another mark, or memory is short: it is held again
            return

    def _may_host_match(self, policy: LoadedPolicy, event: str, path: str, device: int) -> bool:
        """By the names that the host has for a container's file."""
        points = self.host_points.get(device, ())
        return any(may_ever_match(policy, event, fold_ascii(point) + path, policy.host.applies) for point in points)
