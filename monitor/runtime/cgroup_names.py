"""Paths of cgroups as ``/proc/PID/cgroup`` shows them here, from those that the kernel's events have.

The same, but in a cgroup namespace: there what is above its root is left out, and a part
of the tree that is mounted does not always say what that is. A process that is known
tells.
"""

from pathlib import Path

from monitor.host.cgroups import TagHierarchy, read_memberships

_PROC = Path("/proc")


class CgroupNames:
    """Of one hierarchy."""

    def __init__(self, hierarchy: TagHierarchy, proc: Path = _PROC) -> None:
        self._hierarchy = hierarchy
        self._proc = proc
        self._root = hierarchy.prefix
        self._is_known = hierarchy.is_whole or bool(hierarchy.prefix)

    def learn(self, path: str, tgid: int) -> bool:
        """See how the cgroup of a process is shown. Whether names are others now."""
        if self._is_known:
            return False
        shown = read_memberships(tgid, self._proc).get(self._hierarchy.controller, "")
        if len(shown) < 2 or not path.endswith(shown):
            return False
        self._root, self._is_known = path.removesuffix(shown), True
        return bool(self._root)

    def show(self, path: str) -> str:
        """As /proc shows it."""
        return path.removeprefix(self._root) or "/"

    def complete(self, shown: str) -> str:
        """As the kernel's events have it."""
        return self._root + shown if shown != "/" else self._root or "/"
