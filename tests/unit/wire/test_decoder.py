"""Records of known content."""

import pytest

from monitor.model.arguments import CUT
from monitor.model.events import (
    AccessKind,
    CgroupCreate,
    ChangeAction,
    FileChange,
    FileOpen,
    NetworkConnection,
    ProcessAccess,
    ProcessExec,
    ProcessExit,
    ProcessFork,
)
from monitor.wire import _layout as layout
from monitor.wire.decoder import DecodeError, decode_record


def build_record(struct_name: str, strings: dict[str, bytes] | None = None, **fields: int) -> bytes:
    """A record as the kernel writes it: fixed part, then the strings."""
    struct, names = layout.STRUCTS[struct_name], layout.FIELDS[struct_name]
    values = dict.fromkeys(names, 0) | fields
    tail = b""
    for name, text in (strings or {}).items():
        values[f"{name}_offset"] = struct.size + len(tail)
        values[f"{name}_length"] = len(text)
        tail += text
    values["length"] = struct.size + len(tail)
    return struct.pack(*(values[name] for name in names)) + tail


def decode(record: bytes) -> object:
    return decode_record(record, 0, len(record))


def an_exec(args: bytes, args_tail: bytes = b"", **fields: int) -> ProcessExec:
    strings = {"executable": b"/usr/bin/cat", "args": args, "args_tail": args_tail, "cwd": b"/root", "tty": b"pts0"}
    event = decode(build_record("process_exec_event", strings, type=layout.EVENT_PROCESS_EXEC, **fields))
    assert isinstance(event, ProcessExec)
    return event


def test_a_fork_names_child_and_forker() -> None:
    record = build_record(
        "process_fork_event", type=layout.EVENT_PROCESS_FORK, tgid=7, parent_tgid=3, parent_exec_id=2, sequence=9
    )

    event = decode(record)

    assert isinstance(event, ProcessFork)
    assert (event.tgid, event.parent_tgid, event.parent_exec_id, event.sequence) == (7, 3, 2, 9)


def test_argv_is_split_at_its_nuls_and_keeps_empty_arguments() -> None:
    assert an_exec(b"cat\0\0/etc/shadow\0").args == ("cat", "", "/etc/shadow")


def test_an_empty_argv_has_no_arguments() -> None:
    assert an_exec(b"").args == ()


def test_a_cut_argv_has_the_pieces_around_the_cut_and_says_so() -> None:
    event = an_exec(b"sh\0-c\0abc", b"xyz\0end\0", exec_flags=layout.EXEC_ARGS_TRUNCATED, args_omitted_bytes=70_000)

    assert event.args == ("sh", "-c", "abc", CUT, "xyz", "end")
    assert (event.args_truncated, event.args_omitted_bytes, event.args_cut_at) == (True, 70_000, 3)


def test_a_cut_between_arguments_leaves_no_empty_pieces() -> None:
    event = an_exec(b"sh\0-c\0", b"\0end\0", exec_flags=layout.EXEC_ARGS_TRUNCATED, args_omitted_bytes=1)

    assert event.args == ("sh", "-c", CUT, "end")


def test_a_character_that_is_cut_is_escaped_on_both_sides() -> None:
    event = an_exec(b"sh\0\xc3", b"\xa9\0", exec_flags=layout.EXEC_ARGS_TRUNCATED, args_omitted_bytes=1)

    assert event.args == ("sh", r"\xc3", CUT, r"\xa9")


def test_an_argv_that_could_not_be_read_is_left_out_whole() -> None:
    event = an_exec(b"", exec_flags=layout.EXEC_ARGS_UNREADABLE, args_omitted_bytes=12)

    assert (event.args, event.args_omitted_bytes, event.args_truncated) == ((CUT,), 12, True)


def test_a_working_directory_that_is_cut_is_marked() -> None:
    assert an_exec(b"x\0", exec_flags=layout.EXEC_CWD_TRUNCATED).is_cwd_truncated
    assert not an_exec(b"x\0").is_cwd_truncated


def test_invalid_utf8_is_backslash_escaped() -> None:
    assert an_exec(b"a\xff\0").args == ("a\\xff",)


@pytest.mark.parametrize(
    ("flag", "field"),
    [
        (layout.FILE_MEMFD, "is_memfd"),
        (layout.FILE_DELETED, "is_deleted"),
        (layout.FILE_UPPER_LAYER, "is_upper_layer"),
        (layout.FILE_TMPFS, "is_tmpfs"),
        (layout.FILE_OTHER_FILESYSTEM, "is_other_filesystem"),
        (layout.FILE_FOREIGN_NAMESPACE, "is_foreign_namespace"),
        (layout.FILE_PATH_TRUNCATED, "is_path_truncated"),
        (layout.FILE_DETACHED_MOUNT, "is_detached_mount"),
    ],
)
def test_each_file_flag_has_its_field(flag: int, field: str) -> None:
    assert getattr(an_exec(b"x\0", file_flags=flag), field) is True
    assert getattr(an_exec(b"x\0"), field) is False


def test_an_unknown_upper_layer_is_none() -> None:
    assert an_exec(b"x\0", file_flags=layout.FILE_UPPER_UNKNOWN).is_upper_layer is None


@pytest.mark.parametrize(("code", "status", "signal"), [(3 << 8, 3, 0), (9, 0, 9), (0x80 | 11, 0, 11)])
def test_an_exit_code_is_taken_apart_as_wait_does(code: int, status: int, signal: int) -> None:
    event = decode(build_record("process_exit_event", type=layout.EVENT_PROCESS_EXIT, exit_code=code))

    assert isinstance(event, ProcessExit)
    assert (event.exit_status, event.signal) == (status, signal)


def test_a_failed_open_has_an_errno_and_no_descriptor() -> None:
    record = build_record(
        "file_open_event", {"path": b"/etc/shadow"}, type=layout.EVENT_FILE_OPEN, result=-13,
        file_flags=layout.FILE_PATH_CLAIMED,
    )  # fmt: skip

    event = decode(record)

    assert isinstance(event, FileOpen)
    assert (event.errno, event.fd, event.is_path_claimed) == (13, -1, True)


def test_a_created_file_counts_as_written() -> None:
    record = build_record("file_open_event", type=layout.EVENT_FILE_OPEN, access=layout.OPEN_CREATED)

    event = decode(record)

    assert isinstance(event, FileOpen)
    assert event.is_write
    assert event.is_created


def a_change(kind: int, other: bytes = b"", **fields: int) -> FileChange:
    strings = {"path": b"/etc/cron.d/x", "other": other}
    fields = {"owner": 0xFFFFFFFF, "group": 0xFFFFFFFF, "file_flags": layout.FILE_PATH_CLAIMED} | fields
    event = decode(build_record("file_change_event", strings, type=layout.EVENT_FILE_CHANGE, action=kind, **fields))
    assert isinstance(event, FileChange)
    return event


def test_a_rename_has_the_name_that_was_there_before_and_a_symlink_what_it_says() -> None:
    rename, symlink = a_change(layout.CHANGE_RENAME, b"/tmp/x"), a_change(layout.CHANGE_SYMLINK, b"../y")

    assert (rename.action, rename.path, rename.source, rename.target) == ("rename", "/etc/cron.d/x", "/tmp/x", "")
    assert (symlink.action, symlink.source, symlink.target) == (ChangeAction.SYMLINK, "", "../y")
    assert rename.is_path_claimed
    assert rename.is_upper_layer is None


def test_a_chown_tells_what_stays_from_what_is_root_now() -> None:
    event = a_change(layout.CHANGE_OWNER, owner=0)

    assert (event.owner, event.group) == (0, None)


def test_a_change_by_descriptor_is_no_claim() -> None:
    event = a_change(layout.CHANGE_MODE, inode=7, file_mode=0o104755, file_flags=layout.FILE_UPPER_LAYER)

    assert (event.inode, event.file_mode, event.is_path_claimed, event.is_upper_layer) == (7, 0o104755, False, True)


def test_the_beginning_of_either_name_may_be_missing() -> None:
    assert a_change(layout.CHANGE_LINK, b"/x", other_flags=layout.FILE_PATH_TRUNCATED).is_path_truncated


def test_an_unknown_change_is_refused() -> None:
    with pytest.raises(DecodeError, match="unknown action 99"):
        a_change(99)


def an_access(kind: int, **fields: int) -> ProcessAccess:
    strings = {"executable": b"/usr/bin/\xff"}
    event = decode(
        build_record("process_access_event", strings, type=layout.EVENT_PROCESS_ACCESS, action=kind, **fields)
    )
    assert isinstance(event, ProcessAccess)
    return event


def test_an_access_has_its_target() -> None:
    event = an_access(layout.ACCESS_SEIZE, target_tgid=7, target_start_boottime_ns=8, target_pid=9)

    assert (event.action, event.target_tgid, event.target_start_boottime_ns, event.target_pid) == (
        AccessKind.SEIZE, 7, 8, 9,
    )  # fmt: skip
    assert event.target_executable == "/usr/bin/\\xff"


def test_an_unknown_access_is_refused() -> None:
    with pytest.raises(DecodeError, match="unknown action 99"):
        an_access(99)


def test_a_connection_has_the_address_of_the_other_end() -> None:
    record = build_record(
        "unix_connection_event", {"address": b"@a@b"}, type=layout.EVENT_UNIX_CONNECTION, inode=3, device=4,
        file_flags=layout.FILE_PATH_TRUNCATED,
    )  # fmt: skip

    event = decode(record)

    assert isinstance(event, NetworkConnection)
    assert (event.transport, event.address, event.inode, event.device) == ("unix", "@a@b", 3, 4)
    assert event.is_path_truncated


def test_a_cgroup_event_is_about_its_subject() -> None:
    record = build_record(
        "cgroup_event", {"path": b"/docker/x"}, type=layout.EVENT_CGROUP_CREATE, cgroup_id=1, subject_cgroup_id=77
    )

    event = decode(record)

    assert isinstance(event, CgroupCreate)
    assert (event.cgroup_id, event.path) == (77, "/docker/x")


def test_a_string_that_reaches_past_the_record_is_refused() -> None:
    record = build_record("file_open_event", {"path": b"/etc"}, type=layout.EVENT_FILE_OPEN)

    with pytest.raises(DecodeError, match="past the end"):
        decode_record(record, 0, len(record) - 1)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(DecodeError, match="unknown record type"):
        decode(bytes([200, 0]) + bytes(200))
