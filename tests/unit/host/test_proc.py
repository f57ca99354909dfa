"""Running processes as events: real children, and process trees made of facts."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.host import proc
from monitor.host.proc import snapshot_processes
from monitor.model.events import ProcessExec
from monitor.model.ids import CgroupId, TaskFacts, Tgid
from tests.support.proc_facts import get_facts, list_facts


@dataclass(frozen=True)
class Child:
    process: subprocess.Popen[bytes]

    @property
    def facts(self) -> TaskFacts:
        return get_facts(self.process.pid)


@contextmanager
def running(*command: str | Path, **options: object) -> Iterator[Child]:
    """Run a child that is past its exec."""
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]  # options are Popen's own
    try:
        yield Child(process)
    finally:
        process.kill()
        process.wait()


def wait_for_state(pid: int, states: str) -> None:
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in states:
        assert time.monotonic() < end
        time.sleep(0.005)


def read_process(facts: TaskFacts) -> ProcessExec | None:
    return next(iter(snapshot_processes([facts])), None)


def make_facts(tgid: int, parent: int = 0, start: int = 0) -> TaskFacts:
    return TaskFacts(Tgid(tgid), start, 0, CgroupId(1), Tgid(parent), 0)


def test_a_child_is_described(tmp_path: Path) -> None:
    with running("/bin/sleep", "60", cwd=tmp_path) as child:
        facts = child.facts
        event = read_process(facts)

    assert event is not None
    wanted = Path("/bin/sleep").stat()
    assert event.executable == str(Path("/bin/sleep").resolve())
    assert event.args == ("/bin/sleep", "60")
    assert (event.cwd, event.uid, event.parent_tgid) == (str(tmp_path), os.getuid(), os.getpid())
    assert (event.inode, event.device, event.link_count) == (wanted.st_ino, wanted.st_dev, wanted.st_nlink)
    assert (event.start_boottime_ns, event.key.tgid) == (facts.start_boottime_ns, child.process.pid)
    assert event.namespaces.pid == Path("/proc/self/ns/pid").stat().st_ino
    assert event.from_proc
    assert not (event.is_deleted or event.is_memfd or event.is_32bit)


def test_exact_start_times_match_ticks() -> None:
    with running("/bin/sleep", "60") as child:
        facts = child.facts
        exact = facts._replace(start_boottime_ns=facts.start_boottime_ns + 9_999_999)
        another = facts._replace(start_boottime_ns=facts.start_boottime_ns + 30_000_000)

        assert read_process(exact) is not None
        assert read_process(another) is None, "a pid that is used again is another process"


def test_a_deleted_program(tmp_path: Path) -> None:
    program = tmp_path / "gone"
    shutil.copy("/bin/sleep", program)
    with running(program, "60") as child:
        program.unlink()
        event = read_process(child.facts)

    assert event is not None
    assert (event.executable, event.is_deleted, event.link_count) == (str(program), True, 0)


def test_a_name_that_looks_deleted(tmp_path: Path) -> None:
    program = tmp_path / "here (deleted)"
    shutil.copy("/bin/sleep", program)
    with running(program, "60") as child:
        event = read_process(child.facts)

    assert event is not None
    assert (event.executable, event.is_deleted) == (str(program), False)


def test_a_program_in_memory() -> None:
    fd = os.memfd_create("payload", 0)
    with os.fdopen(fd, "wb") as file:
        file.write(Path("/bin/sleep").read_bytes())
        file.flush()
        with running(f"/proc/self/fd/{fd}", "60", pass_fds=[fd]) as child:
            event = read_process(child.facts)

    assert event is not None
    assert (event.executable, event.is_memfd, event.is_deleted, event.is_tmpfs) == (
        "/memfd:payload",
        True,
        False,
        True,
    )


def test_a_program_on_tmpfs() -> None:
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        pytest.skip("no writable /dev/shm")
    program = shared / f"stockade-test-{os.getpid()}"
    shutil.copy("/bin/sleep", program)
    try:
        with running(program, "60") as child:
            event = read_process(child.facts)
    finally:
        program.unlink()

    assert event is not None
    assert (event.is_tmpfs, event.is_memfd) == (True, False)


def test_a_process_whose_first_thread_has_ended() -> None:
    script = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    with running(sys.executable, "-c", script) as child:
        wait_for_state(child.process.pid, "Z")
        event = read_process(child.facts)

    assert event is not None
    assert event.executable == str(Path(sys.executable).resolve())
    assert event.args[1:] == ("-c", script)


def test_a_zombie_is_no_process() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    try:
        wait_for_state(pid, "Z")
        facts = get_facts(pid)
        assert read_process(facts) is None
    finally:
        os.waitpid(pid, 0)


def test_a_process_that_has_ended_is_left_out() -> None:
    with running("/bin/sleep", "60") as child:
        facts = child.facts
        child.process.send_signal(signal.SIGKILL)
        child.process.wait()

    assert list(snapshot_processes([facts])) == []


def test_the_whole_machine_in_order_and_in_time() -> None:
    facts = list(list_facts())

    started = time.perf_counter()
    events = list(snapshot_processes(facts))
    per_process_s = (time.perf_counter() - started) / len(facts)

    seen: set[int] = set()
    present = {event.tgid for event in events}
    for event in events:
        assert event.parent_tgid in seen or event.parent_tgid not in present
        seen.add(event.tgid)
    assert os.getpid() in seen
    print(f"{per_process_s * 1e6:.0f} us a process")
    assert per_process_s < 0.0025, "200 processes in 50 ms, ten times over for a busy machine"


def test_kernel_threads_have_no_program() -> None:
    threads = [e for e in snapshot_processes(list_facts()) if e.parent_tgid == 2]
    if not threads:
        pytest.skip("no kernel threads are shown in this pid namespace")

    assert {(event.executable, event.args) for event in threads} == {("", ())}


@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.integers(0, 30), st.integers(0, 3)), unique_by=lambda row: row[0], max_size=30
    )
)
def test_parents_come_first_whatever_the_facts(rows: list[tuple[int, int, int]]) -> None:
    ordered = proc._parents_first([make_facts(*row) for row in rows])

    parents = {tgid: parent for tgid, parent, _ in rows}
    assert sorted(facts.tgid for facts in ordered) == sorted(parents)
    seen: set[int] = set()
    for facts in ordered:
        parent = facts.parent_tgid
        assert parent in seen or parent not in parents or is_in_circle(facts.tgid, parents)
        seen.add(facts.tgid)


def is_in_circle(tgid: int, parents: dict[int, int]) -> bool:
    """Only torn readings make circles; what hangs on one has no order."""
    seen = set()
    while tgid in parents and tgid not in seen:
        seen.add(tgid)
        tgid = parents[tgid]
    return tgid in seen
