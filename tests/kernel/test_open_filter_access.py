"""The file-open sensor on real opens: what a file was opened for, and by which call."""

import ctypes
import os
import struct
from pathlib import Path

import pytest

from tests.support.open_patterns import exact, paths, read, touch
from tests.support.open_sensor import OpenSensor

pytestmark = pytest.mark.kernel

_libc = ctypes.CDLL(None, use_errno=True)
_NR_OPEN, _NR_CREAT, _NR_OPENAT2 = 2, 85, 437
_AT_FDCWD = -100


def test_the_facts_of_an_open(sensor: OpenSensor, tmp_path: Path) -> None:
    target = tmp_path / "new"
    sensor.watch([exact(target)])

    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
    status = os.fstat(fd)
    os.close(fd)
    (event,) = sensor.read()

    assert (event.is_read, event.is_write, event.is_created) == (True, True, True)
    assert event.flags & (os.O_ACCMODE | os.O_APPEND) == os.O_RDWR | os.O_APPEND
    assert (event.inode, event.device) == (status.st_ino, status.st_dev)
    assert (event.file_mode, event.link_count) == (status.st_mode, 1)
    assert (event.fd, event.errno, event.tid) == (fd, 0, os.getpid())
    assert not event.is_path_claimed


def test_reads_and_writes_are_told_apart(sensor: OpenSensor, tmp_path: Path) -> None:
    read_only, write_only = touch(tmp_path / "read"), touch(tmp_path / "write")
    sensor.watch([exact(read_only, writes=False), exact(write_only, reads=False)])

    for path in (read_only, write_only):
        read(path, os.O_RDONLY)
        read(path, os.O_WRONLY)
        read(path, os.O_RDWR)

    assert [(event.path, event.is_read, event.is_write) for event in sensor.read()] == [
        (str(read_only), True, False),
        (str(read_only), True, True),
        (str(write_only), False, True),
        (str(write_only), True, True),
    ]


def test_truncating_is_writing_even_through_a_descriptor_for_reading(sensor: OpenSensor, tmp_path: Path) -> None:
    target = touch(tmp_path / "log")
    target.write_text("traces")
    sensor.watch([exact(target, reads=False)])
    how = struct.pack("<QQQ", os.O_RDONLY | os.O_TRUNC, 0, 0)

    read(target, os.O_RDONLY)
    read(target, os.O_RDONLY | os.O_TRUNC)
    for number, *arguments in (
        (_NR_OPEN, os.fsencode(target), os.O_RDONLY | os.O_TRUNC, 0),
        (_NR_OPENAT2, _AT_FDCWD, os.fsencode(target), how, len(how)),
        (_NR_CREAT, os.fsencode(target), 0o600),
    ):
        os.close(_libc.syscall(number, *arguments))

    assert [event.is_write for event in sensor.read()] == [True] * 4


def test_a_path_descriptor_gives_no_access_and_is_not_reported(sensor: OpenSensor, tmp_path: Path) -> None:
    target = touch(tmp_path / "file")
    sensor.watch([exact(target)])

    fd = os.open(target, os.O_PATH)
    read(f"/proc/self/fd/{fd}")
    os.close(fd)

    assert len(sensor.read()) == 1, "what is opened through it is an open of its own"


def test_a_file_opened_by_handle_is_reported(sensor: OpenSensor, tmp_path: Path) -> None:
    target = touch(tmp_path / "file")
    sensor.watch([exact(target)])
    handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0), 8 + 128)
    mount_id = ctypes.c_int()
    result = _libc.name_to_handle_at(_AT_FDCWD, os.fsencode(target), handle, ctypes.byref(mount_id), 0)
    if result:
        pytest.skip(f"{tmp_path} is on a file system without handles")
    mount = os.open(tmp_path, os.O_RDONLY)

    os.close(_libc.open_by_handle_at(mount, handle, os.O_RDONLY))
    os.close(mount)

    assert paths(sensor.read()) == [str(target)]
