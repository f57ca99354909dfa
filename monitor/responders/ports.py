"""What the responders need of the host and of the engine; :mod:`monitor.runtime` binds it."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from monitor.model.container import Container
from monitor.model.ids import CgroupId, ProcessKey, TaskFacts


class CgroupFolders(Protocol):
    """The cgroup file systems. All of it raises ``FileNotFoundError`` for a cgroup that has been removed."""

    def open(self, cgroup_id: CgroupId) -> int:
        """A descriptor of the cgroup's directory. Raises ``OSError``."""

    def find_freezer(self, cgroup_id: CgroupId) -> CgroupId:
        """The cgroup whose files freeze the container with this one, and nobody else. Raises ``OSError``."""

    def list_processes(self, folder: int) -> list[int]:
        """Processes of a cgroup and of all below it. Raises ``OSError``."""


class Spared(NamedTuple):
    """Why a process is not killed."""

    reason: str
    is_end: bool
    """What descends from it is spared too."""


class Guard(Protocol):
    """The guardrails, asked again about each process right before it is killed."""

    def __call__(self, task: TaskFacts, container: Container | None) -> Spared | None:
        """Whether to spare this process; ``container`` is the one that the order is about (None: the host)."""


class Host(NamedTuple):
    """The host, as far as responders see it."""

    folders: CgroupFolders
    list_tasks: Callable[[], Iterable[TaskFacts]]
    """All processes that run now, with their exact start times."""
    is_alive: Callable[[ProcessKey], bool]
    """Whether this life of this pid goes on."""
    guard: Guard
    now_boottime_ns: Callable[[], int]
    own_tgid: int
