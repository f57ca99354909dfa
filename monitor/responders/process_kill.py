"""Kill processes and all that descends from them, while they fork: stop first, kill when nothing new appears.

A stopped process forks no more, and as long as it lives its children show whose they
are. So: SIGSTOP to whom the orders name, look for children, stop those, until two looks
find nobody new; then SIGKILL to all. What slips through all the same (a fork that was under
way when its process was killed) the engine sees, and orders again
(:mod:`monitor.runtime.responses`).

One sweep serves all orders that wait: each look at the host's processes costs the same
for one order and for a hundred.
"""

import signal
from collections.abc import Generator, Iterable, Sequence
from typing import Final

from monitor.model.container import Container
from monitor.model.ids import ProcessKey, TaskFacts
from monitor.model.responses import DONE, FAILED, UNCHANGED, Order, Outcome
from monitor.responders.ports import Host
from monitor.responders.signals import send_signal

STOP_NS: Final = 5_000_000_000
"""For stopping a tree that keeps forking; after that it is killed as far as it is known."""
END_NS: Final = 3_000_000_000
"""For the killed ones to end."""
QUIET_LOOKS: Final = 2

Steps = Generator[None, None, list[Outcome]]
"""A job: yields where it would wait."""


class Sweep:
    """The orders of one sweep, and whom they have met."""

    def __init__(self, host: Host, orders: Sequence[Order]) -> None:
        self._host = host
        self._orders = orders
        self._wanted = {key: number for number, order in enumerate(orders) for key in order.keys}
        self._met: dict[ProcessKey, int] = {}
        """Victims, and spared ones whose descendants are victims: key -> place of the order."""
        self._victims: dict[ProcessKey, int] = {}
        self._spared: dict[ProcessKey, str] = {}
        self._errors: dict[int, str] = {}

    def run(self) -> Steps:
        """Stop, kill, wait for the end. However it ends, nobody stays merely stopped."""
        try:
            yield from self._stop_all()
        finally:
            for key, number in self._victims.items():
                self._send(key, number, signal.SIGKILL)
        alive = yield from self._await_ends()
        return [self._build_outcome(number, order, alive) for number, order in enumerate(self._orders)]

    def _stop_all(self) -> Generator[None, None, None]:
        end_ns = self._host.now_boottime_ns() + STOP_NS
        quiet = 0
        while quiet < QUIET_LOOKS and self._host.now_boottime_ns() < end_ns:
            if self._stop_new(self._host.list_tasks()):
                quiet = 0
                continue
            quiet += 1
            if quiet < QUIET_LOOKS:
                yield

    def _stop_new(self, tasks: Iterable[TaskFacts]) -> int:
        """Stop those that the orders name and all that descends from them; answer how many are new."""
        before = len(self._victims)
        children: dict[ProcessKey, list[TaskFacts]] = {}
        waiting: list[tuple[TaskFacts, int]] = []
        for task in tasks:
            key = ProcessKey(task.tgid, task.start_boottime_ns)
            children.setdefault(ProcessKey(task.parent_tgid, task.parent_start_boottime_ns), []).append(task)
            if key not in self._met and key in self._wanted:
                waiting.append((task, self._wanted[key]))
        for key, number in self._met.items():
            waiting += [(task, number) for task in children.get(key, ())]
        while waiting:
            task, number = waiting.pop()
            key = ProcessKey(task.tgid, task.start_boottime_ns)
            if key not in self._met and key not in self._spared and self._meet(task, key, number):
                waiting += [(child, number) for child in children.get(key, ())]
        return len(self._victims) - before

    def _meet(self, task: TaskFacts, key: ProcessKey, number: int) -> bool:
        """Stop it unless it is spared; answer whether to go on with its children."""
        spared = self._host.guard(task, self._orders[number].container)
        if spared is not None:
            self._spared[key] = spared.reason
            if spared.is_end:
                return False
            self._met[key] = number
            return True
        self._met[key] = number
        self._victims[key] = number
        self._send(key, number, signal.SIGSTOP)
        return True

    def _send(self, key: ProcessKey, number: int, what: signal.Signals) -> None:
        try:
            send_signal(key, what, self._host.is_alive)
        except OSError as error:
            self._errors[number] = f"process {key.tgid} cannot be signalled: {error.strerror}"

    def _await_ends(self) -> Generator[None, None, set[ProcessKey]]:
        end_ns = self._host.now_boottime_ns() + END_NS
        alive = set(self._victims)
        while alive := {key for key in alive if self._host.is_alive(key)}:
            if self._host.now_boottime_ns() >= end_ns:
                break
            yield
        return alive

    def _build_outcome(self, number: int, order: Order, alive: set[ProcessKey]) -> Outcome:
        victims = tuple(key for key, whose in self._victims.items() if whose == number)
        note = self._describe_rest(number, order, sum(key in alive for key in victims))
        if number in self._errors and not len(victims) - len(alive):
            return Outcome(order, FAILED, 0, self._errors[number], victims)
        if victims:
            return Outcome(order, DONE, len(victims), note, victims)
        return Outcome(order, UNCHANGED, 0, note or "it had ended already")

    def _describe_rest(self, number: int, order: Order, alive: int) -> str:
        parts = []
        own = [self._spared[key] for key in order.keys if key in self._spared]
        others = len({key for key in self._spared if self._met.get(key) == number}) - len(own)
        if own:
            parts.append(f"spared: {', '.join(dict.fromkeys(own))}")
        if others > 0:
            parts.append(f"{others} protected processes that descend from it were spared")
        if alive:
            parts.append(f"{alive} have not ended yet: they wait in the kernel")
        return "; ".join(parts)


def kill_processes(host: Host, orders: Sequence[Order]) -> Steps:
    """Carry out orders to kill lineages and processes; one outcome for each, in their order."""
    return Sweep(host, orders).run()


def kill_strays(host: Host, container: Container, keys: tuple[ProcessKey, ...]) -> Generator[None, None, int]:
    """Kill the processes of a container that have left its cgroup; answer how many were met."""
    order = Order(0, "kill", "container", container.id, container, keys)
    (outcome,) = yield from kill_processes(host, (order,))
    return outcome.processes
