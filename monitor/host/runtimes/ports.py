"""What the service asks of a container runtime."""

from typing import Protocol

from monitor.model.container import Container
from monitor.model.events import ContainerResolved


class RuntimeLookup(Protocol):
    """One runtime on this host that can name its containers. Answers go back to the engine as events."""

    @property
    def runtime(self) -> str:
        """The word in :attr:`Container.runtime` that this one answers for, e.g. ``docker``."""

    async def find_container(self, container: Container) -> ContainerResolved | None:
        """Answer name, image and labels; None when the runtime does not know the container (any more).

        Raises:
            OSError: the runtime does not answer; asked again later.
        """

    async def aclose(self) -> None:
        """Close the connection."""
