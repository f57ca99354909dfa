"""Containers, as the cgroup path and later the runtime's API tell them."""

from msgspec import Struct

from monitor.model.ids import CgroupId


class Container(Struct, frozen=True):
    """The outermost container of a task: policy, risk and isolation are about it."""

    id: str
    """Full id (64 hex digits where the runtime uses them), or the last cgroup name for free-form paths."""
    runtime: str
    """``docker containerd cri-o podman runc buildkit buildah`` or ``unknown``; ``runc`` is runc and crun alone."""
    cgroup_id: CgroupId
    """Of the container's own cgroup (its processes may be in cgroups below it)."""
    cgroup_path: str
    nested_id: str = ""
    """Innermost container id when a runtime runs inside this one."""
    pod_uid: str = ""
    name: str = ""
    image_name: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    pending: bool = False
    """Name, image and labels are not known yet."""
