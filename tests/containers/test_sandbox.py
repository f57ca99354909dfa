"""The harness by itself: each cgroup mode is what it says, runtimes run in it, and nothing is left."""

from pathlib import Path

import pytest

from tests.support import oci, supervisor
from tests.support.sandbox import Sandbox, SandboxError, find_modes
from tests.support.traces import find_cgroups, switched_on, wait_gone

pytestmark = pytest.mark.containers


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
def test_a_container_runs_and_leaves_nothing(runtime: str, mode: str, rootfs: Path, parent: str) -> None:
    controllers = switched_on()
    wish = oci.wish_below(f"{parent}/besteffort/pod1234")
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
    assert find_cgroups(parent) == []
    assert switched_on() == controllers


@pytest.mark.parametrize(
    "shape",
    [
        "/docker/{id}",
        "/system.slice/docker-{id}.scope",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12.slice/cri-containerd-{id}.scope",
        "/libpod_parent/libpod-{id}",
        "/{free}",
    ],
)
def test_any_cgroup_path_shape_can_be_had(shape: str, rootfs: Path) -> None:
    identifier = oci.new_id()
    wish = oci.Wish(id=identifier, cgroup_path=shape.format(id=identifier, free=oci.free_name()))
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


def test_an_unknown_mode_is_refused_in_words() -> None:
    with pytest.raises(SandboxError, match="cgroup mode 'v3' cannot be had on this machine"):
        Sandbox("v3")


def test_a_relative_cgroup_path_is_refused() -> None:
    with Sandbox(find_modes()[0]) as sandbox, pytest.raises(ValueError, match="must be absolute"):
        sandbox.announce_cgroup("docker/x")
