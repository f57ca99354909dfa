"""Who belongs together when something is to be killed: reads the process table, changes nothing.

Each looks at the whole table (some milliseconds at 65,536 processes), so they are asked
when something is carried out, and not for each event.
"""

from collections.abc import Iterable

from monitor.engine.containers import ContainerTable
from monitor.engine.processes import ProcessTable, Row
from monitor.model.container import Container
from monitor.model.ids import ProcessKey
from monitor.model.process import Process


def find_lineage_members(processes: ProcessTable, process: Process) -> list[ProcessKey]:
    """Living processes of this one's lineage, it itself included."""
    lineage = process.lineage if isinstance(process, Row) else None
    if lineage is None:
        return [process.key]
    return [row.key for row in processes.living() if row.lineage is lineage]


def find_strays(processes: ProcessTable, containers: ContainerTable, container: Container) -> list[ProcessKey]:
    """Living processes of a container that are in a cgroup which is not its."""
    strays = []
    for row in processes.living():
        if row.container is not None and row.container.id == container.id and row.runtime is None:
            cgroup = containers.find_cgroup(row.cgroup_id)
            if cgroup is not None and (cgroup.container is None or cgroup.container.id != container.id):
                strays.append(row.key)
    return strays


def find_born_of(processes: ProcessTable, keys: Iterable[ProcessKey]) -> list[tuple[ProcessKey, ProcessKey]]:
    """(process, the one of ``keys`` that it descends from) for those that live, through ended ones in between."""
    origins = {key: key for key in keys}
    found = []
    for row in sorted(processes.all_rows(), key=lambda row: row.key[1]):  # parents begin before their children
        origin = origins.get(row.parent_key) if row.parent_key is not None else None
        if origin is not None and row.key not in origins:
            origins[row.key] = origin
            if not row.exited_ktime_ns:
                found.append((row.key, origin))
    return found
