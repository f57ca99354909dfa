"""The guardrails once more, asked about each process right before it is killed.

A verdict was weighed for one process or lineage; what descends from it may be a
runtime, a login, or a container with a life of its own. Asked on the responders'
thread: reads ``/proc``, and of the engine only what one look-up answers.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from monitor.engine.cgroup_paths import find_unit
from monitor.engine.guardrails import GuardrailFacts
from monitor.host import procfs
from monitor.host.cgroups import TagHierarchy, read_memberships
from monitor.host.statx import read_file_facts
from monitor.model.container import Container
from monitor.model.ids import CgroupId, TaskFacts
from monitor.responders.ports import Spared

PROC: Final = Path("/proc")
KERNEL_TGIDS: Final = {1: "the first process", 2: "the kernel"}
LOGIN_PATH: Final = "the admin's login path"


class ResponseGuard:
    """See the module."""

    def __init__(
        self,
        facts: GuardrailFacts,
        is_host_cgroup: Callable[[CgroupId], bool],
        find_hierarchy: Callable[[], TagHierarchy],
    ) -> None:
        self._facts = facts
        self._is_host_cgroup = is_host_cgroup
        self._find_hierarchy = find_hierarchy

    def __call__(self, task: TaskFacts, container: Container | None) -> Spared | None:
        """Why to spare this process; what logs in by the login path is spared with it."""
        if reason := KERNEL_TGIDS.get(task.tgid):
            return Spared(reason, is_end=True)
        if os.getpid() in (task.tgid, task.parent_tgid):
            return Spared("the monitor itself", is_end=True)
        if container is not None:
            return None  # guardrails hold outside containers
        if not self._is_host_cgroup(task.cgroup_id):
            return Spared("a container", is_end=True)
        reason = self._find_unit_reason(task) or self._find_file_reason(task)
        return Spared(reason, is_end=reason == LOGIN_PATH) if reason else None

    def _find_unit_reason(self, task: TaskFacts) -> str:
        hierarchy = self._find_hierarchy()
        path = read_memberships(task.tgid).get(hierarchy.controller, "")
        return self._facts.protected_units.get(find_unit(hierarchy.prefix + path), "") if path else ""

    def _find_file_reason(self, task: TaskFacts) -> str:
        try:
            folder = procfs.open_process(task.tgid, PROC)
        except OSError:
            return ""
        try:
            file = read_file_facts("exe", dir_fd=folder)
        except OSError:
            return ""  # it has ended, or is the kernel's
        finally:
            os.close(folder)
        return self._facts.protected_files.get((file.device, file.inode), "")
