"""Walk in what exists already, and notice when containers turn out to have their cgroups in another hierarchy.

Which hierarchy a runtime uses shows when its first container runs (hybrid hosts whose
runtime joins v1 alone): an exec in a mount namespace of its own, in a cgroup that
counts as the host's. It is looked at before the engine sees it, so that this exec is
judged as the container's already.

At a change the tree is walked again into the same tables. Records that wait in the
rings have tags of before; the hierarchy's number in each cgroup id tells.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from msgspec import structs

from monitor.host.cgroups import (
    TagHierarchy,
    find_alternative,
    find_host_mount_namespaces,
    recheck_hierarchy,
    walk_cgroups,
)
from monitor.host.proc import snapshot_processes
from monitor.model.events import AnyEvent, CgroupCreate, CgroupRemove, ProcessExec
from monitor.model.ids import CgroupId, ProcessKey, TaskFacts

_LOG: Final = logging.getLogger(__name__)
_NS: Final = 1_000_000_000
_PROC: Final = Path("/proc")
CHECKS_PER_S: Final = 30
"""Of one mount namespace each: a look takes some 0.3 ms, and who makes namespaces must not keep us busy."""
FULL_CHECK_EVERY_NS: Final = 10 * _NS
"""What was passed over is made up for by a look at all processes, not more often than this."""
SETTLE_NS: Final = 2 * _NS
"""Records with tags of before are expected for so long after a change."""


class Tagger(Protocol):
    """What this needs of the sensors."""

    def read_tasks(self) -> list[TaskFacts]:
        """All processes, with the cgroups that they are in now."""

    def set_tag_hierarchy(self, hierarchy: TagHierarchy) -> None:
        """Tag by this hierarchy from now on."""


class Tagging:
    """Owns the choice of the hierarchy. ``feed`` takes events that user space makes, past :meth:`admit`."""

    def __init__(
        self,
        hierarchy: TagHierarchy,
        sensors: Tagger,
        feed: Callable[[AnyEvent], None],
        is_host_cgroup: Callable[[CgroupId], bool],
        *,
        proc: Path = _PROC,
    ) -> None:
        self.hierarchy = hierarchy
        self.replaced: TagHierarchy | None = None
        """What it was at first, if it has changed."""
        self._sensors = sensors
        self._feed = feed
        self._is_host_cgroup = is_host_cgroup
        self._proc = proc
        self._alternative = find_alternative(hierarchy, proc)
        self._host_namespaces = find_host_mount_namespaces(proc)
        self._window_ktime_ns = 0
        self._window_namespaces: set[int] = set()
        self._is_full_check_due = True  # containers may have come since the choice was made
        self._full_check_ktime_ns = 0
        self._found: dict[ProcessKey, CgroupId] = {}
        """After a change, for a while: the processes that the walk has found."""
        self._settled_ktime_ns = 0

    @property
    def is_watching(self) -> bool:
        """Whether records go through :meth:`admit`; at last never again: there is one other hierarchy at most."""
        return self._alternative is not None or bool(self._found)

    def walk_in(self) -> list[TaskFacts]:
        """What exists already, as events: cgroups first, so that each process finds its container.

        Raises:
            OSError: the hierarchy or the kernel's list of tasks cannot be read.
        """
        for cgroup in walk_cgroups(self.hierarchy):
            self._feed(cgroup)
        tasks = self._sensors.read_tasks()
        for process in snapshot_processes(tasks, self._proc):
            self._feed(process)
        return tasks

    def admit(self, event: AnyEvent) -> AnyEvent | None:
        """What the engine is to see of a record: the same event, one with the new tag, or nothing."""
        if isinstance(event, ProcessExec):
            if self._alternative is not None and self._shows_alternative(event):
                self._change(self._alternative)
            return self._retag(event)
        if isinstance(event, CgroupCreate) and self._is_old(event.cgroup_id):
            return None  # no record would ever tell of its end
        return event

    def on_tick(self, ktime_ns: int) -> None:
        """Look at all processes if some could not be looked at; forget what only the change needed."""
        if self._found and ktime_ns > self._settled_ktime_ns:
            self._found = {}
        if self._alternative is None or not self._is_full_check_due or ktime_ns < self._full_check_ktime_ns:
            return
        self._is_full_check_due = False
        self._full_check_ktime_ns = ktime_ns + FULL_CHECK_EVERY_NS
        if recheck_hierarchy(self.hierarchy, None, self._proc) != self.hierarchy:
            self._change(self._alternative)

    # --- inside ---------------------------------------------------------------------------

    def _shows_alternative(self, event: ProcessExec) -> bool:
        """Whether this process is in a container's cgroup that only the other hierarchy has."""
        namespace, looked_at = event.namespaces.mnt, self._window_namespaces
        if namespace in self._host_namespaces or not self._is_host_cgroup(event.cgroup_id):
            return False
        if event.ktime_ns - self._window_ktime_ns >= _NS:
            self._window_ktime_ns = event.ktime_ns
            looked_at.clear()
        if namespace in looked_at:
            return False
        if len(looked_at) >= CHECKS_PER_S:
            self._is_full_check_due = True
            return False
        looked_at.add(namespace)
        if recheck_hierarchy(self.hierarchy, [event.tgid], self._proc) != self.hierarchy:
            return True
        self._is_full_check_due |= not (self._proc / str(event.tgid)).exists()  # it has ended: no answer
        return False

    def _change(self, new: TagHierarchy) -> None:
        """Tag by another hierarchy: the kernel side first, then the tables.

        The old tree is listed before. What is made in it after that is told of by a record that
        :meth:`admit` drops, so that nothing stays in the tables for ever.
        """
        old = self.hierarchy
        try:
            gone = list(walk_cgroups(old))
            self._sensors.set_tag_hierarchy(new)
            self.hierarchy = new
            tasks = self.walk_in()
        except OSError as error:
            self._sensors.set_tag_hierarchy(old)
            self.hierarchy, self._alternative = old, None
            _LOG.warning("containers have cgroups in %s at %s, which cannot be read: %s", new.name, new.mount, error)
            return
        now = time.monotonic_ns()
        for cgroup in gone:
            self._feed(CgroupRemove(now, cgroup.cgroup_id, cgroup.path))
        self.replaced, self._alternative = old, None
        self._found = {ProcessKey(task.tgid, task.start_boottime_ns): task.cgroup_id for task in tasks}
        self._settled_ktime_ns = now + SETTLE_NS
        _LOG.warning(
            "containers have cgroups of their own in %s, not in %s: events are tagged by %s at %s from now on",
            *(new.name, old.name, new.name, new.mount),
        )

    def _retag(self, event: ProcessExec) -> ProcessExec:
        """An exec from before the change: a container's first, whose process the walk has found in its cgroup."""
        if not self._is_old(event.cgroup_id):
            return event
        cgroup_id = self._found.get(event.key)
        return event if cgroup_id is None else structs.replace(event, cgroup_id=cgroup_id)

    def _is_old(self, cgroup_id: CgroupId) -> bool:
        return bool(self._found) and not self.hierarchy.is_of(cgroup_id)
