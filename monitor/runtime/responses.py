"""Between decisions and the hands that carry them out: orders go to a thread, outcomes come back as events.

A verdict or a command becomes an :class:`Order`; the worker (:mod:`monitor.responders`)
answers on its own thread; here, on the loop, the answer becomes an event that is
recorded, shown and replayed. Whom a kill has missed, because it was being forked just
then, the engine's table shows a moment later: it is killed too, in bounded rounds.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import Struct

from monitor.engine.engine import Engine
from monitor.model.alert import Verdict
from monitor.model.container import Container
from monitor.model.events import (
    AnyEvent,
    AnyResponse,
    ContainerFrozen,
    ContainerKilled,
    ContainerThawed,
    ProcessesKilled,
    ResponseFailed,
    ServiceFailure,
)
from monitor.model.ids import ProcessKey
from monitor.model.process import Context
from monitor.model.responses import COMMAND, DONE, FAILED, FREEZE, KILL, THAW, UNCHANGED, Order, Outcome
from monitor.responders.frozen import FrozenBook
from monitor.responders.ports import Host
from monitor.responders.worker import ResponseWorker
from monitor.runtime.container_names import ContainerNameError, describe, find_named
from monitor.sinks.escape import escape_text
from monitor.sinks.status import FrozenStatus

_LOG: Final = logging.getLogger(__name__)
ACTIONS: Final = frozenset({KILL, FREEZE})
"""What is carried out of verdicts."""
ACTIONS_ELSEWHERE: Final = frozenset({FREEZE})
"""In a foreign pid namespace, where the process ids of events are not ours to signal."""
CONTAINER: Final = "container"
ANSWER_S: Final = 30.0
"""For an admin's command: longer than any job takes."""
ROUNDS_MAX: Final = 5
"""Of killing what was born meanwhile."""
WATCH_TICKS: Final = 2
"""How long the killed are remembered: their forks come out of the rings within milliseconds."""
WATCHED_MAX: Final = 4_096
_NS: Final = 1_000_000_000


class _Watch(NamedTuple):
    """A killed process, whose children may still become known."""

    order: Order
    round: int
    until_tick: int


class _Pending(Struct):
    """An order that is under way."""

    round: int
    answer: "asyncio.Future[Outcome] | None" = None


class Responses:
    """The pipeline's :class:`~monitor.runtime.ports.Responder`, and what admins ask for by the control socket."""

    def __init__(self, engine: Engine, feed: Callable[[AnyEvent], None], host: Host, book: FrozenBook) -> None:
        self._engine = engine
        self._feed = feed
        self._host = host
        self._book = book
        self._worker = ResponseWorker(host, book, self._deliver)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outcomes: deque[Outcome] = deque()
        self._pending: dict[int, _Pending] = {}
        self._subjects: dict[tuple[str, str], int] = {}
        self._watched: dict[ProcessKey, _Watch] = {}
        self._next_number = 1
        self._ticks = 0
        self._is_running = False

    def start(self) -> None:
        """Begin to carry out; what was ordered before waits until now."""
        self._loop = asyncio.get_running_loop()
        self._is_running = True
        self._worker.start()

    def stop(self) -> None:
        """Finish what is under way and tell it. Twice is fine. Frozen containers stay frozen."""
        if self._is_running:
            self._is_running = False
            self._worker.stop()
            self._conclude_all()

    # --- orders ---------------------------------------------------------------------------

    def respond(self, verdict: Verdict, context: Context) -> None:
        """Order what a verdict asks for; nothing twice at a time about one subject."""
        if (verdict.action, verdict.subject_id) in self._subjects:
            return
        self._submit(
            Order(
                self._take_number(),
                verdict.action,
                verdict.subject,
                verdict.subject_id,
                context.container,
                self._find_keys(verdict.subject, context),
                verdict.for_s,
                reason=verdict.reason,
            )
        )

    async def carry_out(self, action: str, name: str, for_s: float, asked_by: str) -> dict[str, object]:
        """Do what an admin asks about a container; the answer says what came of it (docs/events.md)."""
        try:
            container = find_named(name, self._list_containers())
        except ContainerNameError as error:
            return {"result": "unknown", "action": action, "message": str(error)}
        keys = tuple(self._engine.find_strays(container)) if action != THAW else ()
        order = Order(
            self._take_number(),
            action,
            CONTAINER,
            container.id,
            container,
            keys,
            for_s,
            COMMAND,
            f"asked for by {asked_by}",
        )
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._submit(order, answer)
        try:
            outcome = await asyncio.wait_for(answer, ANSWER_S)
        except TimeoutError:
            outcome = Outcome(order, FAILED, 0, f"not done within {ANSWER_S:g} s: see `stockade status`")
        return _build_answer(outcome)

    def _submit(self, order: Order, answer: "asyncio.Future[Outcome] | None" = None, *, round_: int = 0) -> None:
        self._pending[order.number] = _Pending(round_, answer)
        self._subjects[order.action, order.subject_id] = order.number
        if not self._worker.submit(order):
            self._conclude(Outcome(order, FAILED, 0, "too many responses wait already"))

    def _take_number(self) -> int:
        number, self._next_number = self._next_number, self._next_number + 1
        return number

    def _find_keys(self, subject: str, context: Context) -> tuple[ProcessKey, ...]:
        if subject == CONTAINER:
            return () if context.container is None else tuple(self._engine.find_strays(context.container))
        return tuple(self._engine.find_lineage_members(context)) if subject == "lineage" else (context.process.key,)

    def _list_containers(self) -> list[Container]:
        """Those that run, and those that are frozen though the engine has no room for them."""
        engine = self._engine
        known = {each.id: each for each in engine.containers() if not engine.is_gone(each)}
        for entry in self._book.entries:
            if entry.container_id not in known:
                known[entry.container_id] = Container(entry.container_id, "", entry.cgroup_id, "", name=entry.name)
        return list(known.values())

    # --- outcomes -------------------------------------------------------------------------

    def _deliver(self, outcome: Outcome) -> None:
        """Called on the worker's thread."""
        self._outcomes.append(outcome)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: stop() takes what is left
                self._loop.call_soon_threadsafe(self._conclude_all)

    def _conclude_all(self) -> None:
        while self._outcomes:
            self._conclude(self._outcomes.popleft())

    def _conclude(self, outcome: Outcome) -> None:
        order = outcome.order
        pending = self._pending.pop(order.number, None)
        if self._subjects.get((order.action, order.subject_id)) == order.number:
            del self._subjects[order.action, order.subject_id]
        round_ = 0 if pending is None else pending.round
        for key in outcome.victims:
            self._watch(key, _Watch(order, round_, self._ticks + WATCH_TICKS))
        if not (round_ and outcome.result == UNCHANGED):
            event = build_event(outcome, time.clock_gettime_ns(time.CLOCK_MONOTONIC))
            _log(event)
            self._feed(event)
        if pending is not None and pending.answer is not None and not pending.answer.done():
            pending.answer.set_result(outcome)

    # --- who was born meanwhile -----------------------------------------------------------

    def on_tick(self) -> None:
        """Kill what was forked by processes that were killed just then; notice a worker that has died."""
        self._ticks += 1
        if self._watched:
            self._kill_born()
            self._watched = {key: watch for key, watch in self._watched.items() if watch.until_tick > self._ticks}
        if self._is_running and not self._worker.is_alive:
            self._is_running = False
            text = "its thread has ended: nothing is killed, frozen or thawed any more (restart the service)"
            self._feed(ServiceFailure(0, "responders", text))

    def _watch(self, key: ProcessKey, watch: _Watch) -> None:
        if len(self._watched) >= WATCHED_MAX:
            del self._watched[next(iter(self._watched))]
        self._watched[key] = watch

    def _kill_born(self) -> None:
        born: dict[int, tuple[_Watch, list[ProcessKey]]] = {}
        for key, origin in self._engine.find_born_of(self._watched):
            watch = self._watched[origin]
            born.setdefault(watch.order.number, (watch, []))[1].append(key)
        for watch, keys in born.values():
            if watch.round < ROUNDS_MAX:
                old = watch.order
                order = old._replace(
                    number=self._take_number(), keys=tuple(keys), reason=f"born while it was killed: {old.reason}"
                )
                self._submit(order, round_=watch.round + 1)

    # --- for the status -------------------------------------------------------------------

    def list_frozen(self) -> tuple[FrozenStatus, ...]:
        """The containers that are frozen now, by us."""
        now_ns = self._host.now_boottime_ns()
        return tuple(
            FrozenStatus(
                entry.container_id,
                entry.name,
                round((now_ns - entry.since_boottime_ns) / _NS, 1),
                round(max(0, entry.until_boottime_ns - now_ns) / _NS, 1) if entry.until_boottime_ns else None,
                entry.reason,
            )
            for entry in self._book.entries
        )

    @property
    def save_error(self) -> str:
        """Why a crash now would leave containers frozen for ever; empty when it would not."""
        return self._book.save_error


def build_event(outcome: Outcome, ktime_ns: int) -> AnyResponse:
    """What the stream, the recording and the engine are told."""
    order = outcome.order
    common = {
        "ktime_ns": ktime_ns,
        "subject": order.subject,
        "subject_id": order.subject_id,
        "container_id": "" if order.container is None else order.container.id,
        "asked_by": order.asked_by,
        "reason": order.reason,
        "processes": outcome.processes,
    }
    if outcome.result != DONE:
        is_needless = outcome.result == UNCHANGED
        return ResponseFailed(**common, action=order.action, error=outcome.note, is_needless=is_needless)  # type: ignore[arg-type]  # by name
    if order.action == FREEZE:
        return ContainerFrozen(**common, for_s=order.for_s, note=outcome.note)  # type: ignore[arg-type]  # by name
    if order.action == THAW:
        return ContainerThawed(**common, note=outcome.note)  # type: ignore[arg-type]  # by name
    kind = ContainerKilled if order.subject == CONTAINER else ProcessesKilled
    return kind(**common, note=outcome.note)  # type: ignore[arg-type]  # by name


def _log(event: AnyResponse) -> None:
    """In the service's log too: an admin who reads the journal must find why a container stands still."""
    if isinstance(event, ResponseFailed):
        what = f"{event.action} of {event.subject} {event.subject_id[:64]} was not done: {event.error}"
    else:
        what = f"{type(event).__name__}: {event.subject} {event.subject_id[:64]}"
    _LOG.warning("%s (%s)", escape_text(what), escape_text(event.reason))


def _build_answer(outcome: Outcome) -> dict[str, object]:
    order = outcome.order
    assert order.container is not None
    return {
        "result": outcome.result,
        "action": order.action,
        "container": {"id": order.container.id, "name": order.container.name},
        "shown": describe(order.container),
        "processes": outcome.processes,
        "for_s": order.for_s,
        "message": outcome.note,
    }
