"""What is on this machine, to be compared before and after: nothing of a test may stay."""

import time
from pathlib import Path

from tests.support import supervisor


def find_cgroups(name: str) -> list[Path]:
    """Those of this name, in every hierarchy and at every depth."""
    return [path for base in supervisor.cgroup_mounts() for path in base.rglob(name)]


def switched_on() -> str:
    """Controllers that cgroup2's root hands on."""
    root = next((path for path, kind in supervisor.cgroup_mounts().items() if kind == "cgroup2"), None)
    return (root / "cgroup.subtree_control").read_text() if root else ""


def wait_gone(pid: int) -> None:
    """Raises AssertionError when this process is still there after ten seconds."""
    end = time.monotonic() + 10
    while (found := supervisor.read_stat(pid)) and found.state not in "ZX":
        assert time.monotonic() < end, f"process {pid} outlives its sandbox"
        time.sleep(0.01)
