"""Files of a process' folder, the kernel's own and hostile ones."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.host import procfs
from monitor.host.statx import read_file_facts
from monitor.model.arguments import CUT


@pytest.fixture
def own() -> Iterator[int]:
    folder = procfs.open_process(os.getpid(), Path("/proc"))
    yield folder
    os.close(folder)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[int]:
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield folder
    os.close(folder)


def write_stat(folder: Path, name: bytes = b"sh", flags: int = 0) -> None:
    tail = f"S 7 8 9 34821 -1 {flags} 0 0 0 0 0 0 0 0 20 0 3 0 12345 0{' 0' * 24} 140000 145000 0 0 0"
    (folder / "stat").write_bytes(b"5 (" + name + b") " + tail.encode())


def test_our_own_stat(own: int) -> None:
    stat = procfs.read_stat(own)

    assert stat.parent_tgid == os.getppid()
    assert stat.session_id == os.getsid(0)
    assert stat.state == "R"
    assert not stat.is_kernel_thread


@pytest.mark.parametrize("name", [b"sh", b"a b", b") R 1 1 1", b"((", b"\xff\n"])
def test_a_process_can_be_called_anything(tmp_path: Path, made: int, name: bytes) -> None:
    write_stat(tmp_path, name)

    stat = procfs.read_stat(made)

    assert (stat.parent_tgid, stat.session_id, stat.tty_number) == (7, 9, 34821)
    assert (stat.thread_count, stat.start_ticks, stat.args_bytes) == (3, 12345, 5000)


def test_kernel_threads_are_told_by_their_flag(tmp_path: Path, made: int) -> None:
    write_stat(tmp_path, flags=0x00208040)

    assert procfs.read_stat(made).is_kernel_thread


def test_our_own_status(own: int) -> None:
    status = procfs.read_status(own)

    assert (status.uid, status.euid, status.gid, status.egid) == (os.getuid(), os.geteuid(), os.getgid(), os.getegid())
    assert status.cap_effective & ~status.cap_permitted == 0


def test_status_of_a_nested_pid_namespace(tmp_path: Path, made: int) -> None:
    (tmp_path / "status").write_text(
        "Name:\tUid:\\n\nTgid:\t500\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"
        f"Groups:\t{'1000000 ' * 65536}\nNSpid:\t500\t20\t1\nCapPrm:\t00000000000000ff\nCapEff:\t000000000000000f\n"
    )

    assert procfs.read_status(made) == procfs.Status(1, 2, 5, 6, 1, 0xF, 0xFF)


@pytest.mark.parametrize(
    ("cmdline", "args"),
    [
        (b"", ()),
        (b"sh\0-c\0\0", ("sh", "-c", "")),
        (b"\0", ("",)),
        (b"a\xff\nb\0", ("a\\xff\nb",)),
        (b"one title, as some servers set it", ("one title, as some servers set it",)),
        (b"x" * 4095 + b"\0", ("x" * 4095,)),
    ],
)
def test_arguments(tmp_path: Path, made: int, cmdline: bytes, args: tuple[str, ...]) -> None:
    (tmp_path / "cmdline").write_bytes(cmdline)

    assert procfs.read_args(made, len(cmdline)) == (args, 0, -1)


@pytest.mark.parametrize(
    ("cmdline", "expected"),
    [
        (b"x" * 4096 + b"\0", (("x" * 3072, CUT, "x" * 1023), 1, 1)),
        (b"x\0" * 65536, ((*("x",) * 1536, CUT, *("x",) * 512), 131072 - 4096, 1536)),
        (b"sh\0" + b"y" * 100_000 + b"\0the end\0", (("sh", "y" * 3069, CUT, "y" * 1015, "the end"), 95_916, 2)),
    ],
)
def test_of_long_arguments_head_and_tail_are_read(
    tmp_path: Path, made: int, cmdline: bytes, expected: tuple[tuple[str, ...], int, int]
) -> None:
    (tmp_path / "cmdline").write_bytes(cmdline)

    assert procfs.read_args(made, len(cmdline)) == expected


def test_arguments_whose_end_is_unknown_or_gone_lose_it(tmp_path: Path, made: int) -> None:
    (tmp_path / "cmdline").write_bytes(b"x" * 9000)

    assert procfs.read_args(made, 0) == (("x" * 3072, CUT, "x" * 1024), 1, 1)
    assert procfs.read_args(made, 50_000) == (("x" * 3072, CUT), 50_000 - 3072, 1)


def test_long_arguments_of_a_real_process() -> None:
    with subprocess.Popen(["/bin/sleep", *["0"] * 50_000, "60"]) as process:
        folder = procfs.open_process(process.pid, Path("/proc"))
        while not (args_bytes := procfs.read_stat(folder).args_bytes) > 100_000:
            os.sched_yield()  # not past its exec yet
        read = procfs.read_args(folder, args_bytes)
        process.kill()
        os.close(folder)

    assert read.args[:2] == ("/bin/sleep", "0")
    assert read.args[-2:] == ("0", "60")
    assert read.args[read.cut_at] == CUT
    assert read.omitted_bytes == len("/bin/sleep\0") + 2 * 50_000 + len("60\0") - 4096


def test_links_and_namespaces(own: int) -> None:
    assert procfs.read_path(own, "cwd") == (str(Path.cwd()), False)
    assert procfs.read_path(own, "no-such-link") == ("", False)
    assert procfs.read_namespaces(own).mnt == Path("/proc/self/ns/mnt").stat().st_ino


def test_a_path_that_is_too_long_for_proc_is_said_to_be(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        os.chdir(tmp_path)
        for _ in range(20):
            Path("d" * 250).mkdir()
            os.chdir("d" * 250)
        folder = procfs.open_process(os.getpid(), Path("/proc"))
        os._exit(0 if procfs.read_path(folder, "cwd") == ("", True) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_width_of_a_program(tmp_path: Path, own: int, made: int) -> None:
    assert not procfs.is_32bit(own)
    (tmp_path / "auxv").write_bytes(bytes.fromhex("20000000 90a5f7f7 21000000"))  # AT_SYSINFO and its address
    assert procfs.is_32bit(made)
    (tmp_path / "auxv").write_bytes(b"")
    assert not procfs.is_32bit(made)


def test_a_kernel_without_audit_has_no_login_uid(made: int) -> None:
    assert procfs.read_login_uid(made) == procfs.LOGIN_UID_UNSET


@pytest.mark.parametrize(
    ("major", "minor", "name"),
    [(136, 5, "pts5"), (137, 1, "pts257"), (4, 1, "tty1"), (4, 64, "ttyS0"), (5, 1, "console")],
)
def test_terminals(major: int, minor: int, name: str) -> None:
    assert procfs.build_tty_name(os.makedev(major, minor)) == name


def test_no_terminal_and_an_unknown_one() -> None:
    assert procfs.build_tty_name(0) == ""
    assert procfs.build_tty_name(os.makedev(4000, 7)) == "4000:7"


def test_a_file_is_told_by_device_and_inode(tmp_path: Path, made: int) -> None:
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "second").hardlink_to(file)
    wanted = file.stat()

    assert read_file_facts("file", dir_fd=made) == (wanted.st_ino, wanted.st_dev, 2)
    with pytest.raises(FileNotFoundError):
        read_file_facts("missing", dir_fd=made)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.binary(max_size=5000))
def test_any_bytes_are_arguments(tmp_path: Path, made: int, content: bytes) -> None:
    (tmp_path / "cmdline").write_bytes(content)

    args, omitted, cut_at = procfs.read_args(made, len(content))

    assert omitted == max(len(content) - procfs.ARGS_BYTES_MAX, 0)
    assert (cut_at >= 0) == (omitted > 0)
    assert "\0" not in "".join(args)
    "".join(args).encode()  # no lone surrogates
