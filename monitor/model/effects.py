"""What the engine wants done. The engine performs nothing itself: :mod:`monitor.runtime` does."""

from msgspec import Struct

from monitor.model.alert import Alert, Verdict
from monitor.model.container import Container
from monitor.model.ids import CgroupId
from monitor.model.process import Context


class EmitEvent(Struct, frozen=True, gc=False):
    """Show this event to the stream's subscribers."""

    context: Context


class EmitAlert(Struct, frozen=True, gc=False):
    """Show this alert to the stream's subscribers and the console."""

    alert: Alert


class Respond(Struct, frozen=True, gc=False):
    """Carry out a verdict (only in mode ``enforce``)."""

    verdict: Verdict
    context: Context


class TagCgroup(Struct, frozen=True, gc=False):
    """Tell the kernel side whether this cgroup is a container's or the host's."""

    cgroup_id: CgroupId
    is_container: bool


class UntagCgroup(Struct, frozen=True, gc=False):
    """The cgroup is gone: forget it in the kernel's table."""

    cgroup_id: CgroupId


class ResolveContainer(Struct, frozen=True, gc=False):
    """Ask the container's runtime for name, image and labels; the answer comes back as ``ContainerResolved``."""

    container: Container


class DisableRule(Struct, frozen=True, gc=False):
    """A rule raised while running: it is off now, once and counted."""

    rule_id: str
    reason: str


Effect = EmitEvent | EmitAlert | Respond | TagCgroup | UntagCgroup | ResolveContainer | DisableRule
