"""Guards: what root does to the service by the way, and what the kernel says. Run in the guest by ``test_guards``.

The service is a process of the test's own that is marked; root is the test.
"""

import ctypes
import errno
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.bpf.guards import Guards, list_own_objects
from monitor.bpf.libbpf import load_library
from monitor.bpf.own_tasks import mark_own_process
from monitor.bpf.pins import PinFolder, prepare_pin_dir
from monitor.bpf.syscalls import unmount
from monitor.host.cgroups import find_tag_hierarchy
from monitor.shipped import get_guard_object
from monitor.wire import _layout as layout

pytestmark = pytest.mark.kernel

BPF_CALL = 321
MAP_BY_ID, PROGRAM_BY_ID, LINK_BY_ID = 14, 13, 30
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
PIDFD_GETFD = 438
PROCESS_VM_READV = 310
SECOND_NS = 1_000_000_000
LIBC = ctypes.CDLL(None, use_errno=True)


class Scene(NamedTuple):
    """What there is to attack."""

    guards: Guards
    pins: PinFolder
    service: int
    """Its pid."""
    cgroup: Path


def number_of(kind: int) -> int:
    return next(number for each, number in list_own_objects() if each == kind)


def call(number: int, *arguments: object) -> int:
    """A system call; raises what it says."""
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(LIBC.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def open_by_number(command: int, kind: int) -> None:
    attributes = ctypes.create_string_buffer(120)
    attributes[:4] = number_of(kind).to_bytes(4, "little")
    os.close(call(BPF_CALL, command, attributes, 120))


def open_pin(scene: Scene) -> None:
    fd = int(load_library().bpf_obj_get(os.fsencode(scene.pins.path / "map_guarded")))
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    os.close(fd)


def seize(pid: int) -> None:
    if LIBC.ptrace(PTRACE_SEIZE, pid, None, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    LIBC.ptrace(PTRACE_DETACH, pid, None, None)


def read_memory(pid: int) -> None:
    with Path(f"/proc/{pid}/mem").open("rb"):
        pass


def read_by_call(pid: int) -> None:
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_uint64 * 2)(1 << 12, 8)
    try:
        call(PROCESS_VM_READV, pid, local, 1, remote, 1, 0)
    except OSError as error:
        if error.errno != errno.EFAULT:  # allowed, and nothing lies there
            raise


def take_descriptor(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        os.close(call(PIDFD_GETFD, pidfd, 0, 0))
    finally:
        os.close(pidfd)


def send(pid: int, number: int) -> None:
    os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)


def write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)


def bound(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


ATTACKS: dict[str, Callable[[Scene], None]] = {
    "a map by its number": lambda _: open_by_number(MAP_BY_ID, layout.GUARDED_MAP),
    "a program by its number": lambda _: open_by_number(PROGRAM_BY_ID, layout.GUARDED_PROGRAM),
    "a link by its number": lambda _: open_by_number(LINK_BY_ID, layout.GUARDED_LINK),
    "a pin opened": open_pin,
    "a pin renamed": lambda scene: (scene.pins.path / "link_on_guard_map").rename(scene.pins.path / "other"),
    "a pin removed": lambda scene: next(scene.pins.path.glob("link_on_guard_u*")).unlink(),
    "a folder of pins removed": lambda scene: (scene.pins.path / "complete").rmdir(),
    "the bpffs unmounted": lambda scene: unmount(scene.pins.path.parent),
    "SIGSTOP": lambda scene: send(scene.service, signal.SIGSTOP),
    "ptrace": lambda scene: seize(scene.service),
    "/proc/PID/mem": lambda scene: read_memory(scene.service),
    "process_vm_readv": lambda scene: read_by_call(scene.service),
    "pidfd_getfd": lambda scene: take_descriptor(scene.service),
    "prlimit": lambda scene: bound(scene.service),
    "sched_setaffinity": lambda scene: os.sched_setaffinity(scene.service, {0}),
    "cgroup.freeze": lambda scene: write(scene.cgroup / "cgroup.freeze", "0"),
    "cgroup.kill of the cgroup above": lambda scene: write(scene.cgroup.parent / "cgroup.kill", ""),
    "joining the cgroup": lambda scene: write(scene.cgroup / "cgroup.procs", ""),
    "SIGKILL": lambda scene: os.kill(scene.service, signal.SIGKILL),
}
"""In this order each leaves the next something to attack, where it is allowed."""


@pytest.fixture(scope="module")
def cgroup() -> Iterator[Path]:
    above = find_tag_hierarchy().mount / f"stockade-guards-{os.getpid()}"
    folder = above / "service"
    folder.mkdir(parents=True)
    yield folder
    folder.rmdir()
    above.rmdir()


def start_service(guards: Guards, cgroup: Path) -> "subprocess.Popen[bytes]":
    def enter() -> None:
        (cgroup / "cgroup.procs").write_text(str(os.getpid()))
        mark_own_process(guards.object, "guard_marks", layout.GUARD_MARK_OURS)

    return subprocess.Popen(["/bin/sleep", "600"], preexec_fn=enter)  # noqa: PLW1509  (no threads here)


@pytest.fixture
def scene(cgroup: Path, tmp_path: Path) -> Iterator[Scene]:
    pin_dir = tmp_path / "bpf"
    prepare_pin_dir(pin_dir)
    with Guards(get_guard_object()) as guards:
        guards.load()
        pins = PinFolder(pin_dir, guards.generation)
        pins.pin(guards.object)
        process = start_service(guards, cgroup)
        guards.set_bpffs(pin_dir.stat().st_dev)
        inode, above = cgroup.stat().st_ino, cgroup.parent.stat().st_ino
        of_cgroups = guards.set_cgroups(cgroup.stat().st_dev, inode, [above])
        assert guards.replace_guarded([*of_cgroups, *list_own_objects()]) == 0
        try:
            yield Scene(guards, pins, process.pid, cgroup)
        finally:
            guards.let_go()
            process.kill()
            process.wait()
            if os.path.ismount(pin_dir):
                pins.remove()
                unmount(pin_dir)


def refusals(scene: Scene) -> dict[str, int | None]:
    """By attack the error, None: it worked."""
    found: dict[str, int | None] = {}
    for name, attack in ATTACKS.items():
        try:
            attack(scene)
        except OSError as error:
            found[name] = error.errno
        else:
            found[name] = None
    return found


def test_root_cannot_end_it_by_the_way(scene: Scene) -> None:
    scene.guards.beat()

    answers = refusals(scene)

    assert {name: answer for name, answer in answers.items() if answer not in {errno.EPERM, errno.EACCES}} == {}
    refused = scene.guards.read_refused()
    assert sum(refused.values()) >= len(ATTACKS)
    assert all(refused.values())
    os.kill(scene.service, 0)  # who only asks gets an answer


def test_without_a_beat_it_lets_go(scene: Scene) -> None:
    """The same attacks, and each of them works: the table proves something."""
    scene.guards.beat()
    beat = scene.guards.object.variable_view("guard_beat_boottime_ns").cast("Q")
    beat[0] = (beat[0] - (layout.GUARD_SIZE_LET_GO_S + 1) * SECOND_NS) % (1 << 64)

    answers = refusals(scene)

    assert {name: os.strerror(answer) for name, answer in answers.items() if answer is not None} == {}
    assert sum(scene.guards.read_refused().values()) == 0


def test_what_is_ours_and_what_it_forks_may(scene: Scene) -> None:
    scene.guards.beat()
    words = "import os, sys; os.kill(int(sys.argv[1]), 19); os.kill(int(sys.argv[1]), 18)"
    marks = [True, False]

    def enter() -> None:
        if marks[0]:
            mark_own_process(scene.guards.object, "guard_marks", layout.GUARD_MARK_OURS)

    nested = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {words!r}, sys.argv[1]]))"
    ours = subprocess.run(["/usr/bin/python3", "-c", nested, str(scene.service)], preexec_fn=enter, check=False)
    marks[0] = False
    others = subprocess.run(
        ["/usr/bin/python3", "-c", nested, str(scene.service)], preexec_fn=enter, check=False, capture_output=True
    )

    assert (ours.returncode, others.returncode) == (0, 1)
    assert b"PermissionError" in others.stderr


def test_it_does_not_guard_others(scene: Scene) -> None:
    scene.guards.beat()
    other = subprocess.Popen(["/bin/sleep", "600"])
    try:
        for attack in (seize, read_memory, read_by_call, take_descriptor, bound):
            attack(other.pid)
    finally:
        other.kill()
        other.wait()
    assert sum(scene.guards.read_refused().values()) == 0
