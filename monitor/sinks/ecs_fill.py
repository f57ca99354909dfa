"""What each class of event adds to its document; the common part is :mod:`monitor.sinks.ecs`.

Pure. One function a class, found in one table.
"""

import errno as errno_names
import stat
from collections.abc import Callable
from typing import Final, NamedTuple

from monitor.model.events import (
    DENIED_ACCESSES,
    DENIED_CONNECTIONS,
    AnyEvent,
    AnyResponse,
    CgroupAttach,
    CgroupCreate,
    CgroupRemove,
    ChangeAction,
    ContainerFrozen,
    ContainerKilled,
    ContainerResolved,
    ContainerThawed,
    Denial,
    FileChange,
    FileOpen,
    GuardRefused,
    LossReport,
    NetworkConnection,
    PolicyChange,
    ProcessAccess,
    ProcessesKilled,
    ProcessExec,
    ProcessExecFailed,
    ProcessExit,
    ProcessFork,
    ResponseFailed,
    ServiceFailure,
    Tick,
)

Document = dict[str, object]
"""One event or alert, as JSON objects nest."""

LOGIN_UID_UNSET: Final = 4_294_967_295
"""``(uid_t) -1``: no login yet."""


class Kind(NamedTuple):
    """How ECS classes an event."""

    action: str
    categories: tuple[str, ...]
    types: tuple[str, ...]


KINDS: Final[dict[type, Kind]] = {
    ProcessExec: Kind("exec", ("process",), ("start",)),
    ProcessExecFailed: Kind("exec-failed", ("process",), ("start",)),
    ProcessFork: Kind("fork", ("process",), ("start",)),
    ProcessExit: Kind("exit", ("process",), ("end",)),
    FileOpen: Kind("open", ("file",), ("access",)),
    Denial: Kind("denied", ("process",), ("start", "denied")),
    FileChange: Kind("change", ("file",), ("change",)),
    ProcessAccess: Kind("process-access", ("process",), ("access",)),
    NetworkConnection: Kind("connect", ("network",), ("connection", "start")),
    CgroupCreate: Kind("cgroup-create", ("host",), ("creation",)),
    CgroupRemove: Kind("cgroup-remove", ("host",), ("deletion",)),
    CgroupAttach: Kind("cgroup-attach", ("host",), ("change",)),
    ContainerResolved: Kind("container-resolved", ("host",), ("info",)),
    LossReport: Kind("loss", ("host",), ("error",)),
    PolicyChange: Kind("policy-change", ("configuration",), ("change",)),
    ServiceFailure: Kind("service-failure", ("host",), ("error",)),
    GuardRefused: Kind("guard-refused", ("host",), ("denied",)),
    ContainerFrozen: Kind("container-frozen", ("process",), ("change",)),
    ContainerThawed: Kind("container-thawed", ("process",), ("change",)),
    ContainerKilled: Kind("container-killed", ("process",), ("end",)),
    ProcessesKilled: Kind("processes-killed", ("process",), ("end",)),
    ResponseFailed: Kind("response-failed", ("process",), ("error",)),
    Tick: Kind("tick", ("host",), ("info",)),
}


def fill_event(event: AnyEvent, document: Document) -> None:
    """Add what this class of event knows. ``document`` has ``event`` and ``stockade`` already."""
    if fill := _FILLERS.get(type(event)):
        fill(event, document)


def nested(document: Document, name: str) -> Document:
    """Return the object below ``name``, made when it is not there."""
    found = document.setdefault(name, {})
    assert isinstance(found, dict)
    return found


def _fill_outcome(document: Document, errno: int) -> None:
    head = nested(document, "event")
    head["outcome"] = "failure" if errno else "success"
    if errno:
        document["error"] = {"code": errno_names.errorcode.get(errno, str(errno))}


def _fill_exec(event: ProcessExec, document: Document) -> None:
    process = nested(document, "process")
    process["args"] = list(event.args)
    if event.args_truncated:
        process["args_truncated"] = True
    if event.args_cut_at >= 0:
        process["args_omitted_bytes"] = event.args_omitted_bytes
        process["args_cut_at"] = event.args_cut_at
    process["working_directory"] = event.cwd
    process["vpid"] = event.namespace_tgid
    process["session_leader"] = {"pid": event.session_id}
    if event.script:
        process["script"] = event.script
    if event.tty:
        process["tty"] = {"name": event.tty}
    if flags := _list_flags(event):
        process["flags"] = flags
    _fill_credentials(event, document)
    own = nested(document, "stockade")
    own["executable"] = {"inode": event.inode, "device": event.device, "link_count": event.link_count}
    own["namespaces"] = {
        name: number for name in event.namespaces.__struct_fields__ if (number := getattr(event.namespaces, name))
    }
    own["cap_effective"] = f"{event.cap_effective:#x}"
    own["cap_permitted"] = f"{event.cap_permitted:#x}"
    if event.from_proc:
        own["from_proc"] = True
    _fill_outcome(document, 0)


_FLAGS: Final = (
    ("memfd", "is_memfd"),
    ("deleted", "is_deleted"),
    ("upper_layer", "is_upper_layer"),
    ("tmpfs", "is_tmpfs"),
    ("other_filesystem", "is_other_filesystem"),
    ("32bit", "is_32bit"),
    ("foreign_namespace", "is_foreign_namespace"),
    ("detached_mount", "is_detached_mount"),
    ("known_file", "is_known_file"),
    ("path_truncated", "is_path_truncated"),
    ("working_directory_truncated", "is_cwd_truncated"),
)
"""Name -> attribute, of the events that have it."""


def _list_flags(event: ProcessExec | FileOpen | FileChange | Denial) -> list[str]:
    return [name for name, attribute in _FLAGS if getattr(event, attribute, False)]


def _fill_credentials(event: ProcessExec, document: Document) -> None:
    user = nested(document, "user")
    user["group"] = {"id": str(event.gid)}
    if (event.euid, event.egid) != (event.uid, event.gid):
        user["effective"] = {"id": str(event.euid), "group": {"id": str(event.egid)}}
    if event.login_uid != LOGIN_UID_UNSET:
        user["login"] = {"id": str(event.login_uid)}


def _fill_exec_failed(event: ProcessExecFailed, document: Document) -> None:
    document["file"] = {"path": event.path_claimed, "path_claimed": True}
    _fill_outcome(document, event.errno)


def _fill_denial(event: Denial, document: Document) -> None:
    head = nested(document, "event")
    head["action"] = f"{event.action}-denied"
    if event.action in DENIED_ACCESSES:
        head["type"] = ["access", "denied"]
        _fill_target(event.path, document)
    elif event.action in DENIED_CONNECTIONS:
        head |= {"category": ["network"], "type": ["connection", "denied"]}
        _fill_destination("unix", event.path, document)
    else:
        _fill_denied_file(event, document)
    denial: Document = {"tier": event.tier, "policy": event.generation, "rules": list(event.rules)}
    if event.count > 1:
        denial["count"] = event.count
    nested(document, "stockade")["denial"] = denial
    _fill_outcome(document, errno_names.EPERM)


def _fill_denied_file(event: Denial, document: Document) -> None:
    if not event.action.startswith("exec"):
        kinds = [*_DENIED_TYPES.get(event.action, ["change"]), "denied"]
        nested(document, "event").update({"category": ["file"], "type": kinds})
    file: Document = {"path": event.path}
    if event.inode:
        file |= {"inode": str(event.inode), "device": str(event.device)}
    if flags := _list_flags(event):
        file["flags"] = flags
    document["file"] = file


def _fill_target(executable: str, document: Document) -> None:
    """Say whom something was done to."""
    if executable:
        target = nested(nested(document, "target"), "process")
        target |= {"executable": executable, "name": executable.rpartition("/")[2]}


def _fill_destination(transport: str, address: str, document: Document) -> None:
    nested(document, "network")["transport"] = transport
    nested(document, "destination")["address"] = address


def _fill_access(event: ProcessAccess, document: Document) -> None:
    nested(document, "event")["action"] = event.action.value
    _fill_target(event.target_executable, document)
    if event.target_tgid:
        nested(nested(document, "target"), "process")["pid"] = event.target_tgid
    if event.target_pid:
        nested(nested(document, "target"), "process")["vpid"] = event.target_pid
    _fill_outcome(document, 0)


def _fill_connection(event: NetworkConnection, document: Document) -> None:
    _fill_destination(event.transport, event.address, document)
    _fill_outcome(document, 0)


def _fill_exit(event: ProcessExit, document: Document) -> None:
    process = nested(document, "process")
    if event.signal:
        process["exit_signal"] = event.signal
    else:
        process["exit_code"] = event.exit_status
    _fill_outcome(document, 0)


def _fill_fork(event: ProcessFork, document: Document) -> None:
    nested(nested(document, "process"), "parent").setdefault("pid", event.parent_tgid)
    _fill_outcome(document, 0)


def _fill_open(event: FileOpen, document: Document) -> None:
    file: Document = {"path": event.path}
    if event.is_path_claimed:
        file["path_claimed"] = True
    else:
        file |= {
            "type": _FILE_TYPES.get(stat.S_IFMT(event.file_mode), "unknown"),
            "mode": f"{stat.S_IMODE(event.file_mode):04o}",
            "inode": str(event.inode),
            "device": str(event.device),
            "link_count": event.link_count,
        }
    file["access"] = [
        name
        for name, is_set in (("read", event.is_read), ("write", event.is_write), ("create", event.is_created))
        if is_set
    ]
    if flags := _list_file_flags(event):
        file["flags"] = flags
    document["file"] = file
    own = nested(document, "stockade")
    own["open_flags"] = event.flags
    if event.fd >= 0:
        own["fd"] = event.fd
    nested(document, "event")["type"] = _list_open_types(event)
    _fill_outcome(document, event.errno)


def _fill_change(event: FileChange, document: Document) -> None:
    file: Document = {"path": event.path}
    if event.source:
        file["original"] = {"path": event.source}
    if event.target:
        file["target_path"] = event.target
    file |= _describe_changed(event)
    if flags := _list_file_flags(event):
        file["flags"] = flags
    document["file"] = file
    head = nested(document, "event")
    head["action"] = event.action.value
    head["type"] = _CHANGE_TYPES.get(event.action, ["change"])
    _fill_outcome(document, 0)


def _describe_changed(event: FileChange) -> Document:
    """Say what is known of the file, and what was given to it."""
    file: Document = {"path_claimed": True} if event.is_path_claimed else {}
    if kind := _FILE_TYPES.get(stat.S_IFMT(event.file_mode)):
        file["type"] = kind
    if event.inode:
        file |= {"inode": str(event.inode), "device": str(event.device)}
    if event.inode or event.action is ChangeAction.CHMOD:
        file["mode"] = f"{stat.S_IMODE(event.file_mode):04o}"
    if event.action is ChangeAction.TRUNCATE:
        file["size"] = event.size
    if event.owner is not None:
        file["uid"] = str(event.owner)
    if event.group is not None:
        file["gid"] = str(event.group)
    return file


def _list_file_flags(event: FileOpen | FileChange) -> list[str]:
    return [
        name
        for name, is_set in (
            ("upper_layer", event.is_upper_layer),
            ("foreign_namespace", event.is_foreign_namespace),
            ("detached_mount", event.is_detached_mount),
            ("path_truncated", event.is_path_truncated),
        )
        if is_set
    ]


def _list_open_types(event: FileOpen) -> list[str]:
    if event.is_created:
        return ["creation"]
    return ["change"] if event.is_write else ["access"]


def _fill_loss(event: LossReport, document: Document) -> None:
    nested(document, "stockade")["lost"] = {
        "cpu": event.cpu,
        "event_type": event.event_type,
        "cgroup_id": event.cgroup_id,
        "count": event.count,
        "reason": event.reason,
    }


def _fill_cgroup(event: CgroupCreate | CgroupRemove | CgroupAttach, document: Document) -> None:
    own = nested(document, "stockade")
    own["cgroup_id"] = event.cgroup_id
    own["cgroup_path"] = event.path


def _fill_resolved(event: ContainerResolved, document: Document) -> None:
    container = nested(document, "container")
    container |= {"id": event.container_id, "name": event.name, "image": {"name": event.image_name}}


def _fill_failure(event: ServiceFailure, document: Document) -> None:
    document["message"] = event.text
    nested(document, "stockade")["part"] = event.part


def _fill_guard_refused(event: GuardRefused, document: Document) -> None:
    document["message"] = f"{event.count} attempts at our {event.aimed_at} were refused"
    nested(document, "stockade")["part"] = "guards"


def _fill_response(event: AnyResponse, document: Document) -> None:
    """What was done; the container itself, if it is known, is in the common part."""
    own = nested(document, "stockade")
    response: Document = {"subject": event.subject, "subject_id": event.subject_id, "asked_by": event.asked_by}
    if event.processes:
        response["processes"] = event.processes
    if event.for_s:
        response["for_s"] = event.for_s
    own["response"] = response
    if event.container_id:
        nested(document, "container").setdefault("id", event.container_id)
    head = nested(document, "event")
    head["outcome"] = "success"
    if event.reason:
        head["reason"] = event.reason
    if event.note:
        document["message"] = event.note


def _fill_response_failed(event: ResponseFailed, document: Document) -> None:
    _fill_response(event, document)
    nested(document, "event")["outcome"] = "failure"
    nested(nested(document, "stockade"), "response")["action"] = event.action
    document["message"] = event.error


_FILE_TYPES: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}

_CHANGE_TYPES: Final = {
    ChangeAction.DELETION: ["deletion"],
    ChangeAction.LINK: ["creation"],
    ChangeAction.SYMLINK: ["creation"],
}
"""``event.type`` of a change where it is not ``change``,"""
_DENIED_TYPES: Final = {"open": ["access"], "create": ["creation"]} | {
    str(action): types for action, types in _CHANGE_TYPES.items()
}
"""and of what was denied."""

_FILLERS: Final[dict[type, Callable[..., None]]] = {
    ProcessExec: _fill_exec,
    ProcessExecFailed: _fill_exec_failed,
    ProcessFork: _fill_fork,
    ProcessExit: _fill_exit,
    FileOpen: _fill_open,
    Denial: _fill_denial,
    FileChange: _fill_change,
    ProcessAccess: _fill_access,
    NetworkConnection: _fill_connection,
    CgroupCreate: _fill_cgroup,
    CgroupRemove: _fill_cgroup,
    CgroupAttach: _fill_cgroup,
    ContainerResolved: _fill_resolved,
    LossReport: _fill_loss,
    ServiceFailure: _fill_failure,
    GuardRefused: _fill_guard_refused,
    ContainerFrozen: _fill_response,
    ContainerThawed: _fill_response,
    ContainerKilled: _fill_response,
    ProcessesKilled: _fill_response,
    ResponseFailed: _fill_response_failed,
}
