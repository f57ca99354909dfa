"""Turn ring-buffer records into model events.

Pure: no clock, no I/O, no memory of earlier records. Reading the ring is
:mod:`monitor.bpf.ring`; joining an event with its process is
:mod:`monitor.engine.enrich`. The layout is :mod:`monitor.wire._layout`, generated.
"""

from collections.abc import Callable
from typing import Final

from monitor.model.arguments import join_cut_args, split_args
from monitor.model.events import (
    AccessKind,
    CgroupAttach,
    CgroupCreate,
    CgroupRemove,
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
    TaskEvent,
)
from monitor.model.ids import CgroupId, Tgid
from monitor.wire import _layout as layout

Buffer = bytes | memoryview
KernelEvent = TaskEvent | CgroupCreate | CgroupRemove | CgroupAttach

_FORK: Final = layout.STRUCTS["process_fork_event"]
_EXEC: Final = layout.STRUCTS["process_exec_event"]
_EXEC_FAILED: Final = layout.STRUCTS["process_exec_failed_event"]
_EXIT: Final = layout.STRUCTS["process_exit_event"]
_OPEN: Final = layout.STRUCTS["file_open_event"]
_DENIAL: Final = layout.STRUCTS["denial_event"]
_CHANGE: Final = layout.STRUCTS["file_change_event"]
_ACCESS: Final = layout.STRUCTS["process_access_event"]
_CONNECTION: Final = layout.STRUCTS["unix_connection_event"]
_CGROUP: Final = layout.STRUCTS["cgroup_event"]

EVENT_NAMES: Final = {
    layout.EVENT_PROCESS_FORK: "process_fork",
    layout.EVENT_PROCESS_EXEC: "process_exec",
    layout.EVENT_PROCESS_EXEC_FAILED: "process_exec_failed",
    layout.EVENT_PROCESS_EXIT: "process_exit",
    layout.EVENT_CGROUP_CREATE: "cgroup_create",
    layout.EVENT_CGROUP_REMOVE: "cgroup_remove",
    layout.EVENT_CGROUP_ATTACH: "cgroup_attach",
    layout.EVENT_FILE_OPEN: "file_open",
    layout.EVENT_DENIAL: "denial",
    layout.EVENT_FILE_CHANGE: "file_change",
    layout.EVENT_PROCESS_ACCESS: "process_access",
    layout.EVENT_UNIX_CONNECTION: "unix_connection",
}
"""Names of record types, as loss reports and status show them."""


_DENIALS: Final = {
    layout.DENIAL_EXEC: ("exec", "lsm"),
    layout.DENIAL_EXEC_CHECK: ("exec-check", "lsm"),
    layout.DENIAL_EXEC_KILL: ("exec", "kill"),
    layout.DENIAL_OPEN: ("open", "lsm"),
    layout.DENIAL_CREATE: ("create", "lsm"),
    layout.DENIAL_RENAME: ("rename", "lsm"),
    layout.DENIAL_DELETE: ("deletion", "lsm"),
    layout.DENIAL_LINK: ("link", "lsm"),
    layout.DENIAL_SYMLINK: ("symlink", "lsm"),
    layout.DENIAL_TRUNCATE: ("truncate", "lsm"),
    layout.DENIAL_MODE: ("chmod", "lsm"),
    layout.DENIAL_OWNER: ("chown", "lsm"),
    layout.DENIAL_MAP: ("map", "lsm"),
    layout.DENIAL_PROTECT: ("mprotect", "lsm"),
    layout.DENIAL_ACCESS: ("process-access", "lsm"),
    layout.DENIAL_TRACEME: ("traceme", "lsm"),
    layout.DENIAL_CONNECT: ("connect", "lsm"),
    layout.DENIAL_SEND: ("send", "lsm"),
}
"""By hook: what was asked for, and the tier."""
_ACTIONS: Final = {
    layout.CHANGE_RENAME: ChangeAction.RENAME,
    layout.CHANGE_DELETE: ChangeAction.DELETION,
    layout.CHANGE_LINK: ChangeAction.LINK,
    layout.CHANGE_SYMLINK: ChangeAction.SYMLINK,
    layout.CHANGE_TRUNCATE: ChangeAction.TRUNCATE,
    layout.CHANGE_MODE: ChangeAction.CHMOD,
    layout.CHANGE_OWNER: ChangeAction.CHOWN,
}
_ACCESSES: Final = {
    layout.ACCESS_ATTACH: AccessKind.ATTACH,
    layout.ACCESS_SEIZE: AccessKind.SEIZE,
    layout.ACCESS_TRACEME: AccessKind.TRACEME,
    layout.ACCESS_READ: AccessKind.READ,
    layout.ACCESS_WRITE: AccessKind.WRITE,
    layout.ACCESS_DESCRIPTOR: AccessKind.DESCRIPTOR,
}
_ID_KEPT: Final = 0xFFFF_FFFF
"""``chown``: that id stays as it was."""


class DecodeError(ValueError):
    """These bytes are no record of this layout."""


def decode_record(data: Buffer, offset: int, length: int) -> KernelEvent:
    """Decode one record that lies at ``offset`` and has ``length`` bytes.

    Raises:
        DecodeError: unknown type, too short, or a string that reaches past the end.
    """
    if length < 2:
        raise DecodeError(f"a record of {length} bytes")
    kind = data[offset] | data[offset + 1] << 8
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise DecodeError(f"unknown record type {kind}")
    fixed_bytes, decode = decoder
    if length < fixed_bytes:
        raise DecodeError(f"{EVENT_NAMES[kind]}: {length} bytes, its fixed part has {fixed_bytes}")
    return decode(data, offset, length)


def _text(data: Buffer, base: int, length: int, string_offset: int, string_length: int) -> str:
    """A string of the record; invalid UTF-8 is backslash-escaped."""
    if string_offset + string_length > length:
        raise DecodeError("a string reaches past the end of its record")
    start = base + string_offset
    return str(data[start : start + string_length], "utf-8", "backslashreplace")


def _decode_fork(data: Buffer, offset: int, _length: int) -> ProcessFork:
    (
        _type, _reserved, _size, cpu, tid, sequence, ktime_ns, cgroup_id, start, exec_id, tgid, uid,
        parent_start, parent_exec_id, parent_tgid, _padding,
    ) = _FORK.unpack_from(data, offset)  # fmt: skip
    return ProcessFork(
        ktime_ns, cpu, sequence, cgroup_id, tgid, tid, start, exec_id, uid, parent_tgid, parent_start, parent_exec_id
    )


def _upper_layer(flags: int) -> bool | None:
    return None if flags & layout.FILE_UPPER_UNKNOWN else bool(flags & layout.FILE_UPPER_LAYER)


def _decode_exec(data: Buffer, offset: int, length: int) -> ProcessExec:
    (
        _type, _reserved, _length, cpu, tid, sequence, ktime_ns, cgroup_id, start, exec_id, tgid, uid,
        parent_start, cap_effective, cap_permitted, inode, device, parent_tgid, link_count,
        gid, euid, egid, login_uid, session_id, namespace_tgid,
        mnt_ns, pid_ns, net_ns, user_ns, uts_ns, ipc_ns, cgroup_ns, file_flags, exec_flags, omitted,
        executable_at, executable_bytes, script_at, script_bytes, args_at, args_bytes, tail_at, tail_bytes,
        cwd_at, cwd_bytes, tty_at, tty_bytes,
    ) = _EXEC.unpack_from(data, offset)  # fmt: skip
    head = _text(data, offset, length, args_at, args_bytes)
    if omitted or tail_bytes:  # decoded apart: a character that was cut is none
        args, cut_at = join_cut_args(head, _text(data, offset, length, tail_at, tail_bytes))
    else:
        args, cut_at = split_args(head), -1
    return ProcessExec(
        ktime_ns, cpu, sequence, cgroup_id, tgid, tid, start, exec_id, uid,
        _text(data, offset, length, executable_at, executable_bytes),
        _text(data, offset, length, script_at, script_bytes) if script_bytes else "",
        args,
        bool(exec_flags & (layout.EXEC_ARGS_TRUNCATED | layout.EXEC_ARGS_UNREADABLE)),
        _text(data, offset, length, cwd_at, cwd_bytes),
        parent_tgid, parent_start, gid, euid, egid, login_uid, session_id,
        _text(data, offset, length, tty_at, tty_bytes) if tty_bytes else "",
        cap_effective, cap_permitted,
        Namespaces(mnt_ns, pid_ns, net_ns, user_ns, uts_ns, ipc_ns, cgroup_ns),
        namespace_tgid, inode, device, link_count,
        bool(exec_flags & layout.EXEC_32BIT),
        bool(file_flags & layout.FILE_MEMFD),
        bool(file_flags & layout.FILE_DELETED),
        _upper_layer(file_flags),
        bool(file_flags & layout.FILE_TMPFS),
        bool(file_flags & layout.FILE_FOREIGN_NAMESPACE),
        bool(file_flags & layout.FILE_PATH_TRUNCATED),
        bool(file_flags & layout.FILE_DETACHED_MOUNT),
        False,
        omitted, cut_at,
        bool(exec_flags & layout.EXEC_CWD_TRUNCATED),
        bool(file_flags & layout.FILE_OTHER_FILESYSTEM),
    )  # fmt: skip


def _decode_exec_failed(data: Buffer, offset: int, length: int) -> ProcessExecFailed:
    (
        _type, _reserved, _size, cpu, tid, sequence, ktime_ns, cgroup_id, start, exec_id, tgid, uid,
        number, path_at, path_bytes,
    ) = _EXEC_FAILED.unpack_from(data, offset)  # fmt: skip
    path = _text(data, offset, length, path_at, path_bytes)
    return ProcessExecFailed(ktime_ns, cpu, sequence, cgroup_id, tgid, tid, start, exec_id, uid, path, number)


def _decode_exit(data: Buffer, offset: int, _length: int) -> ProcessExit:
    (
        _type, _reserved, _size, cpu, tid, sequence, ktime_ns, cgroup_id, start, exec_id, tgid, uid, code, _padding,
    ) = _EXIT.unpack_from(data, offset)  # fmt: skip
    return ProcessExit(
        ktime_ns, cpu, sequence, cgroup_id, tgid, tid, start, exec_id, uid, (code >> 8) & 0xFF, code & 0x7F
    )


def _decode_open(data: Buffer, offset: int, length: int) -> FileOpen:
    (
        _type, _reserved, _length, cpu, tid, sequence, ktime_ns, cgroup_id, start, exec_id, tgid, uid,
        inode, device, open_flags, access, file_flags, mode, link_count, result, _padding, path_at, path_bytes,
    ) = _OPEN.unpack_from(data, offset)  # fmt: skip
    return FileOpen(
        ktime_ns, cpu, sequence, cgroup_id, tgid, tid, start, exec_id, uid,
        _text(data, offset, length, path_at, path_bytes),
        bool(access & (layout.OPEN_WRITE | layout.OPEN_CREATED)),
        bool(access & layout.OPEN_READ),
        bool(access & layout.OPEN_CREATED),
        open_flags,
        max(result, -1),
        -result if result < 0 else 0,
        inode, device, mode, link_count,
        bool(file_flags & layout.FILE_PATH_CLAIMED),
        bool(file_flags & layout.FILE_PATH_TRUNCATED),
        bool(file_flags & layout.FILE_FOREIGN_NAMESPACE),
        bool(file_flags & layout.FILE_DETACHED_MOUNT),
        _upper_layer(file_flags),
    )  # fmt: skip


def _decode_denial(data: Buffer, offset: int, length: int) -> Denial:
    (
        _type, _reserved, _length, cpu, tid, sequence, ktime_ns, cgroup_id, start, exec_id, tgid, uid,
        inode, device, generation, hook, file_flags, mode, path_at, path_bytes, terms_at, terms_bytes,
    ) = _DENIAL.unpack_from(data, offset)  # fmt: skip
    if hook not in _DENIALS:
        raise DecodeError(f"a denial by the unknown hook {hook}")
    action, tier = _DENIALS[hook]
    return Denial(
        ktime_ns, cpu, sequence, cgroup_id, tgid, tid, start, exec_id, uid,
        _text(data, offset, length, path_at, path_bytes),
        action, tier, generation,
        _bits(data, offset, length, terms_at, terms_bytes),
        inode, device, mode,
        bool(file_flags & layout.FILE_MEMFD),
        bool(file_flags & layout.FILE_DELETED),
        _upper_layer(file_flags),
        bool(file_flags & layout.FILE_TMPFS),
        bool(file_flags & layout.FILE_PATH_TRUNCATED),
        bool(file_flags & layout.FILE_FOREIGN_NAMESPACE),
        bool(file_flags & layout.FILE_DETACHED_MOUNT),
        bool(file_flags & layout.FILE_KNOWN),
        bool(file_flags & layout.FILE_OTHER_FILESYSTEM),
    )  # fmt: skip


def _bits(data: Buffer, base: int, length: int, at: int, size: int) -> tuple[int, ...]:
    """Numbers of the bits that are set in the words of a vector."""
    if at + size > length:
        raise DecodeError("a vector reaches past the end of its record")
    vector = int.from_bytes(data[base + at : base + at + size], "little")
    return tuple(number for number in range(vector.bit_length()) if vector >> number & 1)


def _decode_change(data: Buffer, offset: int, length: int) -> FileChange:
    (
        _type, _reserved, _length, cpu, tid, sequence, ktime_ns, cgroup_id, start, exec_id, tgid, uid,
        inode, device, size, kind, file_flags, mode, owner, group, other_flags,
        path_at, path_bytes, other_at, other_bytes,
    ) = _CHANGE.unpack_from(data, offset)  # fmt: skip
    action = _ACTIONS.get(kind)
    if action is None:
        raise DecodeError(f"file_change: unknown action {kind}")
    other = _text(data, offset, length, other_at, other_bytes) if other_bytes else ""
    is_symlink, is_claimed = action is ChangeAction.SYMLINK, bool(file_flags & layout.FILE_PATH_CLAIMED)
    return FileChange(
        ktime_ns, cpu, sequence, cgroup_id, tgid, tid, start, exec_id, uid,
        action,
        _text(data, offset, length, path_at, path_bytes),
        "" if is_symlink else other,
        other if is_symlink else "",
        size,
        None if owner == _ID_KEPT else owner,
        None if group == _ID_KEPT else group,
        inode, device, mode,
        is_claimed,
        bool((file_flags | other_flags) & layout.FILE_PATH_TRUNCATED),
        bool(file_flags & layout.FILE_FOREIGN_NAMESPACE),
        bool(file_flags & layout.FILE_DETACHED_MOUNT),
        None if is_claimed else _upper_layer(file_flags),
    )  # fmt: skip


def _decode_access(data: Buffer, offset: int, length: int) -> ProcessAccess:
    (
        _type, _reserved, _length, cpu, tid, sequence, ktime_ns, cgroup_id, start, exec_id, tgid, uid,
        target_start, target_tgid, target_pid, kind, executable_at, executable_bytes,
    ) = _ACCESS.unpack_from(data, offset)  # fmt: skip
    action = _ACCESSES.get(kind)
    if action is None:
        raise DecodeError(f"process_access: unknown action {kind}")
    executable = _text(data, offset, length, executable_at, executable_bytes)
    return ProcessAccess(
        ktime_ns, cpu, sequence, cgroup_id, tgid, tid, start, exec_id, uid,
        action, target_pid, target_tgid, target_start, executable,
    )  # fmt: skip


def _decode_connection(data: Buffer, offset: int, length: int) -> NetworkConnection:
    (
        _type, _reserved, _length, cpu, tid, sequence, ktime_ns, cgroup_id, start, exec_id, tgid, uid,
        inode, device, file_flags, address_at, address_bytes,
    ) = _CONNECTION.unpack_from(data, offset)  # fmt: skip
    return NetworkConnection(
        ktime_ns, cpu, sequence, cgroup_id, tgid, tid, start, exec_id, uid,
        "unix",
        _text(data, offset, length, address_at, address_bytes),
        inode, device,
        bool(file_flags & layout.FILE_PATH_TRUNCATED),
    )  # fmt: skip


def _decode_cgroup(data: Buffer, offset: int, length: int) -> CgroupCreate | CgroupRemove | CgroupAttach:
    (
        kind, _reserved, _length, _cpu, _tid, _sequence, ktime_ns, _cgroup, start, _exec_id, tgid, _uid,
        subject, _level, path_at, path_bytes,
    ) = _CGROUP.unpack_from(data, offset)  # fmt: skip
    path = _text(data, offset, length, path_at, path_bytes)
    if kind == layout.EVENT_CGROUP_CREATE:
        return CgroupCreate(ktime_ns, CgroupId(subject), path)
    if kind == layout.EVENT_CGROUP_REMOVE:
        return CgroupRemove(ktime_ns, CgroupId(subject), path)
    return CgroupAttach(ktime_ns, CgroupId(subject), path, Tgid(tgid), start)


_Decode = Callable[[Buffer, int, int], KernelEvent]
_DECODERS: Final[dict[int, tuple[int, _Decode]]] = {
    layout.EVENT_PROCESS_FORK: (_FORK.size, _decode_fork),
    layout.EVENT_PROCESS_EXEC: (_EXEC.size, _decode_exec),
    layout.EVENT_PROCESS_EXEC_FAILED: (_EXEC_FAILED.size, _decode_exec_failed),
    layout.EVENT_PROCESS_EXIT: (_EXIT.size, _decode_exit),
    layout.EVENT_FILE_OPEN: (_OPEN.size, _decode_open),
    layout.EVENT_DENIAL: (_DENIAL.size, _decode_denial),
    layout.EVENT_FILE_CHANGE: (_CHANGE.size, _decode_change),
    layout.EVENT_PROCESS_ACCESS: (_ACCESS.size, _decode_access),
    layout.EVENT_UNIX_CONNECTION: (_CONNECTION.size, _decode_connection),
    layout.EVENT_CGROUP_CREATE: (_CGROUP.size, _decode_cgroup),
    layout.EVENT_CGROUP_REMOVE: (_CGROUP.size, _decode_cgroup),
    layout.EVENT_CGROUP_ATTACH: (_CGROUP.size, _decode_cgroup),
}
