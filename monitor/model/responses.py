"""What is to be carried out, and what became of it: between the runtime and :mod:`monitor.responders`."""

from typing import Final, NamedTuple

from monitor.model.container import Container
from monitor.model.ids import CgroupId, ProcessKey

KILL: Final = "kill"
FREEZE: Final = "freeze"
THAW: Final = "thaw"

DONE: Final = "done"
UNCHANGED: Final = "unchanged"
FAILED: Final = "failed"

POLICY: Final = "policy"
COMMAND: Final = "command"
DEADLINE: Final = "deadline"


class Order(NamedTuple):
    """One thing to do."""

    number: int
    """By which its outcome is told from others."""
    action: str
    """``kill``, ``freeze`` or ``thaw``."""
    subject: str
    """``container``, ``lineage`` or ``process``."""
    subject_id: str
    container: Container | None
    """The container itself, or the one that the lineage or process is in; None on the host."""
    keys: tuple[ProcessKey, ...] = ()
    """Of a lineage or process: where to begin. Of a container: processes that have left its cgroup."""
    for_s: float = 0.0
    """How long to stay frozen; 0: until somebody thaws it."""
    asked_by: str = POLICY
    reason: str = ""


class Outcome(NamedTuple):
    """What became of an order."""

    order: Order
    result: str
    """``done``, ``unchanged`` (it was so already, or nobody was left) or ``failed``."""
    processes: int = 0
    note: str = ""
    """Done: what is not as it should be. Else: why."""
    victims: tuple[ProcessKey, ...] = ()
    """Of a kill: processes whose children, if any appear later, are still to be killed."""


class FrozenContainer(NamedTuple):
    """A container that we froze."""

    container_id: str
    name: str
    cgroup_id: CgroupId
    """Of its cgroup in the hierarchy that carries the tag."""
    freezer_id: CgroupId
    """Of the cgroup that was frozen: the same, or one of the v1 freezer."""
    since_boottime_ns: int
    until_boottime_ns: int
    """0: until somebody thaws it."""
    reason: str
