"""The harness by itself: each cgroup mode is what it says, runtimes run in it, and nothing is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import oci, supervisor
from tests.support.sandbox import Sandbox, SandboxError, find_modes

pytestmark = pytest.mark.containers


def cgroup_tree() -> set[str]:
    """Every cgroup of the machine below a depth that only containers reach."""
    return {str(path) for base in supervisor.cgroup_mounts() for path in base.glob("*/") if path.is_dir()}


def switched_on() -> str:
    root = next((path for path, kind in supervisor.cgroup_mounts().items() if kind == "cgroup2"), None)
    return (root / "cgroup.subtree_control").read_text() if root else ""


def wait_gone(pid: int) -> None:
    end = time.monotonic() + 10
    while (found := supervisor.read_stat(pid)) and found.state not in "ZX":
        assert time.monotonic() < end, f"process {pid} outlives its sandbox"
        time.sleep(0.01)


@pytest.mark.parametrize("mode", find_modes())
def test_a_mode_shows_its_hierarchies(mode: str) -> None:
    with Sandbox(mode) as sandbox:
        kinds = list(supervisor.cgroup_mounts(sandbox.pid).items())
        own = sandbox.run(["tail", "-n1", "/proc/self/cgroup"]).stdout.strip()

    match mode:
        case "hybrid":
            assert {kind for _, kind in kinds} == {"cgroup", "cgroup2"}
        case "v1":
            assert {kind for _, kind in kinds} == {"cgroup"}
        case _:
            assert kinds == [(Path("/sys/fs/cgroup"), "cgroup2")]
    assert own == ("0::/init" if mode == "v2ns" else "0::/")


def test_mounts_and_network_are_private() -> None:
    with Sandbox(find_modes()[0], network=True) as sandbox:
        sandbox.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        devices = sandbox.run(["ip", "-o", "link"]).stdout
        assert " /mnt " in Path(f"/proc/{sandbox.pid}/mounts").read_text()

    assert " /mnt " not in Path("/proc/mounts").read_text()
    assert "eth0" not in devices
    assert "lo:" in devices


@pytest.mark.parametrize(("runtime", "mode"), oci.find_combinations())
def test_a_container_runs_and_leaves_nothing(runtime: str, mode: str, rootfs: Path) -> None:
    cgroups, controllers = cgroup_tree(), switched_on()
    wish = oci.Wish(cgroup_path=f"/kubepods/besteffort/pod1234/{oci.new_id()}")
    with Sandbox(mode, network=True) as sandbox:
        with oci.start_container(sandbox, runtime, rootfs, wish=wish) as container:
            pid = container.pid
            assert container.exec("cat", "/etc/hostname").stdout == "container\n"
            assert Path(f"/proc/{pid}/cgroup").read_text().count(wish.cgroup_path) >= 1
            ids = sandbox.cgroup_ids(wish.cgroup_path)
            container.exec("sh", "-c", "echo new > /tmp/file")
            assert container.root("/tmp/file").read_text() == "new\n"
        assert not (rootfs / "tmp/file").exists()

    assert all(number > 1 for number in ids.values())
    wait_gone(pid)
    assert cgroup_tree() == cgroups
    assert switched_on() == controllers


@pytest.mark.parametrize(
    "shape",
    [
        "/docker/{id}",
        "/system.slice/docker-{id}.scope",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12.slice/cri-containerd-{id}.scope",
        "/libpod_parent/libpod-{id}",
        "/a-free-name",
    ],
)
def test_any_cgroup_path_shape_can_be_had(shape: str, rootfs: Path) -> None:
    identifier = oci.new_id()
    wish = oci.Wish(id=identifier, cgroup_path=shape.format(id=identifier))
    with Sandbox(find_modes()[0]) as sandbox:
        done = oci.run_container(sandbox, oci.find_runtimes()[0], rootfs, "cat", "/proc/self/cgroup", wish=wish)

    assert wish.cgroup_path in done.stdout


def test_an_exit_status_is_passed_on(rootfs: Path) -> None:
    with Sandbox(find_modes()[0]) as sandbox:
        done = oci.run_container(sandbox, oci.find_runtimes()[0], rootfs, "sh", "-c", "exit 7", check=False)

    assert done.returncode == 7


def test_a_failed_start_says_why(rootfs: Path) -> None:
    with (
        Sandbox(find_modes()[0]) as sandbox,
        pytest.raises(SandboxError, match="no such file"),
        oci.start_container(sandbox, oci.find_runtimes()[0], rootfs, "/no/such/program"),
    ):
        pass


def test_what_was_forgotten_is_ended(rootfs: Path) -> None:
    """A daemon that left its parent, and a container whose runtime was killed."""
    cgroups = cgroup_tree()
    with Sandbox(find_modes()[0]) as sandbox:
        sandbox.run(["sh", "-c", "setsid sleep 3600 > /dev/null 2>&1 &"])
        daemons = supervisor.find_members_of(sandbox.pid)
        abandoned = oci.start_container(sandbox, oci.find_runtimes()[0], rootfs)
        container = abandoned.__enter__()
        pid = container.pid
        container.kill_runtime()

    assert len(daemons) == 1
    for ended in (*daemons, pid):
        wait_gone(ended)
    assert cgroup_tree() == cgroups


def test_a_killed_test_run_leaves_nothing(rootfs: Path) -> None:
    cgroups = cgroup_tree()
    script = f"""
import os, pathlib, signal
from tests.support import oci
from tests.support.sandbox import Sandbox
sandbox = Sandbox({find_modes()[0]!r}).__enter__()
abandoned = oci.start_container(sandbox, {oci.find_runtimes()[0]!r}, pathlib.Path({str(rootfs)!r}))
container = abandoned.__enter__()
print(sandbox.pid, container.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["."])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)

    assert done.returncode == -signal.SIGKILL, done.stderr
    for pid in map(int, done.stdout.split()):
        wait_gone(pid)
    assert cgroup_tree() == cgroups


def test_an_unknown_mode_is_refused_in_words() -> None:
    with pytest.raises(SandboxError, match="cgroup mode 'v3' cannot be had on this machine"):
        Sandbox("v3")


def test_a_relative_cgroup_path_is_refused() -> None:
    with Sandbox(find_modes()[0]) as sandbox, pytest.raises(ValueError, match="must be absolute"):
        sandbox.announce_cgroup("docker/x")
