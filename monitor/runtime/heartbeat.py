"""Does every CPU still report? A fault inside a program can silence one CPU for good, and nothing else tells.

Each beat lets short-lived threads end on some CPUs, and looks whether those of the
beat before have moved their CPUs' counts of the exit hook: a CPU has the whole time
between two beats. (The kernel keeps a recursion mark per program and CPU; a fault
while it is set leaves it set, and the program never runs on that CPU again.)
"""

import _thread
import itertools
import os
from collections.abc import Callable
from typing import Final

from monitor.bpf.sensors import Heartbeat

CPUS_A_BEAT: Final = 16
_MISSES_MAX: Final = 2
"""One miss may be a host that is too busy to run a thread within a beat."""


class CpuHeartbeat:
    """Visits some CPUs a beat, in turn."""

    def __init__(self, read_heartbeats: Callable[[], list[Heartbeat]]) -> None:
        self._read = read_heartbeats
        self._cpus = sorted(os.sched_getaffinity(0))
        self._turn = itertools.cycle(self._cpus)
        self._expected: dict[int, int] = {}
        """CPUs that were visited -> the count that must be passed by now."""
        self._misses: dict[int, int] = {}

    @property
    def silent_cpus(self) -> frozenset[int]:
        """CPUs that do not report."""
        return frozenset(cpu for cpu, misses in self._misses.items() if misses >= _MISSES_MAX)

    def beat(self) -> list[int]:
        """Judge the last visits, make the next ones; answer CPUs that have newly fallen silent."""
        before = self.silent_cpus
        counts = self._read()
        for cpu, count in self._expected.items():
            if counts[cpu].exit_hook > count:
                self._misses.pop(cpu, None)
            else:
                self._misses[cpu] = self._misses.get(cpu, 0) + 1
        self._expected = {}
        for cpu in itertools.islice(self._turn, min(CPUS_A_BEAT, len(self._cpus))):
            self._expected[cpu] = counts[cpu].exit_hook
            _thread.start_new_thread(self._visit, (cpu,))  # Thread.start() waits until it runs: seconds on a busy host
        return sorted(self.silent_cpus - before)

    def _visit(self, cpu: int) -> None:
        """Run on this CPU and end there."""
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError:
            self._expected.pop(cpu, None)  # offline, or not ours any more: nothing is expected of it
