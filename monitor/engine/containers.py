"""Which cgroup belongs to which container: a table fed by cgroup events.

Turns :class:`CgroupCreate`, :class:`CgroupRemove` and :class:`ContainerResolved`
into a map from cgroup id to :class:`Container` (or the host), and says what the
kernel and the runtimes' clients have to be told. Shapes of paths are
:mod:`monitor.engine.cgroup_paths`; who sees that a runtime's set-up task enters a
cgroup with a free name (and calls :meth:`ContainerTable.promote`) is
:mod:`monitor.engine.enrich`.

Everything below a container's cgroup is the container's. A removed cgroup is
remembered for a while, because file events arrive later than cgroup events.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from monitor.engine.cgroup_paths import find_identity, find_unit
from monitor.model.container import Container
from monitor.model.effects import Effect, ResolveContainer, TagCgroup, UntagCgroup
from monitor.model.events import ContainerResolved
from monitor.model.ids import CgroupId

CGROUPS_PER_CONTAINER: Final = 4
"""The table holds this many cgroups for each container that it may hold."""


class Cgroup(Struct, gc=False):
    """One cgroup of the tag's hierarchy."""

    path: str
    unit: str
    """systemd unit or path that stands for a host lineage (see :mod:`monitor.engine.lineage`)."""
    container: Container | None
    """None: the host's."""
    removed_ktime_ns: int = 0


class ContainerTable:
    """Bounded: at most ``containers_max`` containers and four times as many cgroups; evictions are counted."""

    def __init__(self, containers_max: int, removed_keep_ns: int) -> None:
        self._containers_max = containers_max
        self._cgroups_max = containers_max * CGROUPS_PER_CONTAINER
        self._removed_keep_ns = removed_keep_ns
        self._cgroups: OrderedDict[int, Cgroup] = OrderedDict()
        self._ids_by_path: dict[str, int] = {}
        self._containers: OrderedDict[str, Container] = OrderedDict()
        self._removed: deque[tuple[int, int]] = deque()
        self.cgroups_evicted = 0
        self.containers_evicted = 0

    def __len__(self) -> int:
        return len(self._cgroups)

    @property
    def container_count(self) -> int:
        """Containers that exist now or were removed a moment ago."""
        return len(self._containers)

    def containers(self) -> list[Container]:
        """All containers known, oldest first."""
        return list(self._containers.values())

    def find_cgroup(self, cgroup_id: int) -> Cgroup | None:
        """Look up a cgroup; None when nothing told of it."""
        return self._cgroups.get(cgroup_id)

    def find_cgroup_id(self, path: str) -> CgroupId | None:
        """Look up a cgroup by its path."""
        found = self._ids_by_path.get(path)
        return None if found is None else CgroupId(found)

    def list_cgroups(self) -> Iterator[tuple[CgroupId, bool]]:
        """All cgroups that exist, and whether each is a container's."""
        for cgroup_id, cgroup in self._cgroups.items():
            if not cgroup.removed_ktime_ns:
                yield CgroupId(cgroup_id), cgroup.container is not None

    def find_container(self, container_id: str) -> Container | None:
        """Look up a container by its full id, with what the runtime said of it since."""
        return self._containers.get(container_id)

    def is_gone(self, container: Container) -> bool:
        """Whether the container's own cgroup has been removed."""
        cgroup = self._cgroups.get(container.cgroup_id)
        return cgroup is not None and bool(cgroup.removed_ktime_ns)

    # --- events ---------------------------------------------------------------------------

    def create(self, cgroup_id: CgroupId, path: str, effects: list[Effect]) -> Cgroup:
        """A cgroup appeared, or the start-up walk found it. Twice is fine."""
        known = self._cgroups.get(cgroup_id)
        if known is not None and known.path == path and not known.removed_ktime_ns:
            return known
        container = self._find_owner(path) or self._identify(cgroup_id, path, effects)
        cgroup = Cgroup(path, find_unit(path), container)
        self._cgroups[cgroup_id] = cgroup
        self._cgroups.move_to_end(cgroup_id)
        self._ids_by_path[path] = cgroup_id
        effects.append(TagCgroup(cgroup_id, container is not None))
        if len(self._cgroups) > self._cgroups_max:
            self._evict_cgroup()
        return cgroup

    def remove(self, cgroup_id: CgroupId, ktime_ns: int, effects: list[Effect]) -> None:
        """A cgroup is gone: the kernel forgets its tag now, we some time later."""
        effects.append(UntagCgroup(cgroup_id))
        cgroup = self._cgroups.get(cgroup_id)
        if cgroup is not None and not cgroup.removed_ktime_ns:
            cgroup.removed_ktime_ns = ktime_ns or 1
            self._removed.append((ktime_ns + self._removed_keep_ns, cgroup_id))

    def promote(self, cgroup_id: CgroupId, runtime: str, effects: list[Effect]) -> Container | None:
        """A runtime set up a container in this cgroup of free name: it and all below it are that container's."""
        cgroup = self._cgroups.get(cgroup_id)
        if cgroup is None or cgroup.container is not None:
            return None if cgroup is None else cgroup.container
        container_id = cgroup.path.rpartition("/")[2].removesuffix(".scope")
        if container_id in self._containers:
            container_id = cgroup.path.lstrip("/")  # another container of this name lives elsewhere
        container = Container(container_id, runtime, cgroup_id, cgroup.path, pending=True)
        self._adopt(container, effects)
        below = cgroup.path + "/"
        for other_id, other in self._cgroups.items():
            if other_id == cgroup_id or (other.container is None and other.path.startswith(below)):
                other.container = container
                effects.append(TagCgroup(CgroupId(other_id), True))
        return container

    def resolve(self, event: ContainerResolved) -> Container | None:
        """A runtime said what a container is called; None when the container is not known (any more)."""
        container = self._containers.get(event.container_id)
        if container is None:
            return None
        named = replace(
            container, name=event.name, image_name=event.image_name, labels=tuple(event.labels), pending=False
        )
        self._containers[named.id] = named
        for cgroup in self._cgroups.values():
            own = cgroup.container
            if own is not None and own.id == named.id:
                cgroup.container = replace(named, nested_id=own.nested_id) if own.nested_id else named
        return named

    def expire(self, ktime_ns: int, budget: int) -> None:
        """Forget cgroups that were removed long enough ago; at most ``budget`` of them."""
        removed = self._removed
        while removed and budget and removed[0][0] <= ktime_ns:
            _, cgroup_id = removed.popleft()
            cgroup = self._cgroups.get(cgroup_id)
            if cgroup is not None and cgroup.removed_ktime_ns:
                self._forget(cgroup_id, cgroup)
            budget -= 1

    # --- inside ---------------------------------------------------------------------------

    def _find_owner(self, path: str) -> Container | None:
        """Container of the nearest cgroup above, when that is one with a free name (shapes speak for themselves)."""
        parent_id = self._ids_by_path.get(path.rpartition("/")[0])
        parent = None if parent_id is None else self._cgroups.get(parent_id)
        if parent is None or parent.container is None:
            return None
        identity = find_identity(path)
        if identity is None or identity.container_id == parent.container.id:
            nested = "" if identity is None else identity.nested_id
            return replace(parent.container, nested_id=nested) if nested else parent.container
        return replace(parent.container, nested_id=identity.nested_id or identity.container_id)

    def _identify(self, cgroup_id: CgroupId, path: str, effects: list[Effect]) -> Container | None:
        identity = find_identity(path)
        if identity is None:
            return None
        container = self._containers.get(identity.container_id)
        if container is None or (container.cgroup_id != cgroup_id and path == identity.container_path):
            known = container
            own_id = self._ids_by_path.get(identity.container_path, cgroup_id)
            container = Container(
                identity.container_id,
                identity.runtime,
                CgroupId(own_id),
                identity.container_path,
                pod_uid=identity.pod_uid,
                pending=True,
            )
            if known is None:
                self._adopt(container, effects)
            else:  # a cgroup below it came first, or the container was started again under its id
                container = replace(known, cgroup_id=cgroup_id, cgroup_path=identity.container_path)
                self._containers[container.id] = container
        return replace(container, nested_id=identity.nested_id) if identity.nested_id else container

    def _adopt(self, container: Container, effects: list[Effect]) -> None:
        self._containers[container.id] = container
        effects.append(ResolveContainer(container))
        if len(self._containers) > self._containers_max:
            self._evict_container()

    def _forget(self, cgroup_id: int, cgroup: Cgroup) -> None:
        self._cgroups.pop(cgroup_id, None)
        if self._ids_by_path.get(cgroup.path) == cgroup_id:
            del self._ids_by_path[cgroup.path]
        container = cgroup.container
        if container is None or container.cgroup_path != cgroup.path:
            return
        known = self._containers.get(container.id)
        if known is not None and known.cgroup_id == cgroup_id:
            del self._containers[container.id]

    def _evict_cgroup(self) -> None:
        """Drop one that is gone already, else the oldest that is no container's own (its tasks keep their tag)."""
        self.cgroups_evicted += 1
        while self._removed:
            _, cgroup_id = self._removed.popleft()
            cgroup = self._cgroups.get(cgroup_id)
            if cgroup is not None and cgroup.removed_ktime_ns:
                self._forget(cgroup_id, cgroup)
                return
        victim = next(iter(self._cgroups))
        for _ in range(min(64, len(self._cgroups))):  # bounded look for a sub-cgroup; the others move to the end
            victim = next(iter(self._cgroups))
            cgroup = self._cgroups[victim]
            if cgroup.container is None or cgroup.container.cgroup_id != victim:
                break
            self._cgroups.move_to_end(victim)
        self._forget(victim, self._cgroups[victim])

    def _evict_container(self) -> None:
        """Forget the oldest container's entry; its cgroups still carry it, so that its events stay tagged."""
        self.containers_evicted += 1
        self._containers.popitem(last=False)
