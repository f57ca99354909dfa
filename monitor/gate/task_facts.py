"""What ``/proc`` says of the thread that is held, for the answering process: few reads, nothing but procfs.

The thread waits in the kernel, so that what is read is its own. A path here is what the
file's mount namespace shows; no link is followed into a file system but the runtime's
check, and that asks no server (:mod:`monitor.host.statx`).
"""

import errno
import os
import re
from typing import Final, NamedTuple

from monitor.gate.lazy import Lazy
from monitor.host.statx import FileFacts, read_file_facts, read_mount_id

_PF_FORKNOEXEC: Final = 0x40
"""include/linux/sched.h: forked, and has executed nothing since."""
_STATUS_BYTES: Final = 8192
"""Names, ids and capabilities come first; groups may go on for 700 KiB."""
_STATUS: Final = re.compile(rb"\nTgid:\t(\d+)\n.*?\nPPid:\t(\d+)\n.*?\nUid:\t(\d+)\t(\d+)", re.DOTALL)
_DELETED: Final = " (deleted)"
_AT_FDCWD: Final = -100


class Status(NamedTuple):
    """Of ``/proc/TID/status``."""

    tgid: int
    parent_tgid: int
    uid: int


class Stat(NamedTuple):
    """Of ``/proc/TID/stat``."""

    has_not_executed: bool
    """Since it was forked: it still runs its parent's program."""
    start_ticks: int


class TaskGone(Exception):
    """The thread was killed while it was held: there is nothing left to deny."""


class HeldTask:
    """One held thread; what is not asked for is not read."""

    def __init__(self, tid: int) -> None:
        self.tid = tid

    @Lazy
    def status(self) -> Status:
        """Its process, and the real user id of the thread itself. Raises :class:`TaskGone`."""
        # The name, which the task chooses, comes first, with its newlines escaped.
        found = _STATUS.search(read_proc(self.tid, "status", _STATUS_BYTES))
        if found is None:
            raise TaskGone(self.tid)
        return Status(int(found[1]), int(found[2]), int(found[3]))

    @Lazy
    def stat(self) -> Stat:
        """Raises :class:`TaskGone`."""
        return read_stat(self.tid)

    @Lazy
    def executable(self) -> str:
        """The program that it runs now; empty for a kernel thread's."""
        return read_executable(self.tid)

    @Lazy
    def parent_executable(self) -> str:
        """The program that forked it.

        Exact until it executes anything: it then runs that program still. Later it is
        what its parent runs now, which may have changed, or be another parent.
        """
        if self.stat.has_not_executed:
            return self.executable
        parent = self.status.parent_tgid
        return read_executable(parent) if parent else ""

    @Lazy
    def root(self) -> FileFacts | None:
        """Its root directory."""
        return self._facts("root")

    @property
    def root_mount_id(self) -> int:
        """The mount that its root directory is on; 0 where it cannot be told."""
        try:
            return read_mount_id(f"/proc/{self.tid}/root", dir_fd=_AT_FDCWD)
        except OSError:
            return 0

    @Lazy
    def executable_file(self) -> FileFacts | None:
        """The file that it runs."""
        return self._facts("exe")

    @property
    def parent_executable_file(self) -> FileFacts | None:
        """The file that its parent runs."""
        return _read_facts(f"/proc/{self.status.parent_tgid}/exe")

    @property
    def loads_program(self) -> bool:
        """Whether the kernel opens the loader (ld.so) of a program that is being executed already.

        To be seen in the kernel's own stack alone: a task that executes the loader itself makes the same event.
        A kernel that shows no stacks (CONFIG_STACKTRACE) answers no; the loader is then judged like a program.
        """
        try:
            return b" load_elf_" in read_proc(self.tid, "stack", _STATUS_BYTES)
        except (TaskGone, OSError):
            return False

    def read_cgroup_path(self, controller: str) -> str:
        """Its cgroup in one hierarchy, ``""`` being cgroup2. Raises :class:`TaskGone`."""
        return find_cgroup_path(read_proc(self.tid, "cgroup", 1 << 16), controller)

    def _facts(self, name: str) -> FileFacts | None:
        return _read_facts(f"/proc/{self.tid}/{name}")


def read_stat(tid: int) -> Stat:
    """Raises :class:`TaskGone`."""
    # The name in the second field may hold anything, parentheses and spaces too.
    fields = read_proc(tid, "stat", _STATUS_BYTES).rpartition(b")")[2].split()
    if len(fields) < 20:
        raise TaskGone(tid)
    return Stat(bool(int(fields[6]) & _PF_FORKNOEXEC), int(fields[19]))


def find_cgroup_path(text: bytes, controller: str) -> str:
    """The path in one hierarchy of ``/proc/PID/cgroup`` (cgroups(7)); ``/`` where it has no line."""
    for line in text.splitlines():
        _, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        if controller in controllers.decode("ascii", "replace").split(","):
            return path.decode("utf-8", "backslashreplace")
    return "/"


def read_executable(tgid: int) -> str:
    """The path of the program that a process runs; empty where there is none."""
    try:
        return read_link(f"/proc/{tgid}/exe").removesuffix(_DELETED)
    except OSError:
        return ""


def read_link(path: str) -> str:
    """Where a link of procfs leads; bytes that are no UTF-8 are escaped.

    Raises:
        OSError: it is gone, or the path is longer than the kernel writes.
    """
    # Bytes, which pathlib cannot read: a name may be none that Python can print.
    return os.readlink(path.encode()).decode("utf-8", "backslashreplace")  # noqa: PTH115


def read_proc(tid: int, name: str, limit: int) -> bytes:
    """One of a task's files, in one read.

    Raises:
        TaskGone: it has ended.
        OSError: it cannot be read, or is in another pid namespace than we are.
    """
    if tid <= 0:
        raise OSError(errno.ESRCH, "the task is outside this pid namespace")
    try:
        fd = os.open(f"/proc/{tid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, limit)
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TaskGone(tid) from error


def _read_facts(path: str) -> FileFacts | None:
    try:
        return read_file_facts(path, dir_fd=_AT_FDCWD)
    except OSError:
        return None
