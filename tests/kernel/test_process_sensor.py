"""Facts of real processes, as the kernel's sensors tell them."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from monitor.bpf.sensors import SensorPlan
from monitor.config.settings import LimiterSettings, RingSettings
from monitor.model.events import ProcessExec, ProcessExecFailed, ProcessExit, ProcessFork
from monitor.runtime.heartbeat import CpuHeartbeat
from tests.support.sensors import Watcher, run, the_exec, watching

pytestmark = pytest.mark.kernel

TRUE = "/bin/true"


def test_an_exec_has_program_arguments_folder_and_parent(watcher: Watcher, tmp_path: Path) -> None:
    event = the_exec(watcher, run(TRUE, "a b", "", "c", cwd=tmp_path))

    assert event.executable == os.path.realpath(TRUE)
    assert event.args == (TRUE, "a b", "", "c")
    assert not event.args_truncated
    assert event.cwd == str(tmp_path)
    assert event.parent_tgid == os.getpid()
    assert event.inode == Path(TRUE).stat().st_ino
    assert event.device == Path(TRUE).stat().st_dev


def test_an_exec_has_credentials_and_namespaces(watcher: Watcher) -> None:
    event = the_exec(watcher, run(TRUE, user=1234, group=2345, extra_groups=[]))

    assert (event.uid, event.gid, event.euid, event.egid) == (1234, 2345, 1234, 2345)
    assert event.cap_effective == 0
    for name in ("mnt", "pid", "net", "user", "uts", "ipc", "cgroup"):
        assert getattr(event.namespaces, name) == Path(f"/proc/self/ns/{name}").stat().st_ino, name
    assert event.namespace_tgid == event.tgid


def test_capabilities_of_root_are_those_of_proc(watcher: Watcher) -> None:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)

    event = the_exec(watcher, run(TRUE))

    assert event.cap_permitted == int(status["CapPrm"], 16)
    assert event.login_uid == int(Path("/proc/self/loginuid").read_text())
    assert event.session_id == os.getsid(0)


def test_a_script_has_its_interpreter_as_executable_and_its_own_name(watcher: Watcher, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)

    event = the_exec(watcher, run(script, "x"))

    assert event.executable == os.path.realpath("/bin/sh")
    assert event.script == str(script)
    assert event.args == ("/bin/sh", str(script), "x")


def test_a_memfd_is_told_by_its_file_not_by_its_name(watcher: Watcher) -> None:
    descriptor = os.memfd_create("innocent")
    os.write(descriptor, Path(TRUE).read_bytes())
    os.set_inheritable(descriptor, True)

    event = the_exec(watcher, run(TRUE, executable=f"/proc/self/fd/{descriptor}", pass_fds=[descriptor]))

    assert event.is_memfd
    assert "memfd:innocent" in event.executable
    os.close(descriptor)


def test_a_deleted_program_is_told(watcher: Watcher, tmp_path: Path) -> None:
    program = tmp_path / "gone"
    program.write_bytes(Path(TRUE).read_bytes())
    program.chmod(0o755)
    descriptor = os.open(program, os.O_RDONLY)
    program.unlink()

    event = the_exec(watcher, run(TRUE, executable=f"/proc/self/fd/{descriptor}", pass_fds=[descriptor]))

    assert event.is_deleted
    assert not event.is_memfd
    os.close(descriptor)


def test_a_program_of_a_mount_that_is_mounted_nowhere_has_the_name_its_file_system_knows(watcher: Watcher) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    open_tree, clone, at_fdcwd = 428, 1, -100
    descriptor = libc.syscall(open_tree, at_fdcwd, os.fsencode(os.path.realpath(TRUE)), clone)
    assert descriptor >= 0

    event = the_exec(watcher, run(TRUE, executable=f"/proc/self/fd/{descriptor}", pass_fds=[descriptor]))

    assert event.executable.endswith("/true")
    assert event.is_foreign_namespace or event.is_detached_mount
    os.close(descriptor)


def test_a_path_through_links_is_the_real_one(watcher: Watcher, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    program = tmp_path / "real" / "program"
    program.write_bytes(Path(TRUE).read_bytes())
    program.chmod(0o755)

    event = the_exec(watcher, run(tmp_path / "link" / ".." / "link" / "program"))

    assert event.executable == str(program)


def test_a_path_of_4_kib_is_whole(watcher: Watcher, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_PATH)
    names = []
    for index in range(15):
        name = f"{index:0>240}"
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_PATH, dir_fd=folder)
        os.close(folder)
        folder, _ = below, names.append(name)
    source, target = Path(TRUE).read_bytes(), os.open("program", os.O_WRONLY | os.O_CREAT, 0o755, dir_fd=folder)
    os.write(target, source)
    os.close(target)
    path = "/".join([str(tmp_path), *names, "program"])

    event = the_exec(watcher, run(TRUE, executable=path))

    assert len(path) > 3600
    assert event.executable == path
    assert not event.is_path_truncated
    os.close(folder)


def test_a_failed_exec_has_name_and_errno(watcher: Watcher, tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        try:
            os.execv(tmp_path / "nothing", ["x"])
        finally:
            os._exit(9)
    os.waitpid(child, 0)

    failed = watcher.of_process(child, ProcessExecFailed)

    assert [(event.path_claimed, event.errno) for event in failed] == [(str(tmp_path / "nothing"), 2)]


def test_fork_exec_exit_join_by_key_and_exec_id(watcher: Watcher) -> None:
    tgid = run(TRUE)

    (fork,) = watcher.of_process(tgid, ProcessFork)
    event = the_exec(watcher, tgid)
    (end,) = watcher.of_process(tgid, ProcessExit)

    assert fork.key == event.key == end.key
    assert fork.parent_tgid == os.getpid()
    assert fork.exec_id + 1 == event.exec_id == end.exec_id


def test_an_exit_has_status_or_signal(watcher: Watcher) -> None:
    seven = run("/bin/sh", "-c", "exit 7")
    killed = run("/bin/sh", "-c", "kill -TERM $$")

    assert [(e.exit_status, e.signal) for e in watcher.of_process(seven, ProcessExit)] == [(7, 0)]
    assert [(e.exit_status, e.signal) for e in watcher.of_process(killed, ProcessExit)] == [(0, signal.SIGTERM)]


def test_threads_are_no_processes(watcher: Watcher) -> None:
    tgid = run(sys.executable, "-c", "import threading as t; [t.Thread(target=int).start() for _ in range(5)]")

    assert len(watcher.of_process(tgid, ProcessFork)) == 1
    assert len(watcher.of_process(tgid, ProcessExit)) == 1


def test_an_exec_by_another_thread_keeps_the_key(watcher: Watcher) -> None:
    code = f"import os, threading as t; t.Thread(target=os.execv, args=({TRUE!r}, ['t'])).start(); t.Event().wait()"

    tgid = run(sys.executable, "-c", code)

    first, second = watcher.of_process(tgid, ProcessExec)
    assert first.key == second.key
    assert second.executable == os.path.realpath(TRUE)
    assert second.tid == tgid


def test_the_task_iterator_knows_the_same_key(watcher: Watcher) -> None:
    process = subprocess.Popen(["/bin/sleep", "30"])
    event = the_exec(watcher, process.pid)

    facts = {task.tgid: task for task in watcher.sensors.read_tasks()}[process.pid]
    process.kill()
    process.wait()

    assert (facts.tgid, facts.start_boottime_ns) == event.key
    assert (facts.exec_id, facts.cgroup_id, facts.parent_tgid) == (event.exec_id, event.cgroup_id, os.getpid())


def test_a_terminal_has_a_name(watcher: Watcher) -> None:
    main, terminal = os.openpty()
    name = os.ttyname(terminal)

    def own_terminal() -> None:
        os.setsid()
        libc = ctypes.CDLL(None)
        libc.ioctl(terminal, 0x540E, 0)  # TIOCSCTTY

    event = the_exec(watcher, run(TRUE, preexec_fn=own_terminal, pass_fds=[terminal]))

    assert event.tty == name.removeprefix("/dev/").replace("/", "")
    os.close(main)
    os.close(terminal)


def test_every_record_is_numbered_and_none_is_missing(watcher: Watcher) -> None:
    for _ in range(50):
        run(TRUE)
    watcher.read()

    by_cpu: dict[int, list[int]] = {}
    for cpu, number in watcher.raw_sequences["urgent"]:
        by_cpu.setdefault(cpu, []).append(number)
    for numbers in by_cpu.values():
        assert numbers == list(range(len(numbers)))


def test_a_full_ring_loses_a_number_that_is_counted_exactly() -> None:
    plan = SensorPlan(file_open=False, failed_exec=False, rings=RingSettings(urgent_bytes=4096))
    with watching(plan) as watcher:
        for _ in range(60):
            run(TRUE)
        lost = sum(report.count for report in watcher.sensors.read_losses(1))
        arrived = len(watcher.read())
        numbered = sum(watcher.sensors.read_sequences()["urgent"])

        assert lost > 0
        assert arrived + lost == numbered


def test_losses_name_type_cgroup_and_reason() -> None:
    plan = SensorPlan(file_open=False, failed_exec=False, rings=RingSettings(urgent_bytes=4096))
    with watching(plan) as watcher:
        for _ in range(60):
            run(TRUE)
        reports = list(watcher.sensors.read_losses(7))
        own = next(task for task in watcher.sensors.read_tasks() if task.tgid == os.getpid())

        assert {report.reason for report in reports} == {"ring_full"}
        assert {report.event_type for report in reports} >= {"process_fork", "process_exec"}
        assert own.cgroup_id in {report.cgroup_id for report in reports}
        assert not list(watcher.sensors.read_losses(8)), "a loss is reported once"


def test_the_limiter_holds_a_cgroup_back_but_lets_a_new_program_through(tmp_path: Path) -> None:
    limiter = LimiterSettings(exec_per_s=1, exec_burst=5)
    other = tmp_path / "other"
    other.write_bytes(Path(TRUE).read_bytes())
    other.chmod(0o755)
    with watching(SensorPlan(file_open=False, limiter=limiter)) as watcher:
        flood = [run(TRUE) for _ in range(40)]
        rare = run(other)
        limited = sum(report.count for report in watcher.sensors.read_losses(1) if report.reason == "limited")
        seen = [tgid for tgid in flood if watcher.of_process(tgid, ProcessExec)]

        assert len(seen) < 40, "the machine's other processes share the bucket, so fewer than the burst may pass"
        assert limited >= 40 - len(seen)
        assert watcher.of_process(rare, ProcessExec), "the first exec of another program passes an empty bucket"


def test_own_tasks_are_counted_and_not_streamed() -> None:
    ours = os.fork()
    if not ours:
        with watching() as watcher:
            before = run(TRUE)
            watcher.sensors.mark_own_process()
            thread = threading.Thread(target=run, args=(TRUE,))
            thread.start()
            thread.join()
            after = run("/bin/sh", "-c", TRUE + "; " + TRUE)
            watcher.read()
            good = watcher.of_process(before, ProcessExec) and not watcher.of_process(after, ProcessExec)
            good = good and watcher.sensors.read_own_events() >= 6
            others = [e for e in watcher.seen if isinstance(e, ProcessFork) and e.parent_tgid == os.getpid()]
            os._exit(0 if good and len(others) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(ours, 0)[1]) == 0


def beat_until(heartbeat: CpuHeartbeat, wanted: set[int]) -> list[int]:
    """Beats, with time between them as the service leaves, until these CPUs have been called silent."""
    told: list[int] = []
    for _ in range(8):
        told += heartbeat.beat()
        if wanted and set(told) == wanted:
            break
        time.sleep(0.05)
    return told


def test_each_cpu_shows_a_heartbeat(watcher: Watcher) -> None:
    heartbeat = CpuHeartbeat(watcher.sensors.read_heartbeats)

    assert beat_until(heartbeat, set()) == []
    assert not heartbeat.silent_cpus


def test_a_silent_cpu_is_told_once() -> None:
    with watching(syscalls=False) as watcher:
        watcher.sensors.object.detach("on_process_exit")
        heartbeat = CpuHeartbeat(watcher.sensors.read_heartbeats)
        cpus = os.sched_getaffinity(0)

        assert sorted(beat_until(heartbeat, cpus)) == sorted(cpus)
        assert beat_until(heartbeat, set()) == []
        assert heartbeat.silent_cpus == cpus
