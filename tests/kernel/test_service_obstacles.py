"""What stands in the service's way, and being asked to stop while it starts: one line at most, nothing left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import REPOSITORY, read_bpf_ids, start_stockade, stockade_command, wait_unloaded

pytestmark = pytest.mark.kernel

WAIT_S = 30
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY)}
RULE = """\
title: Rule {number}
id: 1d3a0f3e-92a4-4b0a-9a57-5f7b7a1f{number:04x}
status: test
logsource: {{product: linux, category: process_creation}}
detection: {{marked: {{CommandLine|contains: mark-{number}}}, condition: marked}}
"""
MANY = 1_500
"""Rules that take a moment to read."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as made:
        yield made


@pytest.fixture
def many_rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    for number in range(MANY):
        (folder / f"{number}.yml").write_text(RULE.format(number=number))
    return folder


def stockade(sandbox: Sandbox, *words: str | os.PathLike[str], prefix: tuple[str, ...] = ()) -> tuple[int, str]:
    """Exit status and standard error of a command that ends by itself."""
    done = sandbox.run([*prefix, *stockade_command(*words)], env=ENVIRONMENT, check=False, timeout_s=WAIT_S)
    return done.returncode, done.stderr


# --- asked to stop before it is ready -------------------------------------------------------------


def is_reading_rules(pid: int, _: Path) -> bool:
    return "/_yaml" in Path(f"/proc/{pid}/maps").read_text()


def holds_the_lock(_: int, folder: Path) -> bool:
    lock = folder / "run/lock"
    return lock.exists() and lock.stat().st_size > 0


def has_sensors(pid: int, _: Path) -> bool:
    return bool(read_bpf_ids(pid))


def has_begun(pid: int, _: Path) -> bool:
    """The command's module is being imported, or more."""
    return "/_asyncio" in Path(f"/proc/{pid}/maps").read_text()


def wait_until(process: subprocess.Popen[str], moment: object, folder: Path) -> None:
    end = time.monotonic() + WAIT_S
    while not moment(process.pid, folder):  # type: ignore[operator]
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "the moment did not come"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", [has_begun, is_reading_rules, holds_the_lock, has_sensors])
def test_a_stop_during_the_start_is_no_failure_and_leaves_nothing(
    moment: object, number: signal.Signals, many_rules: Path, tmp_path: Path
) -> None:
    folders = (f"--run-dir={tmp_path}/run", f"--state-dir={tmp_path}/state")
    process = start_stockade("run", f"--rules={many_rules}", *folders)
    wait_until(process, moment, tmp_path)
    attached = read_bpf_ids(process.pid)
    process.send_signal(number)
    _, said = process.communicate(timeout=WAIT_S)

    assert (process.returncode, said) == (0, "")
    assert not wait_unloaded(attached)
    assert [path.name for path in tmp_path.glob("run/*")] in ([], ["lock"])
    assert not holds_the_lock(0, tmp_path)


@pytest.mark.parametrize("moment", [is_reading_rules, has_sensors])
def test_a_recording_that_was_stopped_before_it_began_leaves_no_file(
    moment: object, many_rules: Path, tmp_path: Path
) -> None:
    process = start_stockade("record", tmp_path / "file", f"--rules={many_rules}", f"--state-dir={tmp_path}/state")
    wait_until(process, moment, tmp_path)
    attached = read_bpf_ids(process.pid)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=WAIT_S)

    assert (process.returncode, said) == (0, "")
    assert not wait_unloaded(attached)
    assert not (tmp_path / "file").exists()


# --- full disks -----------------------------------------------------------------------------------


@pytest.fixture
def full_disk(sandbox: Sandbox, tmp_path: Path) -> Iterator[Path]:
    """A folder whose file system has no block left; seen in the sandbox only."""
    folder = tmp_path / "full"
    folder.mkdir()
    sandbox.run(["mount", "-t", "tmpfs", "-o", "size=4k", "full", folder])
    sandbox.run(["sh", "-c", f"echo x > {folder}/fill; mkdir {folder}/there"])
    yield folder
    sandbox.run(["umount", folder])


@pytest.fixture
def no_files(sandbox: Sandbox, tmp_path: Path) -> Iterator[Path]:
    """A folder whose file system takes no more files."""
    folder = tmp_path / "none"
    folder.mkdir()
    sandbox.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "none", folder])
    yield folder
    sandbox.run(["umount", folder])


@pytest.mark.parametrize("command", ["run", "record"])
def test_a_full_state_folder_costs_the_next_start_its_speed_only(
    sandbox: Sandbox, full_disk: Path, tmp_path: Path, command: str
) -> None:
    words = [f"--run-dir={tmp_path}/run"] if command == "run" else [str(tmp_path / "recording")]
    status, said = stockade(sandbox, command, *words, f"--state-dir={full_disk}/state", "--duration=0.2")

    assert status == 0, said
    assert ("is ready" if command == "run" else "recording into") in said


def test_a_run_folder_without_room_for_a_byte_is_enough(sandbox: Sandbox, full_disk: Path, tmp_path: Path) -> None:
    words = f"--run-dir={full_disk}/there", f"--state-dir={tmp_path}/state", "--duration=0.2"
    status, said = stockade(sandbox, "run", *words)

    assert status == 0, said
    assert "is ready" in said
    assert sandbox.run(["ls", full_disk / "there"]).stdout == "lock\n"


def test_a_run_folder_that_takes_no_file_is_told_with_what_helps(
    sandbox: Sandbox, no_files: Path, tmp_path: Path
) -> None:
    status, said = stockade(sandbox, "run", f"--run-dir={no_files}/run", f"--state-dir={tmp_path}/state")

    assert status == 3
    text = "cannot be used: No space left on device (make room there, or give --run-dir)"
    assert said == f"stockade: {no_files}/run {text}\n"


def test_a_run_folder_with_room_for_the_lock_alone_keeps_no_socket(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    sandbox.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=3", "tight", folder])
    status, said = stockade(sandbox, "run", f"--run-dir={folder}", f"--state-dir={tmp_path}/state")
    left = sandbox.run(["ls", "-A", folder]).stdout
    sandbox.run(["umount", folder])

    assert status == 3
    text = "cannot be made: No space left on device (make room there, or give --run-dir)"
    assert said == f"stockade: the sockets in {folder} {text}\n"
    assert left == "lock\n"


def test_a_recording_that_does_not_fit_is_told_before_it_is_called_one(
    sandbox: Sandbox, full_disk: Path, tmp_path: Path
) -> None:
    words = full_disk / "recording", f"--state-dir={tmp_path}/state", "--duration=30"
    status, said = stockade(sandbox, "record", *words)

    assert (status, said) == (3, f"stockade: {full_disk}/recording cannot be written on: No space left on device\n")
    assert "recording" not in sandbox.run(["ls", full_disk]).stdout


def test_a_recording_where_no_file_can_be_made(sandbox: Sandbox, no_files: Path, tmp_path: Path) -> None:
    status, said = stockade(sandbox, "record", no_files / "recording", f"--state-dir={tmp_path}/state")

    assert (status, said) == (3, f"stockade: {no_files}/recording cannot be made: No space left on device\n")


# --- kernels and privileges -----------------------------------------------------------------------


@pytest.fixture
def without_btf() -> Iterator[Sandbox]:
    """A place where the kernel does not describe its types."""
    with Sandbox(find_modes()[0]) as made:
        made.run(["mount", "-t", "tmpfs", "none", "/sys/kernel/btf"])
        yield made


@pytest.mark.parametrize("command", ["run", "record"])
def test_without_btf_one_line_says_what_to_do(without_btf: Sandbox, tmp_path: Path, command: str) -> None:
    words = [f"--run-dir={tmp_path}/run"] if command == "run" else [str(tmp_path / "recording")]
    status, said = stockade(without_btf, command, *words, f"--state-dir={tmp_path}/state")

    assert status == 3
    assert said.count("\n") == 1
    assert "no BTF" in said
    assert "CONFIG_DEBUG_INFO_BTF=y" in said
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "recording").exists()


@pytest.mark.parametrize("command", ["run", "record"])
@pytest.mark.parametrize("lacking", ["-bpf,-sys_admin", "-sys_admin", "-all"])
def test_root_without_its_capabilities_is_told_in_one_line(
    sandbox: Sandbox, tmp_path: Path, command: str, lacking: str
) -> None:
    """As in a container that is not privileged."""
    words = [f"--run-dir={tmp_path}/run"] if command == "run" else [str(tmp_path / "recording")]
    prefix = "setpriv", f"--bounding-set={lacking}", f"--inh-caps={lacking}"
    status, said = stockade(sandbox, command, *words, f"--state-dir={tmp_path}/state", prefix=prefix)

    assert status == 3, said
    assert said.count("\n") == 1, said
    assert "CAP_SYS_ADMIN" in said
    assert "stockade doctor" in said
    assert [path.name for path in tmp_path.glob("run/*")] in ([], ["lock"])
    assert not (tmp_path / "recording").exists()


def test_another_pid_namespace_than_the_hosts_is_told_before_ready(sandbox: Sandbox, tmp_path: Path) -> None:
    """As in a container that is privileged and has pids of its own."""
    words = f"--run-dir={tmp_path}/run", f"--state-dir={tmp_path}/state", "--duration=0.2"
    prefix = "unshare", "--pid", "--fork", "--mount-proc"
    status, said = stockade(sandbox, "run", *words, prefix=prefix)

    assert status == 0, said
    assert said.startswith("stockade: this is not the host's pid namespace: ")
    assert "--pid=host" in said.splitlines()[0]
    assert "is ready" in said
