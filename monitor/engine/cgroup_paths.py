"""Tell a container from the path of its cgroup.

Pure text in, :class:`PathIdentity` out; which cgroup id a path has, and free-form
names that no shape tells (plain runc, ``ctr``), are :mod:`monitor.engine.containers`.

Sources: runc ``libcontainer/cgroups`` (cgroupfs and systemd drivers), containerd
``pkg/cri`` ``getCgroupsPath``, CRI-O ``internal/config/cgmgr``, podman
``libpod/container_internal_linux.go``, moby ``builder/builder-next/executor``,
kubelet ``pkg/kubelet/cm/cgroup_manager_linux.go``.
"""

import re
from typing import Final, NamedTuple

_ID: Final = r"(?P<id>[0-9a-f]{64})"
_PREFIX_RUNTIMES: Final = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
}
_PREFIX: Final = "(?P<prefix>" + "|".join(sorted(_PREFIX_RUNTIMES, key=len, reverse=True)) + ")"

_PREFIXED: Final = re.compile(rf"{_PREFIX}-{_ID}(?:\.scope)?")
"""``docker-ID.scope``, ``cri-containerd-ID.scope``, ``crio-ID``, ``libpod-ID``; never ``crio-conmon-ID.scope``."""
_TRIPLE: Final = re.compile(rf".*:{_PREFIX}:{_ID}")
"""systemd's ``slice:prefix:name`` taken as a path, which is what runc does with the cgroupfs driver."""
_PLAIN: Final = re.compile(_ID)
_BUILDKIT: Final = re.compile(r"(?:docker-|.*:docker:)?(?P<id>[0-9a-z]{25})(?:\.scope)?")
_BUILDAH: Final = re.compile(r"(?P<id>buildah-buildah[0-9]+)(?:\.scope)?")

_POD: Final = re.compile(
    r"(?:.*-)?pod(?P<uid>[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})"
    r"(?:\.slice)?(?::.*)?"
)
"""kubelet's pod cgroups of both drivers; static pods have 32 hex digits without dashes."""
_PODMAN_POD_SLICE: Final = re.compile(rf"(?:.*-)?libpod_pod_{_ID}\.slice")
_PODMAN_POD_PARENT: Final = "libpod_parent"

_CONTAINERD_NAMESPACES: Final = frozenset({"default", "k8s.io", "moby"})
"""Parents that containerd's own clients (``nerdctl``, ``ctr``) give to their containers with the cgroupfs driver."""

_HOST_SCOPES: Final = ("init.", "session-", "app-", "run-", "vte-spawn-")
"""Scopes of logins, desktops and ``systemd-run``; runc and crun make ``runc-NAME.scope`` and the like."""

_UNIT: Final = re.compile(r"\.(?:service|scope)$")


class PathIdentity(NamedTuple):
    """What a cgroup's path says of the container that it belongs to."""

    container_id: str
    runtime: str
    container_path: str
    """Path of the outermost container's own cgroup: this path or one above it."""
    nested_id: str
    """Innermost container when a runtime runs inside; else empty."""
    pod_uid: str


def find_identity(path: str) -> PathIdentity | None:
    """Identify the container of a cgroup path; None for what has no container's shape (host, or a free-form name)."""
    components = path.split("/")
    outer: tuple[str, str] | None = None
    end = 0
    inner = ""
    for index, component in enumerate(components):
        found = _find_container(component, components[index - 1] if index else "")
        if found is None:
            continue
        if outer is None:
            outer, end = found, index
        elif found[0] != outer[0]:
            inner = found[0]
    if outer is None:
        return None
    own = components[: end + 1]
    return PathIdentity(outer[0], outer[1] or _find_runtime(own), "/".join(own), inner, _find_pod(own))


def find_unit(path: str) -> str:
    """Cut a host path after its first systemd service or scope: what lies below was delegated to the unit's user.

    A path without one (no systemd) is returned whole.
    """
    start = 0
    while True:
        slash = path.find("/", start + 1)
        component_end = len(path) if slash < 0 else slash
        if _UNIT.search(path, start, component_end):
            return path[:component_end]
        if slash < 0:
            return path
        start = slash


def is_host_name(path: str) -> bool:
    """Whether the last component is one that the host's service manager makes, never a container runtime."""
    name = path.rpartition("/")[2]
    if name.endswith(".scope"):
        return name.startswith(_HOST_SCOPES)
    return not name or name.endswith((".service", ".slice", ".socket", ".mount", ".swap"))


def _find_container(component: str, parent: str) -> tuple[str, str] | None:
    """(id, runtime) of a component that names a container; the runtime is empty where only its parents tell."""
    size = len(component)
    if size >= 64:
        if match := _PREFIXED.fullmatch(component) or _TRIPLE.fullmatch(component):
            return match["id"], _PREFIX_RUNTIMES[match["prefix"]]
        if size == 64 and parent != _PODMAN_POD_PARENT and _PLAIN.fullmatch(component):
            return component, ""
        return None
    if size < 16:
        return None
    if match := _BUILDAH.fullmatch(component):
        return match["id"], "buildah"
    if (parent == "buildkit" or "docker" in component) and (match := _BUILDKIT.fullmatch(component)):
        return match["id"], "buildkit"
    return None


def _find_runtime(own: list[str]) -> str:
    """Runtime of a bare id, by the components above it."""
    parents = own[:-1]
    if any(parent.startswith("kubepods") for parent in parents):
        return "containerd"
    nearest = parents[-1] if parents else ""
    if nearest == "docker":
        return "docker"
    return "containerd" if nearest in _CONTAINERD_NAMESPACES else "unknown"


def _find_pod(own: list[str]) -> str:
    for index, component in enumerate(own):
        if match := _POD.fullmatch(component):
            return match["uid"].replace("_", "-")
        if match := _PODMAN_POD_SLICE.fullmatch(component):
            return match["id"]
        if component == _PODMAN_POD_PARENT and index + 2 < len(own):
            return own[index + 1]
    return ""
