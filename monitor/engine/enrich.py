"""Join an event with its process and its container: event in, :class:`Context` out.

Owns what connects the tables: which container a process is in (and stays in, when
it leaves the cgroup), where a runtime's set-up task makes a container out of a
cgroup with a free name, and where a lineage begins. The tables themselves are
:mod:`monitor.engine.processes` and :mod:`monitor.engine.containers`.
"""

from monitor.engine.access_targets import AccessTargets, needs_target
from monitor.engine.cgroup_paths import find_unit, is_host_name
from monitor.engine.containers import Cgroup, ContainerTable
from monitor.engine.guardrails import GuardrailFacts
from monitor.engine.lineage import LOGIN_UID_UNSET, Lineage, start_lineage
from monitor.engine.processes import ProcessTable, Row, image_at
from monitor.engine.runtime_tasks import RUNTIME_NAMES, SETUP_NS_MAX, find_caller, mark_exec
from monitor.model.container import Container
from monitor.model.effects import Effect
from monitor.model.events import (
    BulkEvent,
    CgroupAttach,
    Denial,
    ProcessAccess,
    ProcessExec,
    ProcessExecFailed,
    ProcessExit,
    ProcessFork,
)
from monitor.model.ids import CgroupId
from monitor.model.process import Context, ProcessImage

KERNEL_PARENTS = 2
"""Tgids 1 and 2 (the first process, the kernel's thread parent) give their children no lineage."""


class Enricher:
    """Has the last word on who did it and where. One method an event class."""

    def __init__(
        self, processes: ProcessTable, containers: ContainerTable, facts: GuardrailFacts, *, boot_id: str
    ) -> None:
        self._processes = processes
        self._containers = containers
        self._targets = AccessTargets(processes)
        self._boot_id = boot_id
        self.facts = facts
        self.unknown_cgroups = 0
        """Events from cgroups that nothing told of."""

    def fork(self, event: ProcessFork, effects: list[Effect]) -> Context:
        """The context of a fork: the child's."""
        row, parent = self._processes.fork(event)
        if event.cgroup_id != parent.cgroup_id and row.runtime is not None:
            self._promote(row, event.cgroup_id, effects)  # clone3 put it there
        container = self._find_container(row, event.cgroup_id)
        return self._build(event, row, row.image, container)

    def exec(self, event: ProcessExec, effects: list[Effect]) -> Context:
        """The context of an exec: the new program's."""
        if event.from_proc and self._processes.knows(event.tgid, event.start_boottime_ns):
            return self._find_again(event, effects)
        row, image = self._processes.exec(event)
        if image is not row.image:  # a late record of an earlier program
            container = self._find_container(row, event.cgroup_id)
            is_setup = event.exec_id < row.setup_before_exec_id
            return Context(event, row, image, row.parent_image, container, is_setup, self._boot_id)
        if event.from_proc:
            self._promote_found(row, event, effects)
        row.cgroup_id = event.cgroup_id
        cgroup = self._containers.find_cgroup(event.cgroup_id)
        self._mark(row, event, image, cgroup)
        container = self._place(row, cgroup)
        if row.runtime is None or container is None:
            self._settle_lineage(row, event, container, cgroup)
        if row.key in self.facts.service_keys:
            row.is_service = True
        return self._build(event, row, image, container)

    def _find_again(self, event: ProcessExec, effects: list[Effect]) -> Context:
        """A walk met a process that is known: only the cgroup is news, in a hierarchy that was not looked at before."""
        row, _ = self._processes.exec(event)
        self._promote_found(row, event, effects)
        row.cgroup_id = event.cgroup_id
        cgroup = self._containers.find_cgroup(event.cgroup_id)
        container = self._place(row, cgroup)
        if row.runtime is None or container is None:
            self._settle_lineage(row, event, container, cgroup)
        return Context(event, row, row.image, row.parent_image, container)

    def task(self, event: ProcessExecFailed | ProcessExit | Denial, row: Row) -> Context:
        """The context of what happened in a program that runs already."""
        image = row.image if event.exec_id == row.exec_id else image_at(row, event.exec_id)
        container = self._find_container(row, event.cgroup_id)
        return self._build(event, row, image, container)

    def attempt(self, event: ProcessExecFailed | Denial) -> Context:
        """The context of what did not happen: the program that tried."""
        row = self._processes.get_or_add(
            event.tgid, event.start_boottime_ns, event.exec_id, event.cgroup_id, event.ktime_ns
        )
        return self.task(event, row)

    def exit(self, event: ProcessExit) -> Context:
        """The context of an exit."""
        return self.task(event, self._processes.exit(event))

    def bulk(self, event: BulkEvent, *, is_last_call: bool) -> Context | None:
        """The context of an event; None when its program or cgroup is not known *yet* (unless ``is_last_call``)."""
        row = self._processes.find(event.tgid, event.start_boottime_ns)
        if not is_last_call and (
            row is None
            or (event.exec_id > row.exec_id and row.is_exec_id_known)
            or (row.is_placeholder and not row.exited_ktime_ns)
            or event.cgroup_id != row.cgroup_id  # it was moved, and that may make a container of its cgroup
            or self._containers.find_cgroup(event.cgroup_id) is None
            or (type(event) is ProcessAccess and needs_target(event))  # whose exec may not have been read
        ):
            return None
        if row is None:
            row = self._processes.get_or_add(
                event.tgid, event.start_boottime_ns, event.exec_id, event.cgroup_id, event.ktime_ns
            )
        row.cgroup_id = event.cgroup_id  # should its move have been lost
        image = row.image if event.exec_id == row.exec_id else image_at(row, event.exec_id)
        container = self._find_container(row, event.cgroup_id)
        if type(event) is ProcessAccess and needs_target(event):
            event = self._targets.complete(event, image)
        return self._build(event, row, image, container)

    def attach(self, event: CgroupAttach, effects: list[Effect]) -> Context | None:
        """A task moved. Returns a context when it left its container by that."""
        cgroup = self._containers.find_cgroup(event.cgroup_id)
        if cgroup is None:
            cgroup = self._containers.create(event.cgroup_id, event.path, effects)
        row = self._processes.find(event.tgid, event.start_boottime_ns)
        if row is None:
            return None
        row.cgroup_id = event.cgroup_id
        if row.runtime is not None:
            self._promote(row, event.cgroup_id, effects)
            return None
        own = row.container
        if own is None or (cgroup.container is not None and cgroup.container.id == own.id):
            return None
        return Context(event, row, row.image, row.parent_image, own, boot_id=self._boot_id)

    def get_lineage(self, row: Row, ktime_ns: int) -> Lineage:
        """The lineage of a process; begun now when it has none (its exec was never seen)."""
        if row.lineage is None:
            container_id = "" if row.container is None else row.container.id
            self._start_lineage(row, ktime_ns, container_id, "", LOGIN_UID_UNSET)
        assert row.lineage is not None
        return row.lineage

    # --- containers -----------------------------------------------------------------------

    def _find_container(self, row: Row, cgroup_id: CgroupId) -> Container | None:
        return self._place(row, self._containers.find_cgroup(cgroup_id))

    def _place(self, row: Row, cgroup: Cgroup | None) -> Container | None:
        """The container of a task in this cgroup; one that has left its container's cgroup still is the container's."""
        if cgroup is None:
            self.unknown_cgroups += 1
            container = None
        else:
            container = cgroup.container
        if container is None:
            own = row.container
            if own is None:
                return None
            return self._containers.find_container(own.id) or own
        if row.container is not container and row.runtime is None:
            row.container = container
        return container

    def _build(
        self,
        event: ProcessFork | ProcessExec | ProcessExecFailed | ProcessExit | BulkEvent | Denial,
        row: Row,
        image: ProcessImage,
        container: Container | None,
    ) -> Context:
        """The context, with whether a runtime's own set-up step did this, in the container that it sets up."""
        if container is None:
            is_setup = False
        elif row.runtime is None:
            is_setup = event.exec_id < row.setup_before_exec_id
        else:
            is_setup = event.ktime_ns - row.image.exec.ktime_ns < SETUP_NS_MAX
        return Context(event, row, image, row.parent_image, container, is_setup, self._boot_id)

    def _mark(self, row: Row, event: ProcessExec, image: ProcessImage, cgroup: Cgroup | None) -> None:
        """Whether this program is a container runtime (see :mod:`monitor.engine.runtime_tasks`)."""
        earlier = row.runtime
        files = self.facts.runtime_files
        if earlier is None and image.name not in RUNTIME_NAMES and (event.device, event.inode) not in files:
            return
        in_container = row.container is not None or (cgroup is not None and cgroup.container is not None)
        mark = mark_exec(event, image, earlier, row.parent_image, files, in_container=in_container)
        row.runtime = mark
        row.is_runtime_init = mark is not None
        if earlier is not None and mark is None:
            row.setup_before_exec_id = event.exec_id

    def _promote(self, row: Row, cgroup_id: CgroupId, effects: list[Effect]) -> None:
        """A runtime's task is in this cgroup: if root put it there, that makes it a container's."""
        mark = row.runtime
        cgroup = self._containers.find_cgroup(cgroup_id)
        if mark is None or not mark.is_root or cgroup is None or cgroup.container is not None:
            return
        if cgroup_id != mark.home_cgroup_id and not is_host_name(cgroup.path):
            self._containers.promote(cgroup_id, mark.caller, effects)

    def _promote_found(self, row: Row, event: ProcessExec, effects: list[Effect]) -> None:
        """A container with a free name that ran before we did: the first process of its own pid namespace."""
        cgroup = self._containers.find_cgroup(event.cgroup_id)
        if cgroup is None or cgroup.container is not None or event.namespace_tgid != 1 or event.tgid == 1:
            return
        if not self._is_apart(row, event, cgroup):
            return
        self._containers.promote(event.cgroup_id, find_caller(row.parent_image), effects)

    def _is_apart(self, row: Row, event: ProcessExec, cgroup: Cgroup) -> bool:
        """Own cgroup and mount namespace, not below a systemd unit (a browser's sandbox has pid 1 too)."""
        if is_host_name(cgroup.path) or find_unit(cgroup.path) != cgroup.path:
            return False
        parent = None if row.parent_key is None else self._processes.find(*row.parent_key)
        if parent is None:
            return True
        return parent.cgroup_id != event.cgroup_id and parent.image.exec.namespaces.mnt != event.namespaces.mnt

    # --- lineages -------------------------------------------------------------------------

    def _settle_lineage(self, row: Row, event: ProcessExec, container: Container | None, cgroup: Cgroup | None) -> None:
        """Begin a lineage if this program begins one (see :mod:`monitor.engine.lineage`)."""
        lineage = row.lineage
        if container is not None:
            if lineage is None or lineage.container_id != container.id:
                self._start_lineage(row, event.ktime_ns, container.id, "", event.login_uid)
            return
        unit = cgroup.unit if cgroup is not None else "" if lineage is None else lineage.unit
        if (
            lineage is not None
            and lineage.unit == unit
            and not (lineage.login_uid == LOGIN_UID_UNSET != event.login_uid)
            and (lineage.root[0] > KERNEL_PARENTS or lineage.root == row.key)
        ):
            return
        self._start_lineage(row, event.ktime_ns, "", unit, event.login_uid)

    def _start_lineage(self, row: Row, ktime_ns: int, container_id: str, unit: str, login_uid: int) -> None:
        above = row.lineage
        if above is not None and above.root[0] <= KERNEL_PARENTS:
            above = None
        row.lineage = start_lineage(
            Lineage(row.key, row.exec_id, ktime_ns, container_id, unit, login_uid, above, row.image)
        )
