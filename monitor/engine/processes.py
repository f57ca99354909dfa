"""The process table: who forked whom, and which program each process ran when.

Fed by fork, exec and exit, and by the start-up walk (:class:`ProcessExec` with
``from_proc``). Records of different CPUs and rings come out of order, so every
method copes with any order, and an event finds its program by ``exec_id``. What
nobody told of gets a placeholder with an empty image. What a row means for
containers and lineages is :mod:`monitor.engine.enrich`.

Source for ``exec_id``: ``task_struct.self_exec_id`` is copied at fork
(``dup_task_struct``) and incremented by each exec (``begin_new_exec``), also when
another thread than the leader executes (``de_thread`` hands pid and start time on).
"""

from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from typing import Final

from monitor.engine.earlier_images import EarlierImages, Kept, find_earlier, insert_earlier, remove_earlier
from monitor.engine.images import EMPTY_IMAGE, ImageBuilder, is_long
from monitor.engine.lineage import Lineage
from monitor.engine.long_images import LongImages
from monitor.engine.runtime_tasks import RuntimeMark
from monitor.model.container import Container
from monitor.model.events import ProcessExec, ProcessExit, ProcessFork
from monitor.model.ids import CgroupId, ProcessKey, Tgid
from monitor.model.process import Process, ProcessImage

ANCESTORS_MAX: Final = 12
"""Ancestors that an alert names."""
ANCESTOR_CHARS: Final = 256
EXITED_SHARE: Final = 8
"""At most an eighth of the table is exited processes: they are most of the memory of a host that spawns fast."""
EVICT_BATCH: Final = 512

_make_key = partial(tuple.__new__, ProcessKey)
"""``ProcessKey((tgid, start))`` without the constructor written in Python."""


class Row(Process, gc=False):
    """A process, with what the engine keeps beside it."""

    container: Container | None = None
    """The last one it ran in: a process that leaves its container's cgroup still belongs to it."""
    lineage: Lineage | None = None
    ancestors: tuple[str, ...] = ()
    """Executables, nearest first, as they were at the forks."""
    ancestors_of_children: tuple[str, ...] | None = None
    """Made at the first fork of a program."""
    runtime: RuntimeMark | None = None
    setup_before_exec_id: int = 0
    """Programs with a lower number were a container runtime's set-up steps."""
    is_placeholder: bool = False
    """Only named by others so far."""
    is_exec_id_known: bool = True
    has_exec: bool = False
    """It executed something itself."""


class ProcessTable:
    """At most ``processes_max`` rows, exited ones included; evictions are counted.

    What a process ran before is kept as long as an exited one is, in ``earlier_images_bytes`` for all.
    """

    def __init__(self, processes_max: int, earlier_images_bytes: int, exited_keep_ns: int) -> None:
        self._max = processes_max
        self._exited_max = max(1, processes_max // EXITED_SHARE)
        self._earlier = EarlierImages(earlier_images_bytes, exited_keep_ns)
        self._keep_ns = exited_keep_ns
        self._current: dict[int, Row] = {}
        self._previous: dict[tuple[int, int], Row] = {}
        """Earlier lives of pids that are in ``_current``."""
        self._expiring: deque[tuple[int, Row]] = deque()
        self._long = LongImages()
        self._victims: deque[Row] = deque()
        self._builder = ImageBuilder()
        self.evicted = 0
        self.exited_early = 0
        """Exited rows forgotten before their time, since there were too many."""
        self.exits_lost = 0
        """Processes whose pid came back before their exit did."""
        self.placeholders = 0
        self.images_forgotten = 0
        """Earlier programs forgotten before their time, since they took too much."""

    @property
    def images_cut(self) -> int:
        """Processes whose long texts were cut, since there were too many of them."""
        return self._long.cut

    def __len__(self) -> int:
        return len(self._current) + len(self._previous)

    def find(self, tgid: int, start_boottime_ns: int) -> Row | None:
        """Look up one life of a pid."""
        row = self._current.get(tgid)
        if row is not None and row.key[1] == start_boottime_ns:
            return row
        return self._previous.get((tgid, start_boottime_ns)) if self._previous else None

    def find_around(self, tgid: int, start_boottime_ns: int, within_ns: int) -> Row | None:
        """Look up a life of a pid that began then or within that time after it."""
        row = self._current.get(tgid)
        rows = chain(() if row is None else (row,), (each for (pid, _), each in self._previous.items() if pid == tgid))
        return next((each for each in rows if 0 <= each.key[1] - start_boottime_ns < within_ns), None)

    def lives_of(self, tgid: int) -> Iterator[Row]:
        """Of a pid: earlier ones first."""
        yield from (row for (pid, _), row in self._previous.items() if pid == tgid)
        if (row := self._current.get(tgid)) is not None:
            yield row

    def living(self) -> Iterator[Row]:
        """Processes that have not ended, each after the one that forked it, as a rule."""
        return (row for row in self._current.values() if not row.exited_ktime_ns)

    def all_rows(self) -> Iterator[Row]:
        """Those too that ended a moment ago."""
        return chain(self._previous.values(), self._current.values())

    def knows(self, tgid: int, start_boottime_ns: int) -> bool:
        """Whether more is known of a process than that others name it."""
        row = self.find(tgid, start_boottime_ns)
        return row is not None and not row.is_placeholder

    def get_or_add(self, tgid: Tgid, start_boottime_ns: int, exec_id: int, cgroup_id: CgroupId, ktime_ns: int) -> Row:
        """Look up, or add a placeholder for, a process that an event names."""
        row = self.find(tgid, start_boottime_ns)
        return row if row is not None else self._add_placeholder(tgid, start_boottime_ns, exec_id, cgroup_id, ktime_ns)

    def fork(self, event: ProcessFork) -> tuple[Row, Row]:
        """A process was created: (child, parent). The child shares the image that its parent had then."""
        parent = self.find(event.parent_tgid, event.parent_start_boottime_ns)
        if parent is None:
            parent = self._add_placeholder(
                event.parent_tgid,
                event.parent_start_boottime_ns,
                event.parent_exec_id,
                event.cgroup_id,
                event.ktime_ns,
            )
        image = parent.image if parent.exec_id == event.parent_exec_id else image_at(parent, event.parent_exec_id)
        ancestors = parent.ancestors_of_children
        if ancestors is None:
            ancestors = _extend_ancestors(parent)
        row = self.find(event.tgid, event.start_boottime_ns)
        if row is not None:
            self._complete(row, event, parent, image)
            return row, parent
        row = Row(
            _make_key((event.tgid, event.start_boottime_ns)),
            image,
            event.exec_id,
            event.cgroup_id,
            parent.key,
            image,
            0,
            parent.is_runtime_init,
            None,
            parent.is_service,
            parent.container,
            parent.lineage,
            ancestors,
            None,
            parent.runtime,
        )
        self._insert(row)
        if is_long(image):
            self._long.add(row)
        return row, parent

    def exec(self, event: ProcessExec) -> tuple[Row, ProcessImage]:
        """A process runs a new program, or the start-up walk found one running: (row, that program)."""
        row = self.find(event.tgid, event.start_boottime_ns)
        image = self._builder.build(event)
        if row is None:
            return self._add_executed(event, image), image
        if event.from_proc and not row.is_placeholder:
            return row, image_at(row, event.exec_id)  # the ring knew it first, and better
        if row.is_placeholder:
            self._fill(row, event, image)
        elif event.exec_id < row.exec_id and row.is_exec_id_known:
            self._insert_earlier(row, event, image)
        else:
            self._replace_image(row, event, image)
        if is_long(image):
            self._long.add(row)
        return row, image

    def exit(self, event: ProcessExit) -> Row:
        """A process ended; its row stays for a while, since file events come later."""
        row = self.find(event.tgid, event.start_boottime_ns)
        if row is None:
            row = self._add_placeholder(
                event.tgid, event.start_boottime_ns, event.exec_id, event.cgroup_id, event.ktime_ns
            )
        if not row.exited_ktime_ns:
            row.exited_ktime_ns = event.ktime_ns or 1
            self._expire_later(row, event.ktime_ns)
        return row

    def expire(self, ktime_ns: int, budget: int) -> None:
        """Forget what exited long enough ago; at most ``budget`` rows."""
        expiring = self._expiring
        while expiring and budget and expiring[0][0] <= ktime_ns:
            _, row = expiring.popleft()
            if row.exited_ktime_ns or row.is_placeholder:
                self._remove(row)
            budget -= 1
        for kept in self._earlier.expire(ktime_ns, budget):
            self._forget_image(kept)

    # --- rows -----------------------------------------------------------------------------

    def _add_executed(self, event: ProcessExec, image: ProcessImage) -> Row:
        """Add a process whose fork nobody told of: the parent is the one that the kernel shows."""
        row = Row(
            event.key,
            image,
            event.exec_id,
            event.cgroup_id,
            None,
            None,
            is_exec_id_known=not event.from_proc or event.exec_id > 0,
            has_exec=True,
        )
        self._set_parent_shown(row, event)
        self._insert(row)
        if is_long(image):
            self._long.add(row)
        return row

    def _set_parent_shown(self, row: Row, event: ProcessExec) -> None:
        if event.parent_tgid <= 0:
            return
        parent = self.find(event.parent_tgid, event.parent_start_boottime_ns)
        if parent is None:
            parent = self._add_placeholder(
                event.parent_tgid, event.parent_start_boottime_ns, 0, event.cgroup_id, event.ktime_ns
            )
            parent.is_exec_id_known = False
        row.parent_key = parent.key
        row.parent_image = parent.image
        ancestors = parent.ancestors_of_children
        row.ancestors = _extend_ancestors(parent) if ancestors is None else ancestors
        _inherit(row, parent)

    def _add_placeholder(
        self, tgid: Tgid, start_boottime_ns: int, exec_id: int, cgroup_id: CgroupId, ktime_ns: int
    ) -> Row:
        self.placeholders += 1
        key = ProcessKey(tgid, start_boottime_ns)
        row = Row(key, EMPTY_IMAGE, exec_id, cgroup_id, None, None, is_placeholder=True)
        self._insert(row)
        self._expire_later(row, ktime_ns)
        return row

    def _complete(self, row: Row, event: ProcessFork, parent: Row, image: ProcessImage) -> None:
        """The fork came after something that the child did: now its true parent is known."""
        row.parent_key = parent.key
        row.parent_image = image
        row.ancestors = _extend_ancestors(parent)
        row.ancestors_of_children = None
        if row.is_placeholder:
            row.is_placeholder = False
            row.image = image
            row.exec_id = event.exec_id
            _inherit(row, parent)
        elif event.exec_id < row.exec_id:
            self._insert_earlier(row, event, image)

    def _fill(self, row: Row, event: ProcessExec, image: ProcessImage) -> None:
        """A placeholder turns out to be a process."""
        row.is_placeholder = False
        row.image = image
        row.exec_id = event.exec_id or row.exec_id
        row.has_exec = True
        row.cgroup_id = event.cgroup_id
        row.ancestors_of_children = None
        if row.parent_key is None:
            self._set_parent_shown(row, event)

    def _replace_image(self, row: Row, event: ProcessExec, image: ProcessImage) -> None:
        if event.exec_id != row.exec_id:
            earlier_id = row.exec_id if row.is_exec_id_known else event.exec_id - 1
            insert_earlier(row, earlier_id, row.image)
            if row.has_exec:  # else it is the parent's, and takes no room of its own
                self._keep_image(row, earlier_id, row.image, event)
        row.image = image
        row.exec_id = event.exec_id
        row.is_exec_id_known = row.has_exec = True
        row.ancestors_of_children = None

    def _insert_earlier(self, row: Row, event: ProcessExec | ProcessFork, image: ProcessImage) -> None:
        exec_id = event.exec_id
        if find_earlier(row, exec_id) is None:
            insert_earlier(row, exec_id, image)
            self._keep_image(row, exec_id, image, event)

    # --- bounds ---------------------------------------------------------------------------

    def _insert(self, row: Row) -> None:
        tgid = row.key[0]
        other = self._current.get(tgid)
        if other is not None:
            row = self._displace(other, row)
        self._current[tgid] = row
        if len(self._current) + len(self._previous) > self._max:
            self._evict()

    def _displace(self, one: Row, other: Row) -> Row:
        """Two lives of one pid: the earlier one has ended, whether or not its exit was seen. Returns the later one."""
        earlier, later = (one, other) if one.key[1] <= other.key[1] else (other, one)
        self._previous[earlier.key] = earlier
        if not earlier.exited_ktime_ns:
            if not earlier.is_placeholder:
                self.exits_lost += 1
            ended = max(earlier.image.exec.ktime_ns, later.image.exec.ktime_ns, 1)
            earlier.exited_ktime_ns = ended
            self._expire_later(earlier, ended)
        return later

    def _expire_later(self, row: Row, ktime_ns: int) -> None:
        self._expiring.append((ktime_ns + self._keep_ns, row))
        if len(self._expiring) > self._exited_max:
            _, oldest = self._expiring.popleft()
            if (oldest.exited_ktime_ns or oldest.is_placeholder) and self._remove(oldest):
                self.exited_early += 1

    def _remove(self, row: Row) -> bool:
        tgid = row.key[0]
        if self._current.get(tgid) is row:
            del self._current[tgid]
        elif self._previous.get(row.key) is row:
            del self._previous[row.key]
        else:
            return False
        return True

    def _evict(self) -> None:
        """Make room for one: what has exited first, then rows of the cgroup that has most of them."""
        while self._expiring:
            _, row = self._expiring.popleft()
            if (row.exited_ktime_ns or row.is_placeholder) and self._remove(row):
                self.exited_early += 1
                return
        while self._victims:
            row = self._victims.popleft()
            if self._current.get(row.key[0]) is row:
                self.evicted += 1
                self._remove(row)
                return
        self._choose_victims()
        row = self._victims.popleft() if self._victims else next(iter(self._current.values()))
        self.evicted += 1
        self._remove(row)

    def _choose_victims(self) -> None:
        """Pick a batch at once, so that a full table costs little for each process.

        From the cgroup with most rows, so that a fork bomb evicts its own: those that never
        executed anything first, the oldest of them first; never the first process.
        """
        counts: dict[int, int] = {}
        for row in self._current.values():
            counts[row.cgroup_id] = counts.get(row.cgroup_id, 0) + 1
        heaviest = max(counts, key=lambda cgroup_id: counts[cgroup_id])
        rows = [row for row in self._current.values() if row.cgroup_id == heaviest and row.key[0] != 1]
        idle = list(islice((row for row in rows if not row.has_exec), EVICT_BATCH))
        self._victims.extend(idle or rows[:EVICT_BATCH])

    def _keep_image(self, row: Row, exec_id: int, image: ProcessImage, event: ProcessExec | ProcessFork) -> None:
        for kept in self._earlier.add(event.cgroup_id, row.key, exec_id, image, event.ktime_ns):
            self._forget_image(kept)
            self.images_forgotten += 1

    def _forget_image(self, kept: Kept) -> None:
        row = self.find(*kept.key)
        if row is not None:
            remove_earlier(row, kept.exec_id)


def image_at(row: Row, exec_id: int) -> ProcessImage:
    """The program that a process ran under this number; the empty image when that is not known any more."""
    if row.exec_id == exec_id:
        return row.image
    if not row.is_exec_id_known:
        row.exec_id = exec_id
        row.is_exec_id_known = True
        return row.image
    image = find_earlier(row, exec_id)
    return EMPTY_IMAGE if image is None else image


def _inherit(row: Row, parent: Row) -> None:
    row.container = parent.container
    row.lineage = parent.lineage
    row.runtime = parent.runtime
    row.is_runtime_init = parent.is_runtime_init
    row.is_service = parent.is_service


def _extend_ancestors(parent: Row) -> tuple[str, ...]:
    """Executables that the parent's children have above them; kept until its next program."""
    executable = parent.image.executable[-ANCESTOR_CHARS:]
    ancestors = (executable, *parent.ancestors[: ANCESTORS_MAX - 1]) if executable else parent.ancestors
    parent.ancestors_of_children = ancestors
    return ancestors
