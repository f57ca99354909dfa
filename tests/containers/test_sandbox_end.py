"""The end of a sandbox, however it comes: what was made in it is gone, and nothing else."""

import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import leftovers, oci, supervisor
from tests.support.sandbox import Sandbox, find_modes
from tests.support.traces import find_cgroups, wait_gone

pytestmark = pytest.mark.containers

REPOSITORY = Path(__file__).resolve().parents[2]
# A test run that ends while a container of it runs; what it says first: the supervisor's and the container's process.
RUN = """
import os, pathlib, signal, sys
from tests.support import oci
from tests.support.sandbox import Sandbox
runtime, rootfs, parent, mode, *acts = sys.argv[1:]
sandbox = Sandbox(mode).__enter__()
abandoned = oci.start_container(sandbox, runtime, pathlib.Path(rootfs), wish=oci.wish_below(parent))
container = abandoned.__enter__()
print(sandbox.pid, container.pid, flush=True)
if "freeze" in acts:
    sandbox.run([runtime, f"--root={oci.STATE / runtime}", "pause", container.id])
if "kill-the-supervisor" in acts:
    os.kill(sandbox.pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""
# A command in a sandbox outlives those who would end it, and this process ends too.
START_WITH_THE_MARK = """
from subprocess import DEVNULL, Popen
from tests.support import leftovers
environment = {leftovers.VARIABLE: leftovers.mark()}
print(Popen(["/bin/sleep", "600"], env=environment, stdout=DEVNULL, stderr=DEVNULL).pid)
"""


@pytest.fixture
def runtime() -> str:
    return oci.find_runtimes()[0]


def python(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False
    )


def start_and_be_killed(*words: str | Path) -> Sequence[int]:
    """Processes of a test run (:data:`RUN`) that killed itself: the supervisor, the container's first one."""
    done = python("-c", RUN, *words)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return [int(word) for word in done.stdout.split()]


def test_what_was_forgotten_is_ended(runtime: str, rootfs: Path, parent: str) -> None:
    """A daemon that left its parent, and a container whose runtime was killed."""
    with Sandbox(find_modes()[0]) as sandbox:
        sandbox.run(["sh", "-c", "setsid sleep 3600 > /dev/null 2>&1 &"])
        daemons = supervisor.find_members_of(sandbox.pid)
        abandoned = oci.start_container(sandbox, runtime, rootfs, wish=oci.wish_below(parent))
        container = abandoned.__enter__()
        pid = container.pid
        container.kill_runtime()

    assert len(daemons) == 1
    for ended in (*daemons, pid):
        wait_gone(ended)


def test_a_killed_test_run_leaves_nothing(runtime: str, rootfs: Path, parent: str) -> None:

    for pid in start_and_be_killed(runtime, rootfs, parent, find_modes()[0]):
        wait_gone(pid)


@pytest.mark.parametrize("acts", [(), ("freeze",)], ids=["running", "frozen"])
@pytest.mark.parametrize(("runtime", "mode"), oci.find_combinations())
def test_what_was_killed_with_its_supervisor_is_ended_by_the_next_run(
    runtime: str, mode: str, acts: tuple[str, ...], rootfs: Path, parent: str
) -> None:
    _, container = start_and_be_killed(runtime, rootfs, parent, mode, *acts, "kill-the-supervisor")
    assert supervisor.read_stat(container), "this is what the next run must end"

    done = python("-m", "pytest", "-q", "--collect-only", "tests/unit/test_shipped.py")

    assert "ended what a killed test run left: cgroup " in done.stdout, done.stdout + done.stderr
    wait_gone(container)


def test_a_command_of_a_killed_run_is_ended_too() -> None:
    """It is in no cgroup of ours; its environment has the mark."""
    pid = int(python("-c", START_WITH_THE_MARK).stdout)
    assert supervisor.read_stat(pid)

    assert leftovers.end_leftovers() == [f"process {pid}"]
    wait_gone(pid)


def test_what_is_not_left_over_stays(runtime: str, rootfs: Path) -> None:
    """A container of a test run that lives, and a cgroup that looks like a container's and is none of ours."""
    base = next(iter(supervisor.cgroup_mounts()))
    (foreign := base / secrets.token_hex(32)).mkdir()
    try:
        with Sandbox(find_modes()[0]) as sandbox, oci.start_container(sandbox, runtime, rootfs) as container:
            assert leftovers.end_leftovers() == []
            assert container.exec("echo", "alive").stdout == "alive\n"
        assert foreign.exists()
    finally:
        foreign.rmdir()


def test_the_end_of_one_sandbox_is_not_the_end_of_anothers_container(runtime: str, rootfs: Path, parent: str) -> None:
    """Both are below a cgroup that the first one made."""
    mode = find_modes()[0]
    with Sandbox(mode) as other:
        with Sandbox(mode) as sandbox, oci.start_container(sandbox, runtime, rootfs, wish=oci.wish_below(parent)):
            stays = oci.start_container(other, runtime, rootfs, wish=oci.wish_below(parent))
            container = stays.__enter__()
        assert container.exec("echo", "alive").stdout == "alive\n"
        stays.__exit__(None, None, None)


def test_a_parent_that_another_sandbox_removed_is_removed_again(runtime: str, rootfs: Path, parent: str) -> None:
    """The other one ends when the container is announced and not yet there: the runtime makes the parent anew."""
    mode, wish = find_modes()[0], oci.wish_below(parent)
    with Sandbox(mode) as sandbox:
        with Sandbox(mode) as other, oci.start_container(other, runtime, rootfs, wish=oci.wish_below(parent)):
            sandbox.announce_cgroup(wish.cgroup_path)
        assert find_cgroups(parent) == []
        oci.run_container(sandbox, runtime, rootfs, "true", wish=wish)
