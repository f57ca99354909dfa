"""Files of a process' folder, the kernel's own and hostile ones."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.host import procfs
from monitor.host.statx import read_file_facts


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
    tail = f"S 7 8 9 34821 -1 {flags} 0 0 0 0 0 0 0 0 20 0 3 0 12345 0"
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
    assert (stat.thread_count, stat.start_ticks) == (3, 12345)


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
    ("cmdline", "args", "truncated"),
    [
        (b"", (), False),
        (b"sh\0-c\0\0", ("sh", "-c", ""), False),
        (b"\0", ("",), False),
        (b"a\xff\nb\0", ("a\\xff\nb",), False),
        (b"one title, as some servers set it", ("one title, as some servers set it",), False),
        (b"x" * 4095 + b"\0", ("x" * 4095,), False),
        (b"x" * 4096 + b"\0", ("x" * 4096,), True),
        (b"x\0" * 65536, ("x",) * 2048, True),
    ],
)
def test_arguments(tmp_path: Path, made: int, cmdline: bytes, args: tuple[str, ...], *, truncated: bool) -> None:
    (tmp_path / "cmdline").write_bytes(cmdline)

    assert procfs.read_args(made) == (args, truncated)


def test_links_and_namespaces(own: int) -> None:
    assert procfs.read_link(own, "cwd") == str(Path.cwd())
    assert procfs.read_link(own, "no-such-link") == ""
    assert procfs.read_namespaces(own).mnt == Path("/proc/self/ns/mnt").stat().st_ino


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

    args, truncated = procfs.read_args(made)

    assert truncated == (len(content) > procfs.ARGS_BYTES_MAX)
    assert "\0" not in "".join(args)
    "".join(args).encode()  # no lone surrogates
