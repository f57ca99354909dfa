"""What the pipeline needs of its neighbours; the service binds the real ones, tests and replays others."""

from typing import Protocol

from monitor.model.alert import Alert, Verdict
from monitor.model.container import Container
from monitor.model.events import AnyEvent
from monitor.model.ids import CgroupId
from monitor.model.process import Context
from monitor.wire.decoder import Buffer


class EventSink(Protocol):
    """Takes what the engine wants to be seen. Never raises, never waits."""

    def publish_event(self, context: Context) -> None:
        """Show an event."""

    def publish_alert(self, alert: Alert) -> None:
        """Show an alert."""


class KernelTags(Protocol):
    """A table of cgroups on the kernel side."""

    def tag_cgroup(self, cgroup_id: CgroupId, *, is_container: bool) -> None:
        """Say what a cgroup is. Raises ``OSError`` when the table is full."""

    def untag_cgroup(self, cgroup_id: CgroupId) -> None:
        """Forget a cgroup."""


class ContainerLookup(Protocol):
    """Asks a container's runtime for name, image and labels; the answer comes back as an event."""

    def request(self, container: Container) -> None:
        """Ask, without waiting."""


class Responder(Protocol):
    """Carries out verdicts."""

    def respond(self, verdict: Verdict, context: Context) -> None:
        """Act, without waiting."""


class Recorder(Protocol):
    """Keeps all that goes into the engine."""

    def write_record(self, data: Buffer, offset: int, length: int) -> None:
        """Keep a raw record."""

    def write_event(self, event: AnyEvent) -> None:
        """Keep an event that user space made."""
