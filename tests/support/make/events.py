"""Model events with sensible facts, and the actors they are about."""

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from monitor.model.events import (
    AccessKind,
    CgroupAttach,
    CgroupCreate,
    CgroupRemove,
    ChangeAction,
    FileChange,
    FileOpen,
    LossReport,
    Namespaces,
    NetworkConnection,
    ProcessAccess,
    ProcessExec,
    ProcessExecFailed,
    ProcessExit,
    ProcessFork,
    Tick,
)
from monitor.model.ids import CgroupId, ProcessKey, Tgid

SECOND = 1_000_000_000
HOST_CGROUP = 1
HOST_MOUNTS = 4_026_531_841
SHELL = ProcessKey(Tgid(900), 9_000)
"""The parent that events have unless told."""

_TASK = {
    "ktime_ns": 100 * SECOND,
    "cpu": 0,
    "sequence": 0,
    "cgroup_id": HOST_CGROUP,
    "tgid": 1_000,
    "start_boottime_ns": 10_000,
    "exec_id": 2,
    "uid": 0,
}


def _task(facts: dict[str, Any]) -> dict[str, Any]:
    merged = {**_TASK, **facts}
    return {"tid": merged["tgid"], **merged}


@dataclass
class Actor:
    """A process of a story."""

    tgid: int
    start: int
    exec_id: int
    cgroup_id: int
    uid: int = 0
    mounts: int = HOST_MOUNTS

    @property
    def key(self) -> ProcessKey:
        return ProcessKey(Tgid(self.tgid), self.start)


def exec(executable: str = "/usr/bin/id", **facts: Any) -> ProcessExec:
    """A process runs a new program."""
    defaults: dict[str, Any] = {
        "executable": executable,
        "script": "",
        "args": (executable.rpartition("/")[2],),
        "args_truncated": False,
        "cwd": "/",
        "parent_tgid": SHELL.tgid,
        "parent_start_boottime_ns": SHELL.start_boottime_ns,
        "gid": 0,
        "euid": 0,
        "egid": 0,
        "login_uid": 0xFFFFFFFF,
        "session_id": 900,
        "tty": "",
        "cap_effective": 0,
        "cap_permitted": 0,
        "namespaces": Namespaces(mnt=HOST_MOUNTS, pid=4_026_531_836),
        "namespace_tgid": facts.get("tgid", _TASK["tgid"]),
        "inode": sum(map(ord, executable)) + 1,
        "device": 2_049,
        "link_count": 1,
    }
    return ProcessExec(**_task({**defaults, **facts}))


def fork(**facts: Any) -> ProcessFork:
    """A process was created; the task is the child."""
    parent = {
        "parent_tgid": SHELL.tgid,
        "parent_start_boottime_ns": SHELL.start_boottime_ns,
        "parent_exec_id": facts.get("exec_id", 1),
    }
    return ProcessFork(**_task({"exec_id": 1, **parent, **facts}))


def exit(**facts: Any) -> ProcessExit:
    """A process ended."""
    return ProcessExit(**_task({"exit_status": 0, "signal": 0, **facts}))


def exec_failed(path: str = "/usr/bin/none", errno: int = 2, **facts: Any) -> ProcessExecFailed:
    """An execve that was refused."""
    return ProcessExecFailed(**_task({"path_claimed": path, "errno": errno, **facts}))


def file_open(path: str = "/etc/passwd", **facts: Any) -> FileOpen:
    """A file was opened for reading."""
    defaults = {
        "path": path,
        "is_write": False,
        "is_read": True,
        "is_created": False,
        "flags": 0,
        "fd": 3,
        "errno": 0,
        "inode": 77,
        "device": 2_049,
        "file_mode": 0o100644,
        "link_count": 1,
    }
    return FileOpen(**_task({**defaults, **facts}))


def file_change(path: str = "/etc/passwd", action: str = "rename", **facts: Any) -> FileChange:
    """A file was changed by name."""
    defaults = {
        "action": ChangeAction(action),
        "path": path,
        "source": "/tmp/x" if action in ("rename", "link") else "",
        "target": "/tmp/x" if action == "symlink" else "",
        "size": 0,
        "owner": None,
        "group": None,
        "inode": 0,
        "device": 0,
        "file_mode": 0,
    }
    return FileChange(**_task({**defaults, **facts}))


def process_access(action: str = "memory-read", **facts: Any) -> ProcessAccess:
    """A process got hold of another one."""
    return ProcessAccess(**_task({"action": AccessKind(action), "target_pid": 7, **facts}))


def connection(address: str = "/run/x.sock", **facts: Any) -> NetworkConnection:
    """A process connected to a Unix socket."""
    return NetworkConnection(**_task({"transport": "unix", "address": address, **facts}))


def tick(ktime_ns: int) -> Tick:
    return Tick(ktime_ns)


def loss(count: int = 1, **facts: Any) -> LossReport:
    defaults = {
        "ktime_ns": 100 * SECOND,
        "cpu": 0,
        "event_type": "process_exec",
        "cgroup_id": HOST_CGROUP,
        "count": count,
        "reason": "ring_full",
    }
    return LossReport(**{**defaults, **facts})


def cgroup_create(path: str, cgroup_id: int, ktime_ns: int = 0) -> CgroupCreate:
    return CgroupCreate(ktime_ns, CgroupId(cgroup_id), path)


def cgroup_remove(path: str, cgroup_id: int, ktime_ns: int = 0) -> CgroupRemove:
    return CgroupRemove(ktime_ns, CgroupId(cgroup_id), path)


def cgroup_attach(path: str, cgroup_id: int, process: "Actor", ktime_ns: int = 0) -> CgroupAttach:
    return CgroupAttach(ktime_ns, CgroupId(cgroup_id), path, Tgid(process.tgid), process.start)


def later(event: Any, seconds: float) -> Any:
    """The same event at another time."""
    return replace(event, ktime_ns=event.ktime_ns + int(seconds * SECOND))
