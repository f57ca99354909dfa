"""Which container an admin means: the whole name or id, or enough of an id; never a guess."""

from collections.abc import Iterable
from typing import Final

from monitor.model.container import Container
from monitor.rules.suggest import suggest
from monitor.sinks.subscriber import is_container_named

SHOWN: Final = 5
SHORT_ID: Final = 12


class ContainerNameError(ValueError):
    """No container, or several, are called so; the text names the near ones."""


def find_named(text: str, containers: Iterable[Container]) -> Container:
    """The one container that is meant. Raises :class:`ContainerNameError`."""
    known = list(containers)
    for container in known:
        if container.id == text:
            return container
    found = [container for container in known if container.name == text]
    found = found or [container for container in known if is_container_named(container, text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ContainerNameError(f"{text[:64]!r} means {len(found)} containers: {_list(found)}; give one's id")
    names = [name for container in known for name in (container.name, container.id[:SHORT_ID]) if name]
    near = suggest(text, names)
    if not near:
        near = f"; running: {_list(known)}" if known else "; none is running"
    raise ContainerNameError(f"no container is called {text[:64]!r}{near}")


def describe(container: Container) -> str:
    """Name and the beginning of the id."""
    short = container.id[:SHORT_ID]
    return f"{container.name} ({short})" if container.name else short


def _list(containers: list[Container]) -> str:
    shown = ", ".join(map(describe, containers[:SHOWN]))
    return f"{shown} and {len(containers) - SHOWN} more" if len(containers) > SHOWN else shown
