"""Sample files: strict, with sensible defaults."""

import json
import stat

import pytest

from monitor.model.events import FileChange, FileOpen, ProcessExec, ProcessExecFailed, ProcessExit
from monitor.rules.samples import read_samples
from tests.support.rule_texts import event


def mistake(line: str) -> str:
    samples, errors = read_samples("x.jsonl", b"\n" + line.encode())
    assert not samples
    assert errors[0].location == ("x.jsonl", 2, 1)
    return errors[0].message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "not JSON"),
        ("[]", "a sample is a JSON object"),
        ('{"event": "fork"}', "event must be one of"),
        ('{"event": "process_exec"}', "process_exec needs process.executable (Image)"),
        ('{"event": "file_open"}', "file_open needs file.path"),
        ('{"event": "file_open", "file.pth": "/x"}', "'file.pth' is unknown; did you mean 'file.path'"),
        ('{"event": "file_open", "file.path": 5}', "file.path must be text"),
        ('{"event": "file_open", "file.path": "/x", "TargetFilename": "/x"}', "file.path is there under two names"),
        ('{"event": "file_open", "file.path": "/x", "file.access": ["run"]}', "file.access is of read, write"),
        ('{"event": "file_open", "file.path": "/x", "error.code": "NO"}', "error.code 'NO' is no errno name"),
        ('{"event": "process_exec", "Image": "/x", "process.name": "x"}', "'process.name' follows from other fields"),
        ('{"event": "process_exec", "Image": "/x", "container.name": "x"}', "container.name without container.id"),
        ('{"event": "process_exec", "Image": "/x", "container.id": "web"}', "container.id must be 1 to 64 hex digits"),
        ('{"event": "process_exec", "Image": "/x", "CommandLine": "x", "process.args": []}', "process.args and"),
        (
            '{"event": "process_exec", "Image": "/x", "process.thread.capabilities.effective": ["CAP_X"]}',
            "unknown capability among CAP_X",
        ),
        ('{"sequence": []}', "sequence must be a list of events"),
        ('{"sequence": [5]}', "an event is a JSON object"),
        ('{"sequence": [], "event": "x"}', "unknown key 'event' beside sequence"),
        ('{"sequence": [{"event": "process_exec", "Image": "/x", "repeat": 0}]}', "repeat must be 1 to 1000"),
        ('{"sequence": [{"event": "process_exec", "Image": "/x", "repeat": 999}, {"event": "process_exec",'
         ' "Image": "/x", "repeat": 2}]}', "more than 1000 events"),
        ('{"sequence": [{"event": "process_exec", "Image": "/x", "after_s": -1}]}', "after_s must be a number of"),
    ],
)  # fmt: skip
def test_mistakes(line: str, message: str) -> None:
    assert mistake(line).startswith(message)


def test_defaults_of_an_exec() -> None:
    context = event(process__executable="/usr/bin/ls")

    assert isinstance(context.event, ProcessExec)
    assert context.image.command_line == "ls"
    assert (context.container, context.parent_image, context.event.uid) == (None, None, 1000)


def test_root_has_all_capabilities_and_others_none() -> None:
    assert event(user__id=0).image.exec.cap_effective == (1 << 41) - 1
    assert event().image.exec.cap_effective == 0
    capable = event(**{"process.thread.capabilities.effective": ["CAP_SYS_ADMIN"]})
    assert capable.image.exec.cap_effective == 1 << 21


def test_other_events() -> None:
    opened = event(file__path="/x", file__access=["read", "create"]).event
    failed = event(file__path="/x", error__code="EACCES").event
    refused = event(event="process_exec_failed", file__path="/x").event
    ended = event(event="process_exit", process__exit_code=3).event

    assert isinstance(opened, FileOpen) and opened.is_created and opened.is_write and opened.is_read
    assert isinstance(failed, FileOpen) and (failed.errno, failed.is_path_claimed, failed.fd) == (13, True, -1)
    assert isinstance(refused, ProcessExecFailed) and refused.errno == 2
    assert isinstance(ended, ProcessExit) and ended.exit_status == 3


def test_changes_of_files() -> None:
    rename = event(event="file_rename", file__path="/b", file__original__path="/a").event
    chmod = event(event="file_chmod", file__path="/b", file__mode="4755", file__inode=9, file__type="file").event
    symlink = event(event="file_symlink", file__path="/b", file__target_path="/dev/null").event

    assert isinstance(rename, FileChange) and (rename.source, rename.path, rename.is_path_claimed) == ("/a", "/b", True)
    assert isinstance(chmod, FileChange) and (chmod.file_mode, chmod.is_path_claimed) == (0o104755, False)
    assert isinstance(symlink, FileChange) and (symlink.target, symlink.file_mode >> 12) == ("/dev/null", 0o12)


def test_a_file_has_the_type_and_mode_that_a_document_would_show() -> None:
    opened = event(file__path="/dev/x", file__type="block", file__mode="0660").event

    assert isinstance(opened, FileOpen) and opened.file_mode == stat.S_IFBLK | 0o660


@pytest.mark.parametrize(
    ("values", "mistake"),
    [
        ({"file.mode": "rw"}, "file.mode is three or four octal digits"),
        ({"file.mode": 644}, "file.mode must be text"),
        ({"file.type": "directory"}, "file.type is one of file, dir"),
    ],
)
def test_modes_and_types_that_no_document_has(values: dict[str, object], mistake: str) -> None:
    _, errors = read_samples("x", json.dumps({"event": "file_open", "file.path": "/x", **values}).encode())

    assert mistake in errors[0].message


def test_a_container_is_pending_until_something_names_it() -> None:
    pending = event(container__id="ab").container
    named = event(container__id="ab", container__name="web").container

    assert pending is not None and pending.pending and pending.id == "ab".rjust(64, "0")
    assert named is not None and not named.pending


def test_events_of_a_sequence_are_processes_of_their_own_unless_they_have_a_pid() -> None:
    line = b"""{"sequence": [{"event": "process_exec", "Image": "/x", "repeat": 2},
        {"event": "process_exec", "Image": "/x", "process.pid": 7, "repeat": 2}]}""".replace(b"\n", b"")

    (sample,), _ = read_samples("x", line)

    keys = [part.event.key for part in sample.events]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]
