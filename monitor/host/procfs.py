"""Read the files of one ``/proc/PID`` folder, by a descriptor of the folder.

The descriptor stays with one process: when that ends, reads fail (ESRCH, ENOENT)
and never show the next owner of its pid. Everything below the kernel's own numbers
(names, arguments, paths) is hostile; invalid UTF-8 is backslash-escaped, sizes are
bounded. Joining these facts into an event is :mod:`monitor.host.proc`.

Source: proc_pid_stat(5), proc_pid_status(5), fs/proc/array.c.
"""

import errno
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from monitor.model.arguments import join_cut_args, split_args
from monitor.model.events import Namespaces
from monitor.wire import _layout as layout

ARGS_BYTES_MAX: Final = layout.ARGS_HEAD_BYTES + layout.ARGS_TAIL_BYTES
LOGIN_UID_UNSET: Final = 4294967295

_PF_KTHREAD: Final = 0x00200000
_FILE_BYTES_MAX: Final = 2 << 20
"""A status file with the most groups that a process can have is 720 KiB."""
_CHUNK_BYTES: Final = 1 << 16
_TTY_MAJOR: Final = 4
_SERIAL_MINOR: Final = 64
_PTS_MAJORS: Final = range(136, 144)
_MINORS_PER_MAJOR: Final = 256


class Stat(NamedTuple):
    """What we use of ``stat``."""

    state: str
    parent_tgid: int
    session_id: int
    tty_number: int
    is_kernel_thread: bool
    thread_count: int
    start_ticks: int
    """Since boot, in clock ticks (user HZ)."""
    args_bytes: int
    """Of the arguments in the process' memory; 0 where we may not know."""


class Args(NamedTuple):
    """The arguments, as far as they are kept (:mod:`monitor.model.arguments`)."""

    args: tuple[str, ...]
    omitted_bytes: int = 0
    cut_at: int = -1


class ProcessPath(NamedTuple):
    """Where a link of the folder leads."""

    text: str = ""
    """Empty where there is none (kernel threads), and of a path that is too long."""
    is_too_long: bool = False
    """The kernel shows no path here that has 4,096 bytes or more."""


class Status(NamedTuple):
    """What we use of ``status``."""

    uid: int
    euid: int
    gid: int
    egid: int
    namespace_tgid: int
    cap_effective: int
    cap_permitted: int


def open_process(tgid: int, proc: Path) -> int:
    """Open the folder of a process.

    Raises:
        OSError: it has ended.
    """
    return os.open(proc / str(tgid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def read_stat(folder: int) -> Stat:
    """Read ``stat``.

    Raises:
        OSError: the process has ended.
    """
    # The name in the second field may hold anything, parentheses and spaces too.
    fields = _read(folder, "stat").rpartition(b")")[2].split()
    return Stat(
        state=fields[0].decode(),
        parent_tgid=int(fields[1]),
        session_id=int(fields[3]),
        tty_number=int(fields[4]),
        is_kernel_thread=bool(int(fields[6]) & _PF_KTHREAD),
        thread_count=int(fields[17]),
        start_ticks=int(fields[19]),
        args_bytes=max(int(fields[46]) - int(fields[45]), 0),
    )


def read_status(folder: int) -> Status:
    """Read ``status``. The process' name in there has its newlines escaped by the kernel.

    Raises:
        OSError: the process has ended.
    """
    values = dict(line.split(b":\t", 1) for line in _read(folder, "status").split(b"\n") if b":\t" in line)
    uids, gids = values[b"Uid"].split(), values[b"Gid"].split()
    return Status(
        uid=int(uids[0]),
        euid=int(uids[1]),
        gid=int(gids[0]),
        egid=int(gids[1]),
        namespace_tgid=int(values.get(b"NSpid", values[b"Tgid"]).split()[-1]),
        cap_effective=int(values[b"CapEff"], 16),
        cap_permitted=int(values[b"CapPrm"], 16),
    )


def read_args(folder: int, args_bytes: int) -> Args:
    """Read the arguments, as they lie in the process' memory now: all, or head and tail of ``args_bytes``.

    Raises:
        OSError: the process has ended.
    """
    fd = os.open("cmdline", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        text = os.pread(fd, ARGS_BYTES_MAX + 1, 0)
        if len(text) <= ARGS_BYTES_MAX:
            return Args(split_args(show(text)))
        end = max(args_bytes, len(text))
        tail = os.pread(fd, layout.ARGS_TAIL_BYTES, end - layout.ARGS_TAIL_BYTES)
    finally:
        os.close(fd)
    args, cut_at = join_cut_args(show(text[: layout.ARGS_HEAD_BYTES]), show(tail))
    return Args(args, end - layout.ARGS_HEAD_BYTES - len(tail), cut_at)


def read_path(folder: int, name: str) -> ProcessPath:
    """Read one of the folder's links to a file (``exe``, ``cwd``)."""
    try:
        return ProcessPath(show(os.readlink(name.encode(), dir_fd=folder)))
    except OSError as error:
        return ProcessPath(is_too_long=error.errno == errno.ENAMETOOLONG)


def read_namespaces(folder: int) -> Namespaces:
    """Read the namespaces' inode numbers; 0 for one that the kernel lacks, or that a dead process has left."""
    numbers = {}
    for name in Namespaces.__struct_fields__:
        digits = read_path(folder, f"ns/{name}").text.partition("[")[2].removesuffix("]")
        numbers[name] = int(digits) if digits.isdigit() else 0
    return Namespaces(**numbers)


def read_login_uid(folder: int) -> int:
    """Read the audit login uid; :data:`LOGIN_UID_UNSET` on a kernel without audit."""
    try:
        return int(_read(folder, "loginuid"))
    except FileNotFoundError:
        return LOGIN_UID_UNSET


def is_32bit(folder: int) -> bool:
    """Tell by the auxiliary vector, whose numbers are as wide as the program's: no file of the program is touched."""
    try:
        first = _read(folder, "auxv", 8)
    except OSError:
        return False  # not ours to read, or just ended
    # Eight bytes are one small type number, or a type and its value.
    return len(first) == 8 and struct.unpack("=Q", first)[0] > 0xFFFFFFFF


def find_live_thread(folder: int, leader: int) -> int | None:
    """Open the folder of a thread other than the leader (which may have ended before the others)."""
    try:
        threads = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        with os.scandir(threads) as entries:
            name = next((entry.name for entry in entries if entry.name != str(leader)), None)
        return None if name is None else os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=threads)
    except OSError:
        return None
    finally:
        os.close(threads)


def build_tty_name(number: int) -> str:
    """Name a controlling terminal as the kernel does (``pts0``, ``tty1``); empty for none.

    Source: Documentation/admin-guide/devices.txt; other drivers' names are in sysfs.
    """
    if number <= 0:
        return ""
    major, minor = os.major(number), os.minor(number)
    if major in _PTS_MAJORS:
        return f"pts{(major - _PTS_MAJORS.start) * _MINORS_PER_MAJOR + minor}"
    if major == _TTY_MAJOR:
        return f"tty{minor}" if minor < _SERIAL_MINOR else f"ttyS{minor - _SERIAL_MINOR}"
    try:
        return Path(f"/sys/dev/char/{major}:{minor}").readlink().name
    except OSError:
        return f"{major}:{minor}"


def show(text: bytes) -> str:
    """Decode hostile bytes."""
    return text.decode("utf-8", "backslashreplace")


def _read(folder: int, name: str, limit: int = _FILE_BYTES_MAX) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        text = os.read(fd, min(limit, _CHUNK_BYTES))
        # A short read is the end; a file of exactly a chunk costs one read more.
        while 0 < len(text) < limit and len(text) % _CHUNK_BYTES == 0:
            more = os.read(fd, _CHUNK_BYTES)
            if not more:
                break
            text += more
        return text
    finally:
        os.close(fd)
