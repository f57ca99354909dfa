"""Turn what the gate says into events, and fold what it says again and again. Pure but for the ids that it asks for."""

import os
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct, structs

from monitor.gate import wire
from monitor.gate.policy import unpack_vector
from monitor.model.events import Denial
from monitor.model.ids import CgroupId, Tgid, Tid
from monitor.model.process import Process
from monitor.rules.tiers import HOLD

NS_PER_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
FOLD_NS: Final = 1_000_000_000
"""Equal denials within this time are one event, and another with their number."""
KEYS_MAX: Final = 256
"""Different ones in that time: of more, a container's are folded whatever they are."""


class HeldTaskIds(Struct, frozen=True):
    """How the sensors name a task that was held."""

    start_boottime_ns: int
    exec_id: int
    cgroup_id: CgroupId


class ProcessTable(Protocol):
    """What this needs of the engine."""

    def find_process(self, tgid: int, start_boottime_ns: int, within_ns: int) -> Process | None:
        """The life of a pid that began then or within that time after it."""

    def find_cgroup_id(self, path: str) -> CgroupId | None:
        """The cgroup at a path below its hierarchy's root."""


def find_task_ids(table: ProcessTable, denial: wire.Denial, cgroup_path: str) -> HeldTaskIds:
    """By the program that it ran while it was held; it may have executed another since."""
    started_ns = denial.start_ticks * NS_PER_TICK
    process = table.find_process(denial.tgid, started_ns, NS_PER_TICK)
    if process is None:
        cgroup_id = table.find_cgroup_id(cgroup_path)
        return HeldTaskIds(started_ns, 0, CgroupId(denial.cgroup_id) if cgroup_id is None else cgroup_id)
    has_gone_on = process.image.exec.ktime_ns > denial.ktime_ns
    exec_id = process.exec_id - 1 if has_gone_on else process.exec_id
    return HeldTaskIds(process.key.start_boottime_ns, exec_id, process.cgroup_id)


class _Fold(Struct):
    since_ns: int
    last: Denial
    more: int = 0


class DenialFolder:
    """Lets the first of equal denials through at once, and tells of the others together."""

    def __init__(self, feed: Callable[[Denial], None]) -> None:
        self._feed = feed
        self._folds: dict[tuple[object, ...], _Fold] = {}

    def take(self, denial: Denial, executable: str) -> None:
        """One more."""
        key: tuple[object, ...] = (denial.cgroup_id, denial.action, denial.path, denial.uid, executable, denial.terms)
        if key not in self._folds and len(self._folds) >= KEYS_MAX:
            key = (denial.cgroup_id,)
        fold = self._folds.get(key)
        if fold is None:
            self._folds[key] = _Fold(denial.ktime_ns, denial)
            self._feed(denial)
        else:
            fold.last, fold.more = denial, fold.more + 1

    def tell(self, now_ktime_ns: int) -> None:
        """Tell of those whose time is over."""
        for key, fold in [each for each in self._folds.items() if now_ktime_ns - each[1].since_ns >= FOLD_NS]:
            del self._folds[key]
            if fold.more:
                self._feed(structs.replace(fold.last, count=fold.more))


def build_denial(denial: wire.Denial, ids: HeldTaskIds) -> Denial:
    """The event of a denial."""
    terms = unpack_vector(denial.terms)
    return Denial(
        ktime_ns=denial.ktime_ns,
        cpu=0,
        sequence=0,
        cgroup_id=ids.cgroup_id,
        tgid=Tgid(denial.tgid),
        tid=Tid(denial.tid),
        start_boottime_ns=ids.start_boottime_ns,
        exec_id=ids.exec_id,
        uid=denial.uid,
        path=denial.path,
        action=denial.event,
        tier=HOLD,
        generation=denial.generation,
        terms=tuple(number for number in range(terms.bit_length()) if terms >> number & 1),
        inode=denial.inode,
        device=denial.device,
        file_mode=denial.file_mode,
        is_deleted=denial.link_count == 0,
        is_path_truncated=not denial.path,
    )
