"""What the gate reads of processes and mounts: texts that containers may write."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.gate import places
from monitor.gate.facts import find_scope
from monitor.gate.policy import HeldContainer, LoadedPolicy
from monitor.gate.task_facts import HeldTask, TaskGone, find_cgroup_path, read_stat
from monitor.rules.ir import Exists
from tests.support.gate import hold_policy, policy_of, scope_of

ID = "a" * 64
HYBRID = f"12:pids:/docker/{ID}\n3:cpu,cpuacct:/other\n1:name=systemd:/x\n0::/docker/{ID}/nested:1\n".encode()


@pytest.mark.parametrize(
    "controller, path",
    [("", f"/docker/{ID}/nested:1"), ("pids", f"/docker/{ID}"), ("cpuacct", "/other"), ("memory", "/")],
)
def test_a_cgroup_is_found_in_the_hierarchy_that_tells(controller: str, path: str) -> None:
    assert find_cgroup_path(HYBRID, controller) == path


@given(st.binary())
def test_any_text_is_read_as_cgroups(text: bytes) -> None:
    find_cgroup_path(text, "")
    find_cgroup_path(text, "pids")


def test_the_task_is_this_one() -> None:
    task = HeldTask(os.getpid())

    assert task.status == (os.getpid(), os.getppid(), os.getuid())
    assert task.executable == os.path.realpath(sys.executable)
    assert not task.loads_program and not task.stat.has_not_executed
    assert task.root_mount_id > 0


def test_a_task_that_is_gone_is_said() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

    with pytest.raises(TaskGone):
        read_stat(child)
    with pytest.raises(TaskGone):
        _ = HeldTask(child).status


@pytest.mark.parametrize(
    "path, cgroup_id",
    [
        ("/docker/named", 5),
        ("/docker/named/deep/er", 5),
        ("/docker/namedx", 0),
        ("/", 0),
        (f"/docker/named/{ID}", 5),
    ],
)
def test_a_container_is_the_outermost_that_is_known(path: str, cgroup_id: int) -> None:
    policy = policy_of(("process_creation", Exists("container.id")))
    held = HeldContainer(5, "/docker/named", scope_of(policy, is_container=True))
    loaded = LoadedPolicy(hold_policy(policy, containers=[held]))

    assert find_scope(loaded, path).cgroup_id == cgroup_id
    assert find_scope(loaded, path).applies == (1 if cgroup_id else 0)


@pytest.mark.parametrize(
    "path, is_pending",
    [
        (f"/docker/{ID}", True),
        (f"/system.slice/docker-{ID}.scope", True),
        (f"/machine.slice/libpod-conmon-{ID}.scope", False),
        (f"/k8s.slice/x.slice:cri-containerd:{ID}", True),
        (f"/x/{ID}/y", True),
        (f"/x/a{ID}", False),
    ],
)
def test_a_container_without_a_name_has_its_shape(path: str, is_pending: bool) -> None:
    loaded = LoadedPolicy(hold_policy(policy_of(("process_creation", Exists("container.id")))))

    assert (find_scope(loaded, path) is loaded.pending) is is_pending


def test_what_the_host_runs_from_is_no_containers(tmp_path: Path) -> None:
    """Overlays, by what a process shows; its tmpfs, where the host does not show it too."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    device = here.stat().st_dev
    major, minor = os.major(device), os.minor(device)
    line = "1 1 {}:{} / {} rw - {} x rw\n"
    proc = tmp_path / "proc"
    for name in ("self", "7"):
        (proc / name).mkdir(parents=True)
    (proc / "7" / "root").symlink_to("/")
    system = line.format(major, minor, "/usr", "overlay")
    own = line.format(major, minor, str(here), "overlay")
    hidden = line.format(0, 9999, str(there), "tmpfs")

    (proc / "7" / "mountinfo").write_text(own + hidden)
    (proc / "self" / "mountinfo").write_text(own)
    found = places.open_container_places(7, proc)
    assert [(place.mark.device, place.mark.host_points) for place in found] == [(device, (str(here),))]
    os.close(found[0].fd)

    (proc / "self" / "mountinfo").write_text(system)
    assert places.open_container_places(7, proc) == []


BREACH = """
    import sys
    from monitor.gate.discipline import BreachError, Discipline
    discipline = Discipline(is_strict=sys.argv[1] == "strict")
    discipline.begin()
    open("/proc/1/status").close()
    print(discipline.breaches)
    try:
        {act}
    except BreachError as error:
        print(error)
    print(discipline.breaches, discipline.last_breach)
"""


@pytest.mark.parametrize(
    "act, what",
    [
        ("open('/etc/hostname').close()", "open '/etc/hostname'"),
        ("open('/proc/1/root/x')", "open '/proc/1/root/x'"),
        ("import wave", "import 'wave'"),
        ("import ctypes; ctypes.CDLL('libm.so.6')", "import 'ctypes'"),
    ],
)
@pytest.mark.parametrize("how", ["strict", "counted"])
def test_whatever_opens_or_loads_is_noticed_before_it_does(act: str, what: str, how: str) -> None:
    script = textwrap.dedent(BREACH).format(act=act)
    done = subprocess.run([sys.executable, "-c", script, how], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()

    assert lines[0] == "0"
    if how == "strict":
        assert lines[1:] == [f"the answering thread was about to do: {what}", f"1 {what}"]
    elif done.returncode == 0:
        assert int(lines[1].split()[0]) >= 1
