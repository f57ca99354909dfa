"""Contexts and alerts for the tests of sinks and of the commands that show them."""

from typing import Any

from monitor.engine.images import ImageBuilder
from monitor.model.alert import Alert, Contribution, Detection, Risk, Verdict
from monitor.model.container import Container
from monitor.model.events import (
    AccessKind,
    AnyEvent,
    ChangeAction,
    Denial,
    FileChange,
    FileOpen,
    Namespaces,
    NetworkConnection,
    ProcessAccess,
    ProcessExec,
    ProcessExecFailed,
    ProcessExit,
    ProcessFork,
)
from monitor.model.ids import CgroupId, ProcessKey, Tgid, Tid
from monitor.model.process import Context, Process, ProcessImage
from monitor.model.rule import Rule, Severity
from monitor.sinks.origin import Origin

BOOT_ID = "3f0c8a8e-6a53-4c0b-9a3f-0d1c2b3a4f5e"
WALL_OFFSET_NS = 1_795_000_000_000_000_000
ORIGIN = Origin(boot_id=BOOT_ID, host_name="node-1", wall_offset_ns=WALL_OFFSET_NS)
CONTAINER_ID = "4f1d" * 16


def task(**changes: Any) -> dict[str, Any]:
    """The fields that every event of a task has."""
    fields = {
        "ktime_ns": 5_000_000_123,
        "cpu": 1,
        "sequence": 42,
        "cgroup_id": CgroupId(4242),
        "tgid": Tgid(1234),
        "tid": Tid(1234),
        "start_boottime_ns": 4_900_000_000,
        "exec_id": 3,
        "uid": 0,
    }
    return fields | changes


def exec_event(
    executable: str = "/usr/bin/cat", args: tuple[str, ...] = ("cat", "/etc/shadow"), **changes: Any
) -> ProcessExec:
    fields = task() | {
        "executable": executable,
        "script": "",
        "args": args,
        "args_truncated": False,
        "cwd": "/root",
        "parent_tgid": Tgid(1200),
        "parent_start_boottime_ns": 4_800_000_000,
        "gid": 0,
        "euid": 0,
        "egid": 0,
        "login_uid": 1000,
        "session_id": 1200,
        "tty": "pts0",
        "cap_effective": 0x1FF_FFFF_FFFF,
        "cap_permitted": 0x1FF_FFFF_FFFF,
        "namespaces": Namespaces(*range(4_026_531_834, 4_026_531_841)),
        "namespace_tgid": 12,
        "inode": 131_072,
        "device": 2_049,
        "link_count": 1,
    }
    return ProcessExec(**(fields | changes))


def fork_event(**changes: Any) -> ProcessFork:
    parents = {"parent_tgid": Tgid(1200), "parent_start_boottime_ns": 4_800_000_000, "parent_exec_id": 2}
    return ProcessFork(**(task() | parents | changes))


def exit_event(**changes: Any) -> ProcessExit:
    return ProcessExit(**(task() | {"exit_status": 0, "signal": 0} | changes))


def failed_event(path: str = "/usr/local/bin/cat", errno: int = 2) -> ProcessExecFailed:
    return ProcessExecFailed(**task(), path_claimed=path, errno=errno)


def change_event(path: str = "/etc/cron.d/x", action: str = "rename", **changes: Any) -> FileChange:
    fields = task() | {
        "action": ChangeAction(action),
        "path": path,
        "source": "",
        "target": "",
        "size": 0,
        "owner": None,
        "group": None,
        "inode": 0,
        "device": 0,
        "file_mode": 0,
    }
    return FileChange(**(fields | changes))


def access_event(action: str = "ptrace-attach", **changes: Any) -> ProcessAccess:
    target = {"target_pid": 7, "target_tgid": Tgid(77), "target_executable": "/usr/sbin/sshd"}
    return ProcessAccess(**(task() | {"action": AccessKind(action)} | target | changes))


def connection_event(address: str = "/run/docker.sock", **changes: Any) -> NetworkConnection:
    return NetworkConnection(**(task() | {"transport": "unix", "address": address} | changes))


def denial_event(action: str, path: str, **changes: Any) -> Denial:
    facts = {"tier": "lsm", "generation": 1, "terms": (0,), "inode": 0, "device": 0, "file_mode": 0}
    return Denial(**(task() | {"path": path, "action": action} | facts | changes))


def open_event(path: str = "/etc/shadow", **changes: Any) -> FileOpen:
    fields = task() | {
        "path": path,
        "is_write": False,
        "is_read": True,
        "is_created": False,
        "flags": 0o100000,
        "fd": 3,
        "errno": 0,
        "inode": 777,
        "device": 2_049,
        "file_mode": 0o100640,
        "link_count": 1,
    }
    return FileOpen(**(fields | changes))


def image(event: ProcessExec) -> ProcessImage:
    return ImageBuilder().build(event)


def container(**changes: Any) -> Container:
    fields = {
        "id": CONTAINER_ID,
        "runtime": "docker",
        "cgroup_id": CgroupId(4242),
        "cgroup_path": f"/docker/{CONTAINER_ID}",
        "name": "web-1",
        "image_name": "nginx:1.27",
    }
    return Container(**(fields | changes))


def context(event: AnyEvent | None = None, *, in_container: Container | None = None, **changes: Any) -> Context:
    """An event with its process. An exec event is its own image; other events happen in ``/usr/bin/cat``."""
    event = event if event is not None else exec_event()
    own = image(event if isinstance(event, ProcessExec) else exec_event())
    parent = image(exec_event("/usr/bin/bash", ("bash", "-i"), tgid=Tgid(1200), exec_id=2))
    key = ProcessKey(Tgid(1234), 4_900_000_000)
    process = Process(key, own, 3, CgroupId(4242), ProcessKey(Tgid(1200), 4_800_000_000), parent)
    return Context(event, process, own, parent, in_container, boot_id=BOOT_ID, **changes)


def rule(name: str = "shadow_read", severity: Severity = Severity.HIGH, **changes: Any) -> Rule:
    fields = {
        "id": "6f0d2c1a-53a1-4a8e-8a52-1de2b6a6f8a1",
        "title": "Shadow file read",
        "tags": ("attack.credential_access", "attack.t1003.008"),
        "score": 50,
    }
    return Rule(name=name, severity=severity, **(fields | changes))


def alert(*rules: Rule, on: Context | None = None, **changes: Any) -> Alert:
    on = on if on is not None else context(open_event(), in_container=container())
    names = rules or (rule(),)
    contributions = tuple(Contribution(each.name, 0.5, 0.0, 1) for each in names)
    risks = (
        Risk("lineage", "00112233445566778899", 50.0, contributions),
        Risk("container", CONTAINER_ID, 62.5, contributions),
    )
    verdicts = (Verdict("alert", "audit", "lineage", "00112233445566778899", "rule shadow_read asks for alert"),)
    fields = {
        "ktime_ns": on.event.ktime_ns,
        "detections": tuple(Detection(each, on) for each in names),
        "risks": risks,
        "verdicts": verdicts,
        "ancestors": ("/usr/bin/bash", "/usr/sbin/sshd", "/usr/lib/systemd/systemd"),
    }
    return Alert(**(fields | changes))
