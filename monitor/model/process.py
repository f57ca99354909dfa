"""Processes and the programs they ran, and the context that a rule sees."""

from msgspec import Struct

from monitor.model.container import Container
from monitor.model.events import AnyEvent, ProcessExec, TaskEvent
from monitor.model.ids import CgroupId, ProcessKey, build_entity_id


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
    weight_bytes: int = 0
    """What these texts take in memory, about; the tables are bounded by it."""


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
    earlier_images: list[tuple[int, ProcessImage]] | None = None
    """(exec_id, image) of the programs it ran before, by number; bounded by :mod:`monitor.engine.earlier_images`."""
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
    boot_id: str = ""
    """Of the boot this happened in: part of every ``process.entity_id``."""

    @property
    def has_process(self) -> bool:
        """Whether somebody did this: losses and failures of the service itself have a process without a key."""
        return self.process.key[0] != 0

    @property
    def entity_id(self) -> str:
        """``process.entity_id`` in rules and documents; empty without a process. Computed when asked."""
        if not self.has_process:
            return ""
        event = self.event
        exec_id = event.exec_id if isinstance(event, TaskEvent) else self.process.exec_id
        return build_entity_id(self.boot_id, self.process.key, exec_id)

    @property
    def parent_entity_id(self) -> str:
        """``process.parent.entity_id``: of the program that the parent ran at the fork; empty when that is unknown."""
        key, image = self.process.parent_key, self.parent_image
        if key is None or image is None or not image.exec.tgid:
            return ""
        return build_entity_id(self.boot_id, key, image.exec.exec_id)
