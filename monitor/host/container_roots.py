"""Which file system the root of a container that runs already is on."""

from pathlib import Path
from typing import Final, NamedTuple

from monitor.host.cgroup_folders import CgroupFolders
from monitor.host.mounts import read_mounts
from monitor.model.ids import CgroupId

_ROOT: Final = Path("/")
_OVERLAY: Final = "overlay"


class ContainerRoot(NamedTuple):
    """The file system."""

    device: int
    """``st_dev`` of its folders."""
    is_overlay: bool


def find_container_root(cgroup_id: CgroupId, proc: Path = Path("/proc")) -> ContainerRoot | None:
    """The root of a process in this cgroup; None when there is none."""
    pid = CgroupFolders().find_process(cgroup_id)
    return None if pid is None else read_root(proc / str(pid) / "mountinfo")


def read_root(mountinfo: Path) -> ContainerRoot | None:
    """The last mount on / of a process; None when it has ended, or shows none."""
    try:
        roots = [mount for mount in read_mounts(mountinfo) if mount.point == _ROOT]
    except OSError:
        return None
    return ContainerRoot(roots[-1].device, roots[-1].filesystem == _OVERLAY) if roots else None
