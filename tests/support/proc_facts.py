"""Facts of running processes without the kernel's task iterator, as far as ``/proc`` has them.

Start times are cut to clock ticks (10 ms), so these keys do not join with the kernel's records; ``exec_id`` is 0.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from monitor.host import procfs
from monitor.host.cgroups import TagHierarchy, find_tag_hierarchy, read_memberships
from monitor.model.ids import CgroupId, TaskFacts, Tgid

PROC = Path("/proc")
NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def list_facts() -> Iterator[TaskFacts]:
    """Of all processes, in the order of their pids."""
    hierarchy = find_tag_hierarchy()
    for tgid in sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()):
        if facts := find_facts(tgid, hierarchy):
            yield facts


def find_facts(tgid: int, hierarchy: TagHierarchy) -> TaskFacts | None:
    """Of one process; None when it has ended."""
    stat, path = _find_stat(tgid), read_memberships(tgid).get(hierarchy.controller)
    if stat is None or path is None:
        return None
    parent = _find_stat(stat.parent_tgid)
    start, parent_start = stat.start_ticks, parent.start_ticks if parent else 0
    return TaskFacts(
        tgid=Tgid(tgid),
        start_boottime_ns=start * NS_PER_TICK,
        exec_id=0,
        cgroup_id=_find_cgroup_id(hierarchy, path),
        parent_tgid=Tgid(stat.parent_tgid),
        parent_start_boottime_ns=parent_start * NS_PER_TICK,
    )


def get_facts(tgid: int) -> TaskFacts:
    """Of a process that runs."""
    facts = find_facts(tgid, find_tag_hierarchy())
    assert facts is not None, f"process {tgid} has ended"
    return facts


def _find_stat(tgid: int) -> procfs.Stat | None:
    try:
        folder = procfs.open_process(tgid, PROC)
    except OSError:
        return None
    try:
        return procfs.read_stat(folder)
    except OSError:
        return None
    finally:
        os.close(folder)


def _find_cgroup_id(hierarchy: TagHierarchy, path: str) -> CgroupId:
    try:
        return hierarchy.build_id((hierarchy.mount / path.removeprefix(hierarchy.prefix).lstrip("/")).stat().st_ino)
    except OSError:
        return CgroupId(0)  # removed since, or outside of what the mount shows
