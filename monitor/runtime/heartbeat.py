"""Does every CPU still report? A fault inside a program can silence one CPU for good, and nothing else tells.

Each beat pins a short-lived thread to one CPU; its end must move that CPU's count
of the exit hook. (The kernel keeps a recursion mark per program and CPU; a fault
while it is set leaves it set.)
"""

import os
import threading
from collections.abc import Callable

from monitor.bpf.sensors import Heartbeat


class CpuHeartbeat:
    """Visits one CPU a beat, in turn."""

    def __init__(self, read_heartbeats: Callable[[], list[Heartbeat]]) -> None:
        self._read = read_heartbeats
        self._cpus = sorted(os.sched_getaffinity(0))
        self._next = 0
        self.silent_cpus: set[int] = set()

    def beat(self) -> int | None:
        """Look at the next CPU; answer its number when it has newly fallen silent."""
        cpu = self._cpus[self._next % len(self._cpus)]
        self._next += 1
        before = self._read()[cpu]
        if not _exit_on(cpu):
            return None
        if self._read()[cpu].exit_hook > before.exit_hook:
            self.silent_cpus.discard(cpu)
            return None
        is_new = cpu not in self.silent_cpus
        self.silent_cpus.add(cpu)
        return cpu if is_new else None


def _exit_on(cpu: int) -> bool:
    """Let a thread end on this CPU; False when it could not get there (taken offline, cpuset)."""
    there = threading.Event()

    def visit() -> None:
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError:
            return
        there.set()

    thread = threading.Thread(target=visit, name="heartbeat")
    thread.start()
    native_id = thread.native_id
    thread.join(1.0)
    _wait_gone(native_id)
    return there.is_set()


def _wait_gone(native_id: int | None) -> None:
    """``join`` returns before the kernel's exit hook has run: wait until the task is gone from ``/proc``."""
    for _ in range(200):
        if native_id is None or not os.path.exists(f"/proc/self/task/{native_id}"):  # noqa: PTH110  (a hot path)
            return
        os.sched_yield()
