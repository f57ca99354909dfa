"""The harness of docker, containerd and podman by itself: they run in each cgroup mode, and nothing of them is left."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import leftovers, runtimes
from tests.support.images import Image, write_image
from tests.support.runtimes import Docker, Runtime
from tests.support.sandbox import Sandbox, find_modes
from tests.support.traces import find_cgroups, switched_on, wait_gone

pytestmark = pytest.mark.containers

REPOSITORY = Path(__file__).resolve().parents[2]
COMBINATIONS = [
    pytest.param(kind, mode, id=f"{kind.name}-{mode}", marks=() if mode == find_modes()[0] else pytest.mark.long)
    for kind in runtimes.ALL
    for mode in kind.modes()
]
# A test run that is killed, its sandbox's supervisor too, while a container of docker's runs.
KILLED_RUN = """
import os, pathlib, signal, sys
from tests.support.images import Image
from tests.support.runtimes import Docker
from tests.support.sandbox import Sandbox
archive, reference, mode = sys.argv[1:]
sandbox = Sandbox(mode, network=True).__enter__()
docker = Docker(sandbox).__enter__()
docker.load(image := Image(pathlib.Path(archive), reference, ""))
container = docker.create(image, "sleep", "3600")
container.start()
print(container.id, container.pid, docker.folder, flush=True)
os.kill(sandbox.pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def image(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return write_image(rootfs, tmp_path_factory.mktemp("image") / "image.tar", "localhost/stockade/runtimes:1")


@pytest.mark.parametrize(("kind", "mode"), COMBINATIONS)
def test_a_runtime_runs_containers_and_leaves_nothing(kind: type[Runtime], mode: str, image: Image) -> None:
    if not kind.is_installed():
        pytest.skip(f"no {kind.program} here")
    controllers, places = switched_on(), sorted(Path("/var/lib").iterdir())
    with Sandbox(mode, network=True) as sandbox:
        with kind(sandbox) as runtime:
            folder = runtime.folder
            runtime.load(image)
            done = runtime.run(image, "sh", "-c", "cat /var/www/index.html; exit 3", check=False)
            assert (done.returncode, done.stdout) == (3, "hello from the container\n")

            container = runtime.create(image, "sleep", "3600")
            container.start()
            container.wait_for_program("sleep")
            pid = container.pid
            assert container.cgroup_path in Path(f"/proc/{pid}/cgroup").read_text()
            assert " / overlay " in container.exec("cat", "/proc/mounts").stdout.partition("\n")[0]
            assert container.exec("sh", "-c", "exit 5", check=False).returncode == 5
            left = runtime.create(image, "sleep", "3600")
            left.start()
        wait_gone(pid)

    assert not folder.exists()
    assert [path for each in (container, left) for path in find_cgroups(Path(each.cgroup_path).name)] == []
    assert switched_on() == controllers
    assert sorted(Path("/var/lib").iterdir()) == places


def test_what_a_killed_run_leaves_of_docker_is_ended(image: Image) -> None:
    command = [sys.executable, "-c", KILLED_RUN, str(image.archive), image.reference, find_modes()[0]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    identity, pid, folder = done.stdout.split()

    leftovers.end_leftovers()

    wait_gone(int(pid))
    assert find_cgroups(identity) == []
    subprocess.run(["rm", "-rf", folder], check=True)


def test_a_daemon_that_does_not_start_says_why() -> None:
    with Sandbox(find_modes()[0]) as sandbox:
        sandbox.run(["mkdir", "-p", "/run/docker.sock/taken"])
        with pytest.raises(Exception, match="dockerd ended with exit status 1"), Docker(sandbox):
            pass
