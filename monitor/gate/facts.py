"""The values of the policy's dimensions for one held event: its file by the descriptor, its task by ``/proc``.

========================  ==========================================================================
dimension                 what it means while the event is held
========================  ==========================================================================
executable, of an exec    the file that is to be executed: program, script, or the script's interpreter
executable, of an open    the program that opens
file                      of an open, the file; an exec has none
parent's executable       the program that forked the task (:attr:`HeldTask.parent_executable`)
user                      the thread's real user id
flags                     :data:`~monitor.model.held.HELD_FLAGS`; of an exec's file, or of the program that opens
container                 by the path of the task's cgroup, which nested ones begin with
========================  ==========================================================================

Paths are what the file's mount namespace shows, whatever the task's root directory is.
One that is longer than the kernel writes (4,096 bytes) is not to be had: a rule that asks
for it denies, unless its ``on_truncated`` says something else.
"""

import os
import re
import stat
from typing import Final

from msgspec import Struct

from monitor.gate.lazy import Lazy
from monitor.gate.policy import EXEC, OPEN, LoadedPolicy, LoadedScope
from monitor.gate.task_facts import HeldTask, read_link
from monitor.host.fanotify import TMPFS_MAGIC, HeldEvent, read_filesystem_magic
from monitor.host.statx import FileFacts, read_mount_id
from monitor.model.kernel_policy import Dimension, Key
from monitor.rules.field import fold_ascii

_DELETED: Final = " (deleted)"
_CONTAINER_SHAPE: Final = re.compile(r"(?:/|:|(?<!conmon)-)[0-9a-f]{64}(?:\.scope)?$")
"""Of a cgroup's name, that a runtime gave it: a container for as long as nobody says otherwise."""
_ELF_MAGIC: Final = b"\x7fELF\x01"
"""And ELFCLASS32."""


class HostFacts(Struct, frozen=True):
    """What is the same for all events."""

    own_tgids: frozenset[int]
    """The service, the gate, its watchdog: they, and what the service forks, are never denied anything."""
    service_tgid: int
    runtime_files: frozenset[tuple[int, int]]
    """(device, inode) of the host's low-level runtimes."""
    root: tuple[int, int]
    """(device, inode) of the host's root directory."""
    memfd_device: int
    """``st_dev`` of every memfd."""
    controller: str
    """The hierarchy that tells containers apart: a v1 controller, or empty for cgroup2."""


class HeldFacts:
    """One event's. Raises :class:`~monitor.gate.task_facts.TaskGone` where it finds that out."""

    def __init__(self, event: HeldEvent, host: HostFacts) -> None:
        self._host = host
        self._fd = event.fd
        self.event = EXEC if event.is_exec else OPEN
        self.task = HeldTask(event.tid)

    def value(self, dimension: Dimension) -> Key | None:
        """The value that a dimension's lookup takes; None: it is not to be had."""
        match dimension:
            case Dimension.EVENT:
                return frozenset({self.event})
            case Dimension.EXECUTABLE | Dimension.EXECUTABLE_END:
                return self.path if self.event == EXEC else fold_ascii(self.task.executable)
            case Dimension.FILE | Dimension.FILE_END:
                return self.path if self.event == OPEN else ""
            case Dimension.FLAGS:
                return self._flags()
            case Dimension.USER:
                return self.task.status.uid
            case Dimension.PARENT | Dimension.PARENT_END:
                return fold_ascii(self.task.parent_executable)
        return None

    def find_scope(self, policy: LoadedPolicy) -> LoadedScope:
        """The scope of the outermost container whose cgroup the task is in or below."""
        return find_scope(policy, self.task.read_cgroup_path(self._host.controller))

    # -- the file

    @Lazy
    def status(self) -> os.stat_result:
        """Of the file."""
        return os.fstat(self._fd)

    @Lazy
    def shown_path(self) -> str | None:
        """The file's path as its mount namespace shows it; None: longer than the kernel writes.

        Behind a name that was removed the kernel writes that, though the file may have others. Whose name really
        ends so is judged as if it did not.
        """
        try:
            return read_link(f"/proc/self/fd/{self._fd}").removesuffix(_DELETED)
        except OSError:
            return None

    @Lazy
    def path(self) -> str | None:
        """The same as lookups take it."""
        return None if self.shown_path is None else fold_ascii(self.shown_path)

    def find_home(self) -> int | None:
        """The device of the task's root directory, if the file was reached by that same mount and it is not the host's.

        Only there is its path the one by which everybody in the container knows it. The
        file's own device tells nothing: overlayfs shows some files with their layer's.
        """
        root = self.task.root
        if root is None or self._has_host_root():
            return None
        mount_id = read_mount_id("", dir_fd=self._fd)
        return root.device if mount_id and mount_id == self.task.root_mount_id else None

    # -- what the task is

    def find_exemption(self, policy: LoadedPolicy, scope: LoadedScope) -> str:
        """Why this event must be let through whatever the rules say; empty when it need not."""
        status = self.task.status
        if status.tgid == 1:
            return "the first process"
        if status.tgid in self._host.own_tgids or status.parent_tgid == self._host.service_tgid:
            return "the monitor itself"
        if self.event == EXEC and self.task.loads_program:
            return "the loader of a program that was judged"
        if scope is not policy.host and self.is_runtime_init:
            return "the container runtime's own step"
        return ""

    @Lazy
    def is_runtime_init(self) -> bool:
        """A container runtime's own step, which the entry program's exec is not.

        Known by the host's inode of the runtime. runc also copies itself into memory:
        such a task was forked there, has executed nothing since, and its parent is the
        runtime's file.
        """
        task = self.task
        if self.event == EXEC and not self._executes_runtime():
            return False
        running = task.executable_file
        if _key(running) in self._host.runtime_files:
            return True
        is_copy = running is not None and running.device == self._host.memfd_device and task.status.uid == 0
        return is_copy and task.stat.has_not_executed and _key(task.parent_executable_file) in self._host.runtime_files

    def _executes_runtime(self) -> bool:
        """Before it is in the container's root: an image may name /proc/self/exe as its program (CVE-2019-5736)."""
        if not self._has_host_root():
            return False
        return (self.status.st_dev, self.status.st_ino) in self._host.runtime_files

    def _has_host_root(self) -> bool:
        return _key(self.task.root) == self._host.root

    # -- flags

    def _flags(self) -> frozenset[str]:
        is_set = self._exec_flags() if self.event == EXEC else self._open_flags()
        return frozenset(name for name, value in is_set.items() if value)

    def _exec_flags(self) -> dict[str, bool]:
        return {
            "deleted": self.status.st_nlink == 0,
            "tmpfs": read_filesystem_magic(self._fd) == TMPFS_MAGIC,
            "32bit": self._is_32bit(),
            "runtime_init": self.is_runtime_init,
            "upper_unknown": True,
        }

    def _open_flags(self) -> dict[str, bool]:
        facts = self.task.executable_file
        return {
            "deleted": facts is not None and facts.link_count == 0,
            "memfd": facts is not None and facts.device == self._host.memfd_device,
            "runtime_init": self.is_runtime_init,
            "upper_unknown": True,
        }

    def _is_32bit(self) -> bool:
        """By the descriptor, of which reading makes no event."""
        return stat.S_ISREG(self.status.st_mode) and os.pread(self._fd, len(_ELF_MAGIC), 0) == _ELF_MAGIC


def find_scope(policy: LoadedPolicy, cgroup_path: str) -> LoadedScope:
    """What holds for the tasks of a cgroup: what its outermost container has, or one that nobody has named yet."""
    end = 0
    while end >= 0:
        end = cgroup_path.find("/", end + 1)
        path = cgroup_path if end < 0 else cgroup_path[:end]
        if (scope := policy.containers.get(path)) is not None:
            return scope
        if _CONTAINER_SHAPE.search(path):
            return policy.pending
    return policy.host


def _key(facts: FileFacts | None) -> tuple[int, int] | None:
    return None if facts is None else (facts.device, facts.inode)
