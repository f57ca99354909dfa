"""The sensor for changes of files, on real calls: what each says, how names become paths, and what is left alone.

By the ends of system calls on this machine; by LSM hooks in guests, where ``lsm_changes`` has more.
"""

import ctypes
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.model.events import ChangeAction, FileChange
from monitor.model.interest import OpenPattern, PatternKind
from monitor.wire import _layout as layout
from tests.support.change_sensor import EVERY_CHANGE, IS_CLAIMED, ChangeSensor, everything_below
from tests.support.open_patterns import exact, suffix, touch

pytestmark = pytest.mark.kernel

COUNTER_OWN_EVENTS = 0
AT_FDCWD, RENAME_EXCHANGE, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = -100, 2, 0x1000, 0x400
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="module")
def loaded_changes() -> Iterator[ChangeSensor]:
    with ChangeSensor() as sensor:
        yield sensor


@pytest.fixture
def changes(loaded_changes: ChangeSensor) -> Iterator[ChangeSensor]:
    """Nothing watched, nothing left to read, no cgroup known."""
    loaded_changes.watch([])
    loaded_changes.read_all()
    yield loaded_changes
    for key, _ in list(loaded_changes.object.map_items("cgroup_tags")):
        loaded_changes.object.map_delete("cgroup_tags", key)


@pytest.fixture
def folder(changes: ChangeSensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of which every change is watched; the working folder."""
    changes.watch([everything_below(tmp_path)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(events: list[FileChange]) -> list[tuple[str, str, str]]:
    """What was done, to which path, and the other text of the call."""
    return [(event.action.value, event.path, event.source or event.target) for event in events]


def test_calls_with_two_names_say_both(changes: ChangeSensor, folder: Path) -> None:
    touch(folder / "a")
    (folder / "a").rename(folder / "b")
    os.link(folder / "b", folder / "c")
    (folder / "d").symlink_to("../somewhere/../else")

    events = changes.read()

    assert told(events) == [
        ("rename", f"{folder}/b", f"{folder}/a"),
        ("link", f"{folder}/c", f"{folder}/b"),
        ("symlink", f"{folder}/d", "../somewhere/../else"),
    ]
    assert {event.is_path_claimed for event in events} == {IS_CLAIMED}
    facts = [(folder / name).lstat().st_ino for name in ("b", "c", "d")]
    assert [event.inode for event in events] == ([0, 0, 0] if IS_CLAIMED else facts)


def test_calls_with_one_name_say_what_they_give(changes: ChangeSensor, folder: Path) -> None:
    file = touch(folder / "a")
    file.chmod(0o4711)
    os.chown(file, 3, -1)
    os.chown(file, -1, 4, follow_symlinks=False)
    os.truncate(file, 9)
    file.unlink()
    (folder / "sub").mkdir()
    (folder / "sub").rmdir()

    chmod, owner, group, truncate, unlink, rmdir = changes.read()

    assert (chmod.action, stat.S_IMODE(chmod.file_mode)) == (ChangeAction.CHMOD, 0o4711)
    assert (owner.owner, owner.group, group.owner, group.group) == (3, None, None, 4)
    assert (truncate.action, truncate.size, truncate.path) == (ChangeAction.TRUNCATE, 9, f"{folder}/a")
    assert (unlink.action, unlink.path) == (ChangeAction.DELETION, f"{folder}/a")
    assert stat.S_IFMT(unlink.file_mode) == (0 if IS_CLAIMED else stat.S_IFREG)
    assert (rmdir.action, rmdir.path, stat.S_ISDIR(rmdir.file_mode)) == (ChangeAction.DELETION, f"{folder}/sub", True)


def test_calls_by_descriptor_have_facts(changes: ChangeSensor, folder: Path) -> None:
    file = touch(folder / "a")
    (folder / "link").symlink_to(file)
    changes.read()
    with (folder / "link").open("r+b") as opened:
        opened.truncate(5)
        os.fchmod(opened.fileno(), 0o751)
        os.fchown(opened.fileno(), -1, 7)
        facts = os.fstat(opened.fileno())

    events = changes.read()

    assert [(event.action.value, event.path) for event in events] == [
        ("truncate", str(file)),
        ("chmod", str(file)),
        ("chown", str(file)),
    ]
    assert {event.inode for event in events} == {facts.st_ino}
    assert {stat.S_IFMT(event.file_mode) for event in events} == {stat.S_IFREG}
    assert (events[1].file_mode, events[2].group) == (facts.st_mode, 7)
    assert not any(event.is_path_claimed for event in events)


@pytest.mark.parametrize(
    "name", ["a", "./a", "sub/../a", ".//sub/.././a", "sub/deep/../../a", "../{folder}/a", "/{absolute}//./a"]
)
def test_a_name_is_put_behind_its_folder(changes: ChangeSensor, folder: Path, name: str) -> None:
    (folder / "sub" / "deep").mkdir(parents=True)
    touch(folder / "a")

    os.unlink(name.format(folder=folder.name, absolute=folder))  # noqa: PTH108  (pathlib would tidy the name)

    assert told(changes.read()) == [("deletion", f"{folder}/a", "")]


def test_a_name_may_go_up_from_a_folder_given_by_descriptor(changes: ChangeSensor, folder: Path) -> None:
    touch(folder / "one" / "a")
    touch(folder / "two" / "b")
    one = os.open(folder / "one", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.rename("a", "../two/./c", src_dir_fd=one, dst_dir_fd=one)
        os.unlink("../two/b", dir_fd=one)
    finally:
        os.close(one)

    assert told(changes.read()) == [
        ("rename", f"{folder}/two/c", f"{folder}/one/a"),
        ("deletion", f"{folder}/two/b", ""),
    ]


def test_going_up_crosses_mounts_as_the_kernel_does(changes: ChangeSensor, folder: Path) -> None:
    (folder / "mount").mkdir()
    touch(folder / "gone")
    script = "mount -t tmpfs tmpfs mount && cd mount && exec rm ../gone"
    with subprocess.Popen(["unshare", "--mount", "--propagation=private", "sh", "-c", script]) as child:
        pass

    assert child.returncode == 0
    assert told(changes.read(child.pid)) == [("deletion", f"{folder}/gone", "")]


def test_names_are_those_of_the_mount_namespace_whatever_root_the_task_has(changes: ChangeSensor, folder: Path) -> None:
    for number in range(3):
        touch(folder / "jail" / "inner" / str(number))
    pid = os.fork()
    if not pid:
        os.chroot(folder / "jail")
        os.chdir("/inner")
        for name in ("0", "/inner/1", "../../../inner/2"):  # above a root there is nothing
            os.unlink(name)  # noqa: PTH108
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

    assert [event.path for event in changes.read(pid)] == [f"{folder}/jail/inner/{number}" for number in range(3)]


def test_an_exchange_is_two_renames(changes: ChangeSensor, folder: Path) -> None:
    touch(folder / "a")
    touch(folder / "b")

    if LIBC.renameat2(AT_FDCWD, b"a", AT_FDCWD, b"b", RENAME_EXCHANGE):
        pytest.skip(f"renameat2 here: {os.strerror(ctypes.get_errno())}")

    assert told(changes.read()) == [
        ("rename", f"{folder}/b", f"{folder}/a"),
        ("rename", f"{folder}/a", f"{folder}/b"),
    ]


def test_a_file_without_a_name_that_is_given_one_is_seen(changes: ChangeSensor, folder: Path) -> None:
    fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)
    try:
        assert LIBC.linkat(fd, b"", AT_FDCWD, b"named", AT_EMPTY_PATH) == 0
        followed = f"/proc/self/fd/{fd}".encode()
        assert LIBC.linkat(AT_FDCWD, followed, AT_FDCWD, b"again", AT_SYMLINK_FOLLOW) == 0
    finally:
        os.close(fd)

    first, second = changes.read()

    assert (first.path, second.path) == (f"{folder}/named", f"{folder}/again")
    assert first.source.startswith(str(folder))
    assert second.source == (f"/proc/self/fd/{fd}" if IS_CLAIMED else first.source)


def test_a_long_path_loses_its_head_and_says_so(changes: ChangeSensor, folder: Path) -> None:
    deep = "d" * 250
    for _ in range(20):
        os.mkdir(deep)  # noqa: PTH102
        os.chdir(deep)
    touch(Path("end"))

    changes.watch([suffix("/end", **EVERY_CHANGE)])
    os.unlink("end")  # noqa: PTH108

    (event,) = changes.read()
    assert event.path.endswith(f"/{deep}/end")
    assert event.is_path_truncated


def test_a_call_that_failed_is_no_change(changes: ChangeSensor, folder: Path) -> None:
    for call in (lambda: os.rename("x", "y"), lambda: os.unlink("x"), lambda: os.truncate(".", 0)):  # noqa: PTH104,PTH108
        with pytest.raises(OSError):
            call()

    assert changes.read() == []


def test_only_what_a_pattern_names_leaves_the_kernel(changes: ChangeSensor, folder: Path) -> None:
    made = {**EVERY_CHANGE, "renamed": False, "deleted": False, "attributes": False}
    gone = {**EVERY_CHANGE, "made": False, "renamed": False, "attributes": False}
    changes.watch([exact(folder / "made", **made), suffix("/gone", **gone)])
    for name in ("made", "gone", "other"):
        touch(folder / name)
        (folder / name).chmod(0o600)
        (folder / name).unlink()
        touch(folder / "new").rename(folder / name)

    assert told(changes.read()) == [
        ("rename", f"{folder}/made", f"{folder}/new"),
        ("deletion", f"{folder}/gone", ""),
    ]


def test_a_rename_is_found_by_its_old_name_and_a_symlink_by_what_it_says(changes: ChangeSensor, folder: Path) -> None:
    changes.watch([exact(folder / "precious", **EVERY_CHANGE), exact("/etc/shadow", **EVERY_CHANGE)])
    touch(folder / "precious")
    os.rename("precious", "elsewhere")  # noqa: PTH104
    Path("innocent").symlink_to("/etc/shadow")
    Path("other").symlink_to("/etc/hosts")

    assert told(changes.read()) == [
        ("rename", f"{folder}/elsewhere", f"{folder}/precious"),
        ("symlink", f"{folder}/innocent", "/etc/shadow"),
    ]


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 40, 41, 200, 255])
def test_names_of_any_length_are_known_by_pattern_and_others_are_not(
    changes: ChangeSensor, folder: Path, length: int
) -> None:
    """Relative names of one component: those that quick tests may dismiss."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    wanted = "".join(letters[(at * 7 + length) % len(letters)] for at in range(length))
    other = wanted[:-1] + "_"
    whole = [exact(folder / wanted, **EVERY_CHANGE)] if length < 100 else []  # longer paths are prefixes to the kernel
    changes.watch([*whole, suffix(f"/{wanted}", **EVERY_CHANGE)])
    for _ in range(3):
        for name in (wanted, other):
            touch(folder / name)
            os.unlink(name)  # noqa: PTH108
    first = told(changes.read())
    changes.watch([suffix(wanted[-3:], **EVERY_CHANGE)])
    touch(folder / wanted)
    os.unlink(wanted)  # noqa: PTH108

    assert first == [("deletion", f"{folder}/{wanted}", "")] * 3
    assert told(changes.read()) == [("deletion", f"{folder}/{wanted}", "")]


def test_a_folder_that_was_of_no_interest_is_once_it_has_another_name(changes: ChangeSensor, folder: Path) -> None:
    changes.watch([OpenPattern(PatternKind.PREFIX, f"{folder}/watched/", **EVERY_CHANGE)])
    (folder / "plain" / "deep").mkdir(parents=True)
    inside = os.open(folder / "plain" / "deep", os.O_RDONLY | os.O_DIRECTORY)

    def remove() -> list[tuple[str, str, str]]:
        for _ in range(3):
            os.close(os.open("a", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=inside))
            os.unlink("a", dir_fd=inside)
        return told(changes.read())

    try:
        before = remove()
        (folder / "plain").rename(folder / "watched")
        changes.read()
        after = remove()
        (folder / "watched").rename(folder / "plain")
        changes.read()
        again = remove()
        changes.watch([OpenPattern(PatternKind.PREFIX, f"{folder}/plain/d", **EVERY_CHANGE)])
        by_new_policy = remove()
    finally:
        os.close(inside)

    assert (before, again) == ([], [])
    assert after == [("deletion", f"{folder}/watched/deep/a", "")] * 3
    assert by_new_policy == [("deletion", f"{folder}/plain/deep/a", "")] * 3


def test_one_kind_of_interest_does_not_hide_another(changes: ChangeSensor, folder: Path) -> None:
    only = dict.fromkeys(("reads", "writes"), False)
    changes.watch([OpenPattern(PatternKind.PREFIX, f"{folder}/", **only, deleted=True)])
    for _ in range(3):
        touch(folder / "a")
        os.chmod("a", 0o600)  # noqa: PTH101
        os.unlink("a")  # noqa: PTH108

    assert told(changes.read()) == [("deletion", f"{folder}/a", "")] * 3


def test_opens_that_rules_ask_for_are_no_reason_to_send_changes(changes: ChangeSensor, folder: Path) -> None:
    changes.watch([OpenPattern(PatternKind.ANY, "", failed=True)])
    touch(folder / "a").unlink()

    assert changes.read() == []


def test_scopes_are_told_apart_by_the_cgroup(changes: ChangeSensor, folder: Path) -> None:
    changes.watch([exact(folder / "a", in_containers=False, **EVERY_CHANGE)])
    touch(folder / "a").unlink()
    (event,) = changes.read()

    changes.tag_cgroup(event.cgroup_id, layout.CGROUP_CONTAINER)
    touch(folder / "a").unlink()
    assert changes.read() == []

    changes.tag_cgroup(event.cgroup_id, layout.CGROUP_HOST)
    touch(folder / "a").unlink()
    assert told(changes.read()) == [("deletion", f"{folder}/a", "")]


def test_our_own_changes_are_counted_and_not_reported(changes: ChangeSensor, folder: Path) -> None:
    pidfd = os.pidfd_open(os.getpid())
    key = struct.pack("<i", pidfd)
    before = changes.count(COUNTER_OWN_EVENTS)

    changes.object.map_update("own_tasks", key, struct.pack("<I", 1))
    touch(folder / "a").unlink()
    changes.object.map_delete("own_tasks", key)
    os.close(pidfd)

    assert changes.read() == []
    assert changes.count(COUNTER_OWN_EVENTS) - before >= 1


def test_a_flood_is_held_back_and_counted(folder: Path, changes: ChangeSensor) -> None:
    with ChangeSensor(limit_per_s=10) as limited:
        limited.watch([everything_below(folder)])
        for _ in range(200):
            touch(folder / "a").unlink()
        seen = len(limited.read())
        held = {key: sum(memoryview(value).cast("Q")) for key, value in limited.object.map_items("losses")}

    assert 10 <= seen < 200
    ((key, count),) = held.items()
    _, kind, reason = layout.STRUCTS["loss_key"].unpack(key)
    assert (kind, reason) == (layout.EVENT_FILE_CHANGE, layout.LOSS_LIMITED)
    assert seen + count == 200


@pytest.mark.skipif(sys.maxsize < 1 << 32, reason="64-bit calls")
def test_every_call_of_this_kernel_is_attached(loaded_changes: ChangeSensor) -> None:
    assert set(loaded_changes.missing) <= {"sys_exit_fchmodat2"}
