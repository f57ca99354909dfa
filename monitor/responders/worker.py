"""The thread that carries orders out: bounded, and never waiting for one container at another's cost.

A job is a generator that yields where it would wait; all jobs go on in turn. Orders to
kill processes are taken together (:mod:`monitor.responders.process_kill`). Deadlines are
kept here too, so that a frozen container is thawed whatever the event loop does.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from monitor.model.container import Container
from monitor.model.responses import (
    DEADLINE,
    DONE,
    FREEZE,
    KILL,
    THAW,
    FrozenContainer,
    Order,
    Outcome,
)
from monitor.responders.container_jobs import (
    Job,
    NotOurs,
    adopt_entry,
    fail,
    freeze_container,
    kill_container,
    thaw_container,
)
from monitor.responders.frozen import FrozenBook
from monitor.responders.ports import Host
from monitor.responders.process_kill import Steps, kill_processes

_LOG: Final = logging.getLogger(__name__)
WAITING_MAX: Final = 1_024
"""Orders that may wait; one more is refused."""
JOBS_MAX: Final = 64
"""Under way at once."""
STEP_S: Final = 0.01
LOOK_S: Final = 5.0
"""How often frozen containers are looked at: somebody else may have thawed them."""
RETRY_S: Final = 30.0
"""After a thaw at its deadline that failed."""
STOP_S: Final = 4.0
CONTAINER: Final = "container"
_NS: Final = 1_000_000_000

Deliver = Callable[[Outcome], None]


class _Running(Struct):
    """A job, and the orders that it serves."""

    orders: tuple[Order, ...]
    steps: Job | Steps


class ResponseWorker:
    """``deliver`` is called on the worker's thread, once for each order that was taken."""

    def __init__(self, host: Host, book: FrozenBook, deliver: Deliver) -> None:
        self._host = host
        self._book = book
        self._deliver = deliver
        self._waiting: queue.Queue[Order | None] = queue.Queue(WAITING_MAX)
        self._jobs: list[_Running] = []
        self._thread = threading.Thread(target=self._run, name="responders", daemon=True)
        self._is_stopping = threading.Event()
        self._look_at_ns = 0
        self._not_before_ns: dict[str, int] = {}

    def start(self) -> None:
        """Adopt what an earlier run left frozen, and take orders."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(self, order: Order) -> bool:
        """Take an order, without waiting; False when too many wait already."""
        try:
            self._waiting.put_nowait(order)
        except queue.Full:
            return False
        return True

    def stop(self) -> None:
        """Finish what is under way, for a bounded time. Frozen containers stay frozen."""
        self._is_stopping.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)  # waits no longer
        if self._thread.is_alive():
            self._thread.join(STOP_S + 1)

    # --- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        self._book.load()
        for entry in self._book.entries:
            if adopt_entry(self._host, self._book, entry):
                _LOG.warning("container %s is still frozen: %s", entry.container_id, entry.reason)
        while not self._is_stopping.is_set():
            self._begin(self._take())
            self._step()
            self._look_after_frozen()
        end = time.monotonic() + STOP_S
        while self._jobs and time.monotonic() < end:
            self._step()
            time.sleep(STEP_S)
        for job in self._jobs:
            job.steps.close()

    def _take(self) -> list[Order]:
        """Wait for an order, a step's time or a deadline; take all that wait, as far as there is room for jobs."""
        orders: list[Order | None] = []
        room = JOBS_MAX - len(self._jobs)
        if room <= 0:
            time.sleep(STEP_S)
            return []
        with contextlib.suppress(queue.Empty):
            orders.append(self._waiting.get(timeout=STEP_S if self._jobs else self._find_pause_s()))
            while len(orders) < room:
                orders.append(self._waiting.get_nowait())
        return [order for order in orders if order is not None]

    def _find_pause_s(self) -> float:
        """Half a second at most, so that a stop is noticed."""
        now_ns = self._host.now_boottime_ns()
        due = [entry.until_boottime_ns - now_ns for entry in self._book.entries if entry.until_boottime_ns]
        return min(0.5, max(STEP_S, min(due, default=_NS) / _NS))

    def _begin(self, orders: Iterable[Order]) -> None:
        kills: list[Order] = []
        for order in orders:
            if order.subject != CONTAINER:
                kills.append(order)
            else:
                self._jobs.append(_Running((order,), self._build_job(order)))
        if kills:
            self._jobs.append(_Running(tuple(kills), kill_processes(self._host, kills)))

    def _build_job(self, order: Order) -> Job:
        jobs = {FREEZE: freeze_container, THAW: thaw_container, KILL: kill_container}
        return jobs[order.action](self._host, self._book, order)

    def _step(self) -> None:
        """Let every job go on; of those about one container only the first."""
        going: list[_Running] = []
        busy: set[str] = set()
        for job in self._jobs:
            container_id = job.orders[0].subject_id if job.orders[0].subject == CONTAINER else ""
            if container_id in busy or self._goes_on(job):
                going.append(job)
                if container_id:
                    busy.add(container_id)
        self._jobs = going

    def _goes_on(self, job: _Running) -> bool:
        try:
            next(job.steps)
        except StopIteration as end:
            self._finish(end.value if isinstance(end.value, list) else [end.value])
        except (OSError, NotOurs, ValueError) as error:
            self._finish([fail(order, error) for order in job.orders])
        else:
            return True
        return False

    def _finish(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self._deliver(outcome)

    # --- who is frozen --------------------------------------------------------------------

    def _look_after_frozen(self) -> None:
        now_ns = self._host.now_boottime_ns()
        for entry in self._book.find_due(now_ns):
            if now_ns >= self._not_before_ns.get(entry.container_id, 0):
                self._not_before_ns[entry.container_id] = now_ns + int(RETRY_S * _NS)
                order = _build_thaw(entry)
                self._jobs.append(_Running((order,), self._build_job(order)))
        if now_ns >= self._look_at_ns:
            self._look_at_ns = now_ns + int(LOOK_S * _NS)
            self._not_before_ns = {key: at for key, at in self._not_before_ns.items() if self._book.find(key)}
            self._find_thawed()

    def _find_thawed(self) -> None:
        """Tell of those that somebody else has thawed."""
        busy = {order.subject_id for job in self._jobs for order in job.orders}
        for entry in self._book.entries:
            if entry.container_id not in busy and not adopt_entry(self._host, self._book, entry):
                self._deliver(
                    Outcome(_build_thaw(entry), DONE, 0, "not by stockade: somebody else thawed it, or it ended")
                )


def _build_thaw(entry: FrozenContainer) -> Order:
    container = Container(entry.container_id, "", entry.cgroup_id, "", name=entry.name)
    reason = "its time is over"
    return Order(0, THAW, CONTAINER, entry.container_id, container, asked_by=DEADLINE, reason=reason)
