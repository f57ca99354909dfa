"""The observing sensors: load the linked object, attach what is needed, read what it counts.

Decides nothing about events: rings go to the runtime, losses and heartbeats come
back as plain numbers.
"""

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from monitor.bpf import change_source, tracefs
from monitor.bpf.features import VMLINUX_BTF
from monitor.bpf.libbpf import BpfObject, LibbpfError
from monitor.bpf.losses import LossReader
from monitor.bpf.object_settings import pack_tag_hierarchy, prepare_records
from monitor.bpf.open_policy import make_seed
from monitor.bpf.own_tasks import mark_own_process
from monitor.bpf.ring import Ring
from monitor.config.settings import LimiterSettings, RingSettings
from monitor.model.events import LossReport
from monitor.model.ids import CgroupId, FileIdentity, TaskFacts
from monitor.wire import _layout as layout

_FILE_IDENTITY: Final = layout.STRUCTS["file_identity"]
_TASK_FACTS: Final = layout.STRUCTS["task_facts"]
_COUNTER_OWN_EVENTS: Final = 0
_COUNTER_FORK_HOOK: Final = 1
_COUNTER_EXIT_HOOK: Final = 2

PROCESS_PROGRAMS: Final = ("on_process_fork", "on_process_exec", "on_process_exit")
CGROUP_PROGRAMS: Final = ("on_cgroup_create", "on_cgroup_remove", "on_cgroup_attach")
FAILED_EXEC_PROGRAMS: Final = ("on_execve_failed", "on_execveat_failed")
OPEN_PROGRAMS: Final = {"cast": "on_open_exit", "typed": "on_open_exit_typed"}
"""By variant: how the program reads what the kernel points to."""
OPEN_VARIANT_TEXTS: Final = {"cast": "direct reads", "typed": "direct and probe reads"}
OPEN_TRACEPOINTS: Final = (
    "sys_exit_open",
    "sys_exit_openat",
    "sys_exit_openat2",
    "sys_exit_creat",
    "sys_exit_open_by_handle_at",
)
"""All of one program: what is loaded once is verified once. Its links have these names."""
ACCESS_PROGRAM: Final = "on_access_exit"
ACCESS_TRACEPOINTS: Final = (
    "sys_exit_ptrace",
    "sys_exit_process_vm_readv",
    "sys_exit_process_vm_writev",
    "sys_exit_pidfd_getfd",
)
CONNECT_PROGRAM: Final = "on_connect_exit"
CONNECT_TRACEPOINTS: Final = ("sys_exit_connect",)
_DIRECT_READS: Final = b"\0bpf_rdonly_cast\0"
"""A name among the strings of the kernel's types."""
TASK_ITERATOR: Final = "list_tasks"
FILE_ITERATOR: Final = "list_files"


class SensorPlan(Struct, frozen=True):
    """What to load and attach: only what enabled rules and ``observe:`` need."""

    failed_exec: bool = True
    file_open: bool = True
    file_change: bool = False
    process_access: bool = False
    connection: bool = False
    tag_controller: str = ""
    """Empty for cgroup2, else the v1 controller whose hierarchy carries the tag."""
    tag_hierarchy_id: int = 0
    rings: RingSettings = RingSettings()
    limiter: LimiterSettings = LimiterSettings()


class Heartbeat(NamedTuple):
    """How often the process hooks ran on one CPU."""

    fork_hook: int
    exit_hook: int


def _list_file_variants() -> tuple[str, ...]:
    """What to try, in order. A kernel without the function that direct reads call (before 6.2) is not asked."""
    try:
        has_function = _DIRECT_READS in VMLINUX_BTF.read_bytes()
    except OSError:
        has_function = True  # loading says better than we what is wrong
    return ("cast", "typed") if has_function else ("typed",)


class Sensors:
    """The loaded sensors. A context manager: leaving it detaches them all."""

    def __init__(self, path: Path, plan: SensorPlan) -> None:
        self._plan = plan
        self._change_hooks: tuple[str, ...] = ()
        self.object, self.file_variant, self.change_source = self._open_and_load(path)
        self.urgent = Ring(self.object.map_fd("events_urgent"), plan.rings.urgent_bytes)
        self.bulk = Ring(self.object.map_fd("events_bulk"), plan.rings.bulk_bytes)
        self._reader_sleeps = self.object.variable_view("reader_sleeps").cast("I")
        self._tag_hierarchy = self.object.variable_view("tag_hierarchy").cast("Q")
        self.set_tag_hierarchy(plan.tag_controller, plan.tag_hierarchy_id)
        self._losses = LossReader(self.object)

    def __enter__(self) -> "Sensors":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def watches_files(self) -> bool:
        """Whether a sensor is there that the policy of what interests is for."""
        plan = self._plan
        return plan.file_open or plan.file_change or plan.process_access or plan.connection

    def list_missing(self, plan: SensorPlan) -> list[str]:
        """What of another plan is not loaded, by the names that ``status`` has."""
        wanted = (
            ("failed_exec", plan.failed_exec and not self._plan.failed_exec),
            ("file_open", plan.file_open and not self._plan.file_open),
            ("file_change", plan.file_change and not self._plan.file_change),
            ("process_access", plan.process_access and not self._plan.process_access),
            ("connection", plan.connection and not self._plan.connection),
        )
        return [name for name, is_missing in wanted if is_missing]

    def _open_and_load(self, path: Path) -> tuple[BpfObject, str, str]:
        """Load the best variants that the kernel takes: of opens, and where changes are told from."""
        choices = list(product(self._list_change_sources(), self._list_file_variants()))
        for change, file_variant in choices:
            is_last = (change, file_variant) == choices[-1]
            bpf_object = BpfObject(path)
            try:
                self._set_up(bpf_object, file_variant, change)
                bpf_object.load(explain=is_last)
            except LibbpfError:
                bpf_object.close()
                if is_last:
                    raise
            else:
                return bpf_object, file_variant, change
        raise AssertionError("unreachable: the last choice returns or raises")

    def _list_file_variants(self) -> tuple[str, ...]:
        return _list_file_variants() if self._plan.file_open else ("none",)

    def _list_change_sources(self) -> tuple[str, ...]:
        if not self._plan.file_change:
            return (change_source.NONE,)
        self._change_hooks = change_source.list_change_hooks()
        return (change_source.HOOKS, change_source.CALLS) if self._change_hooks else (change_source.CALLS,)

    def _set_up(self, bpf_object: BpfObject, file_variant: str, change: str) -> None:
        plan, slots = self._plan, max(8, 2 * bpf_object.possible_cpus() + 4)
        prepare_records(bpf_object, slots=slots, urgent_bytes=plan.rings.urgent_bytes, limits=plan.limiter)
        bpf_object.set_max_entries("events_bulk", plan.rings.bulk_bytes)
        if bpf_object.has_variable("tag_seed"):
            bpf_object.set_rodata("tag_seed", make_seed())
        for program in bpf_object.program_names():
            bpf_object.set_autoload(program, enabled=self._is_wanted(program, file_variant, change))

    def _is_wanted(self, program: str, file_variant: str, change: str) -> bool:
        if program in FAILED_EXEC_PROGRAMS:
            return self._plan.failed_exec
        if program in OPEN_PROGRAMS.values():
            return program == OPEN_PROGRAMS.get(file_variant)
        if program == change_source.CALLS_PROGRAM:
            return change == change_source.CALLS
        if program in change_source.HOOK_PROGRAMS:
            return change == change_source.HOOKS and program in self._change_hooks
        if program == ACCESS_PROGRAM:
            return self._plan.process_access
        if program == CONNECT_PROGRAM:
            return self._plan.connection
        return True

    def attach_life(self) -> None:
        """Attach what fills the tables, processes and cgroups: before the start-up walk, so that nothing is missed."""
        for program in (*PROCESS_PROGRAMS, *CGROUP_PROGRAMS):
            self.object.attach(program)

    def attach_syscalls(self) -> None:
        """Attach what follows system calls: changes at hooks, if they can be, all else at tracepoints by their ids."""
        self._attach_change_hooks()
        directory = tracefs.open_tracefs()
        try:
            for link_name, program, tracepoint in self._syscall_links():
                try:
                    number = tracefs.read_tracepoint_id("syscalls", tracepoint, directory)
                except FileNotFoundError:
                    continue  # no such call here: open and creat on arm64, fchmodat2 before 6.6
                event = tracefs.open_tracepoint_event(number)
                self.object.attach_perf_event(program, event, link_name=link_name)
        finally:
            os.close(directory)

    def _attach_change_hooks(self) -> None:
        """First what tells that an act is done: else what is noted in between would never be told."""
        if self.change_source == change_source.HOOKS:
            for program in reversed(self._change_hooks):
                self.object.attach(program)

    def _syscall_links(self) -> Iterator[tuple[str, str, str]]:
        """Name, program and tracepoint of each."""
        if self._plan.failed_exec:
            sections = self.object.program_names()
            yield from ((program, program, sections[program].rsplit("/", 1)[1]) for program in FAILED_EXEC_PROGRAMS)
        if self._plan.file_open:
            program = OPEN_PROGRAMS[self.file_variant]
            yield from ((tracepoint, program, tracepoint) for tracepoint in OPEN_TRACEPOINTS)
        if self.change_source == change_source.CALLS:
            calls, program = change_source.CALLS_TRACEPOINTS, change_source.CALLS_PROGRAM
            yield from ((tracepoint, program, tracepoint) for tracepoint in calls)
        if self._plan.process_access:
            yield from ((tracepoint, ACCESS_PROGRAM, tracepoint) for tracepoint in ACCESS_TRACEPOINTS)
        if self._plan.connection:
            yield from ((tracepoint, CONNECT_PROGRAM, tracepoint) for tracepoint in CONNECT_TRACEPOINTS)

    def set_reader_sleeps(self, *, sleeps: bool) -> None:
        """Say whether the reader waits in epoll: only then do records wake it."""
        self._reader_sleeps[0] = sleeps

    def set_tag_hierarchy(self, controller: str, hierarchy_id: int) -> None:
        """From now on tag records by this hierarchy, and report the life of its cgroups only.

        ``controller`` as :attr:`SensorPlan.tag_controller`. Records that are in the rings keep the tags they have.
        """
        self._tag_hierarchy[0] = pack_tag_hierarchy(controller, hierarchy_id)

    def read_tasks(self) -> list[TaskFacts]:
        """All processes that run now, with the kernel's exact start times."""
        data = self.object.read_iterator(TASK_ITERATOR)
        whole = len(data) - len(data) % _TASK_FACTS.size
        return [
            TaskFacts(tgid, start, exec_id, CgroupId(cgroup_id), parent_tgid, parent_start)
            for start, exec_id, cgroup_id, parent_start, tgid, parent_tgid in _TASK_FACTS.iter_unpack(data[:whole])
        ]

    def read_file_identities(self) -> dict[int, FileIdentity]:
        """Of each file that this process has open: descriptor -> what programs see."""
        self.object.variable_view("inspected_tgid").cast("I")[0] = os.getpid()
        data = self.object.read_iterator(FILE_ITERATOR)
        whole = len(data) - len(data) % _FILE_IDENTITY.size
        return {
            descriptor: FileIdentity(device, inode)
            for inode, device, descriptor, _ in _FILE_IDENTITY.iter_unpack(data[:whole])
        }

    def identify_files(self, paths: Iterable[Path]) -> dict[Path, FileIdentity]:
        """What programs see of files; those that cannot be opened are left out."""
        with contextlib.ExitStack() as stack:
            opened = {}
            for path in paths:
                with contextlib.suppress(OSError):
                    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
                    stack.callback(os.close, fd)
                    opened[path] = fd
            found = self.read_file_identities() if opened else {}
        return {path: found[fd] for path, fd in opened.items() if fd in found}

    def mark_own_process(self) -> None:
        """Make this process and its future children and threads the service's own: counted, not streamed."""
        mark_own_process(self.object)

    def tag_cgroup(self, cgroup_id: CgroupId, *, is_container: bool) -> None:
        """Tell the open filter what a cgroup is.

        Raises:
            LibbpfError: E2BIG when the table is full; the cgroup then counts as unknown, which lets more through.
        """
        tag = layout.CGROUP_CONTAINER if is_container else layout.CGROUP_HOST
        self.object.map_update("cgroup_tags", struct.pack("<Q", cgroup_id), struct.pack("<I", tag))

    def untag_cgroup(self, cgroup_id: CgroupId) -> None:
        """Forget a cgroup that is gone."""
        self.object.map_delete("cgroup_tags", struct.pack("<Q", cgroup_id))

    def read_losses(self, ktime_ns: int) -> Iterator[LossReport]:
        """What was lost since the last call, by CPU, type, cgroup and reason."""
        return self._losses.read(ktime_ns)

    def read_sequences(self) -> dict[str, tuple[int, ...]]:
        """How many records each CPU has numbered, by ring: what was read plus what the ring had no room for."""
        return {ring: self._read_per_cpu("sequences", index) for ring, index in (("urgent", 0), ("bulk", 1))}

    def read_own_events(self) -> int:
        """How many events of the service's own tasks were counted and not streamed."""
        return sum(self._read_per_cpu("counters", _COUNTER_OWN_EVENTS))

    def read_heartbeats(self) -> list[Heartbeat]:
        """By CPU: how often the hooks ran there."""
        forks = self._read_per_cpu("counters", _COUNTER_FORK_HOOK)
        exits = self._read_per_cpu("counters", _COUNTER_EXIT_HOOK)
        return [Heartbeat(*pair) for pair in zip(forks, exits, strict=True)]

    def _read_per_cpu(self, name: str, index: int) -> tuple[int, ...]:
        value = self.object.map_lookup(name, struct.pack("<I", index))
        return tuple(memoryview(value).cast("Q")) if value else ()

    def detach(self) -> None:
        """Detach all programs; rings and counters can still be read."""
        for program in self.object.attached:
            self.object.detach(program)

    def close(self) -> None:
        """Detach all, unmap, free."""
        self._reader_sleeps.release()
        self._tag_hierarchy.release()
        self.urgent.close()
        self.bulk.close()
        self.object.close()
