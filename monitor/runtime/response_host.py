"""The host as the responders see it: their ports, bound to :mod:`monitor.host` and the sensors' task iterator."""

import os
import time
from collections.abc import Callable, Iterable

from monitor.host.cgroup_folders import CgroupFolders
from monitor.host.lives import is_alive
from monitor.model.ids import TaskFacts
from monitor.responders.ports import Guard, Host


def build_response_host(list_tasks: Callable[[], Iterable[TaskFacts]], guard: Guard, *, sees_whole_host: bool) -> Host:
    """Bind. In a foreign pid namespace the iterator's process ids are not ours to signal: it then lists nobody."""
    return Host(
        folders=CgroupFolders(),
        list_tasks=list_tasks if sees_whole_host else tuple,
        is_alive=is_alive,
        guard=guard,
        now_boottime_ns=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        own_tgid=os.getpid(),
    )
