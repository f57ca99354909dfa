"""What is on this machine, to be compared before and after: nothing of a test may stay."""

import time

from tests.support import supervisor


def cgroup_tree() -> set[str]:
    """Every cgroup of the machine below a depth that only containers reach."""
    return {str(path) for base in supervisor.cgroup_mounts() for path in base.glob("*/") if path.is_dir()}


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
