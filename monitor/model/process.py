"""Processes and the programs they ran, and the context that a rule sees."""

from msgspec import Struct

from monitor.model.container import Container
from monitor.model.events import AnyEvent, ProcessExec
from monitor.model.ids import CgroupId, ProcessKey


class ProcessImage(Struct, frozen=True, gc=False):
    """One program that a process ran. A forked child shares its parent's image until it runs another."""

    exec: ProcessExec
    """The facts of the exec that started it."""
    executable: str
    executable_folded: str
    """Case-folded (``str.lower``): Sigma compares without case."""
    name: str
    """Last component of ``executable``."""
    command_line: str
    """``args`` joined by single spaces."""
    command_line_folded: str


class Process(Struct, gc=False):
    """A row of the process table (:mod:`monitor.engine.processes`): mutable, owned by the engine."""

    key: ProcessKey
    image: ProcessImage
    """What it runs now; None-like images do not exist: unknown processes get an image with empty fields."""
    exec_id: int
    cgroup_id: CgroupId
    parent_key: ProcessKey | None
    """The process that forked this one."""
    parent_image: ProcessImage | None
    """What that process ran at the fork."""
    exited_ktime_ns: int = 0
    is_runtime_init: bool = False
    """A container runtime's own set-up step, not yet the container's program."""
    earlier_images: tuple[tuple[int, ProcessImage], ...] = ()
    """(exec_id, image) of the programs it ran before, newest last; bounded."""
    is_service: bool = False
    """One of the monitor's own tasks: counted, not shown, no subject."""


class Context(Struct, frozen=True, gc=False):
    """An event with its process and container: what a rule sees, what the stream shows."""

    event: AnyEvent
    process: Process
    image: ProcessImage
    """The program in which the event happened (for an exec: the new one)."""
    parent_image: ProcessImage | None
    container: Container | None
    is_runtime_init: bool = False
