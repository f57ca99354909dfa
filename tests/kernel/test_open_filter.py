"""The file-open sensor on real opens: what is reported, what is dismissed, what is counted."""

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.bpf.libbpf import LibbpfError
from monitor.model.events import FileOpen
from monitor.model.interest import OpenPattern, PatternKind
from monitor.wire import _layout as layout
from tests.support.bpf_build import EBPF, build_bpf
from tests.support.open_sensor import COUNTER_OPEN_WALKS, VARIANTS, OpenSensor
from tests.support.opener import Opener

pytestmark = pytest.mark.kernel

_libc = ctypes.CDLL(None, use_errno=True)
_NR_OPEN, _NR_CREAT, _NR_OPENAT2 = 2, 85, 437
_AT_FDCWD = -100
COUNTER_OWN_EVENTS = 0


@pytest.fixture(scope="module", params=VARIANTS)
def loaded(request: pytest.FixtureRequest) -> Iterator[OpenSensor]:
    with OpenSensor(request.param) as sensor:
        yield sensor


@pytest.fixture
def sensor(loaded: OpenSensor) -> Iterator[OpenSensor]:
    """Nothing watched, nothing left to read, no cgroup known."""
    loaded.watch([])
    loaded.read_all()
    yield loaded
    for key, _ in list(loaded.object.map_items("cgroup_tags")):
        loaded.object.map_delete("cgroup_tags", key)


def exact(path: Path | str, **how: bool) -> OpenPattern:
    return OpenPattern(PatternKind.EXACT, str(path).lower(), **how)


def prefix(path: str, **how: bool) -> OpenPattern:
    return OpenPattern(PatternKind.PREFIX, path.lower(), **how)


def suffix(text: str, **how: bool) -> OpenPattern:
    return OpenPattern(PatternKind.SUFFIX, text.lower(), **how)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def read(path: Path | str, flags: int = os.O_RDONLY) -> None:
    os.close(os.open(path, flags, 0o600))


def paths(events: list[FileOpen]) -> list[str]:
    return [event.path for event in events]


def test_without_patterns_nothing_is_looked_at(sensor: OpenSensor, tmp_path: Path) -> None:
    before = sensor.count(COUNTER_OPEN_WALKS)

    read(touch(tmp_path / "file"))

    assert sensor.read() == []
    assert sensor.count(COUNTER_OPEN_WALKS) == before


@pytest.mark.parametrize(
    "name", ["x", "id", "short", "sevenby", "eight888", "nine99999", "n" * 31, "n" * 40, "n" * 150]
)
def test_an_exact_path_is_found_whatever_the_length_of_its_name(sensor: OpenSensor, tmp_path: Path, name: str) -> None:
    wanted, other = touch(tmp_path / name), touch(tmp_path / (name[:-1] + "!"))
    sensor.watch([exact(wanted)])

    read(other)
    read(wanted)

    assert paths(sensor.read()) == [str(wanted)]


def test_case_does_not_matter(sensor: OpenSensor, tmp_path: Path) -> None:
    sensor.watch([exact(tmp_path / "secret.key"), suffix(".pem"), prefix(f"{tmp_path}/sub/")])

    for name in ("SECRET.Key", "a.PEM", "SUB/file"):
        read(touch(tmp_path / name))

    assert len([event for event in sensor.read() if not event.is_write]) == 3


def test_the_facts_of_an_open(sensor: OpenSensor, tmp_path: Path) -> None:
    target = tmp_path / "new"
    sensor.watch([exact(target)])

    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
    status = os.fstat(fd)
    os.close(fd)
    (event,) = sensor.read()

    assert (event.is_read, event.is_write, event.is_created) == (True, True, True)
    assert event.flags & (os.O_ACCMODE | os.O_APPEND) == os.O_RDWR | os.O_APPEND
    assert (event.inode, event.device) == (status.st_ino, status.st_dev)
    assert (event.file_mode, event.link_count) == (status.st_mode, 1)
    assert (event.fd, event.errno, event.tid) == (fd, 0, os.getpid())
    assert not event.is_path_claimed


def test_the_path_is_the_real_one_however_it_was_reached(sensor: OpenSensor, tmp_path: Path) -> None:
    wanted = touch(tmp_path / "dir" / "wanted")
    (tmp_path / "link").symlink_to(tmp_path / "dir")
    (tmp_path / "file-link").symlink_to(wanted)
    sensor.watch([exact(wanted)])
    aliases = [
        tmp_path / "link" / "wanted",
        tmp_path / "file-link",
        f"{tmp_path}/link/../dir/./wanted",
        f"/proc/self/root{wanted}",
        f"/proc/self/cwd/{os.path.relpath(wanted)}",
    ]

    for alias in aliases:
        read(alias)

    assert paths(sensor.read()) == [str(wanted)] * len(aliases)


def test_a_bind_mount_shows_the_path_below_its_mount_point(sensor: OpenSensor, tmp_path: Path) -> None:
    source, target = touch(tmp_path / "source" / "file"), tmp_path / "target"
    target.mkdir()
    plain, shadow = touch(tmp_path / "plain"), touch(tmp_path / "etc" / "shadow")
    sensor.watch([prefix(f"{target}/"), exact(shadow)])

    with Opener([(source.parent, target), (plain, shadow)]) as child:
        sensor.read_all()
        assert child.open(target / "file") == (str(target / "file"), 0)
        assert child.open(shadow) == (str(shadow), 0)
        assert child.open(source) == (str(source), 0)
        events = sensor.read(child.tgid)

    assert paths(events) == [str(target / "file"), str(shadow)]
    assert not any(event.is_foreign_namespace for event in events)


def test_a_file_seen_through_another_mount_namespace_is_marked(sensor: OpenSensor, tmp_path: Path) -> None:
    wanted = touch(tmp_path / "wanted")
    sensor.watch([exact(wanted)])

    with Opener() as child:
        read(f"/proc/{child.tgid}/root{wanted}")
    (event,) = sensor.read()

    assert event.path == str(wanted)
    assert event.is_foreign_namespace


@pytest.mark.parametrize("depth", [1, 22, 23, 24, 25, 60])
def test_directories_of_every_depth_are_judged(sensor: OpenSensor, tmp_path: Path, depth: int) -> None:
    wanted, other = (touch(tmp_path / top / "/".join("d" * depth) / "file") for top in ("hot", "cold"))
    sensor.watch([prefix(f"{tmp_path}/hot/")])

    for _ in range(2):
        read(other)
        read(wanted)

    assert paths(sensor.read()) == [str(wanted)] * 2


def test_a_path_longer_than_a_key_is_judged_by_its_beginning_and_its_end(sensor: OpenSensor, tmp_path: Path) -> None:
    long = touch(tmp_path / "/".join(["x" * 200] * 3) / "end.secret")
    sensor.watch([prefix(f"{tmp_path}/{'x' * 100}")])
    read(long)
    sensor.watch([suffix("/end.secret")])
    read(long)
    sensor.watch([exact(long)])
    read(long)
    sensor.watch([exact(long.with_name("other"))])
    read(touch(long.with_name("another")))

    # The last one is let through: the kernel looks at 255 bytes, user space at all of them.
    assert paths(sensor.read())[:3] == [str(long)] * 3


def test_a_path_longer_than_a_record_keeps_its_end_and_is_marked(sensor: OpenSensor, tmp_path: Path) -> None:
    sensor.watch([prefix("/nowhere/")])
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(20):
            os.mkdir("d" * 250, dir_fd=directory)
            inner = os.open("d" * 250, os.O_RDONLY, dir_fd=directory)
            os.close(directory)
            directory = inner
        sensor.read_all()
        os.close(os.open("file", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=directory))
    finally:
        os.close(directory)
    (event,) = sensor.read()

    assert event.is_path_truncated
    assert event.path.endswith("d/file")


def test_reads_and_writes_are_told_apart(sensor: OpenSensor, tmp_path: Path) -> None:
    read_only, write_only = touch(tmp_path / "read"), touch(tmp_path / "write")
    sensor.watch([exact(read_only, writes=False), exact(write_only, reads=False)])

    for path in (read_only, write_only):
        read(path, os.O_RDONLY)
        read(path, os.O_WRONLY)
        read(path, os.O_RDWR)

    assert [(event.path, event.is_read, event.is_write) for event in sensor.read()] == [
        (str(read_only), True, False),
        (str(read_only), True, True),
        (str(write_only), False, True),
        (str(write_only), True, True),
    ]


def test_truncating_is_writing_even_through_a_descriptor_for_reading(sensor: OpenSensor, tmp_path: Path) -> None:
    target = touch(tmp_path / "log")
    target.write_text("traces")
    sensor.watch([exact(target, reads=False)])
    how = struct.pack("<QQQ", os.O_RDONLY | os.O_TRUNC, 0, 0)

    read(target, os.O_RDONLY)
    read(target, os.O_RDONLY | os.O_TRUNC)
    for number, *arguments in (
        (_NR_OPEN, os.fsencode(target), os.O_RDONLY | os.O_TRUNC, 0),
        (_NR_OPENAT2, _AT_FDCWD, os.fsencode(target), how, len(how)),
        (_NR_CREAT, os.fsencode(target), 0o600),
    ):
        os.close(_libc.syscall(number, *arguments))

    assert [event.is_write for event in sensor.read()] == [True] * 4


def test_a_path_descriptor_gives_no_access_and_is_not_reported(sensor: OpenSensor, tmp_path: Path) -> None:
    target = touch(tmp_path / "file")
    sensor.watch([exact(target)])

    fd = os.open(target, os.O_PATH)
    read(f"/proc/self/fd/{fd}")
    os.close(fd)

    assert len(sensor.read()) == 1, "what is opened through it is an open of its own"


def test_a_file_opened_by_handle_is_reported(sensor: OpenSensor, tmp_path: Path) -> None:
    target = touch(tmp_path / "file")
    sensor.watch([exact(target)])
    handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0), 8 + 128)
    mount_id = ctypes.c_int()
    result = _libc.name_to_handle_at(_AT_FDCWD, os.fsencode(target), handle, ctypes.byref(mount_id), 0)
    if result:
        pytest.skip(f"{tmp_path} is on a file system without handles")
    mount = os.open(tmp_path, os.O_RDONLY)

    os.close(_libc.open_by_handle_at(mount, handle, os.O_RDONLY))
    os.close(mount)

    assert paths(sensor.read()) == [str(target)]


def test_failed_opens_are_reported_when_asked_for_and_their_path_is_a_claim(sensor: OpenSensor, tmp_path: Path) -> None:
    sensor.watch([exact(tmp_path / "asked", failed=True), exact(tmp_path / "not-asked"), suffix(".gone", failed=True)])

    for name in ("asked", "not-asked", "a.gone", "other"):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / name, os.O_WRONLY)
    events = sensor.read()

    assert paths(events) == [str(tmp_path / "asked"), str(tmp_path / "a.gone")]
    assert all(event.is_path_claimed and event.errno == 2 and event.fd == -1 and event.is_write for event in events)


def test_scopes_are_told_apart_by_the_cgroup_and_an_unknown_one_is_both(sensor: OpenSensor, tmp_path: Path) -> None:
    on_host, inside = touch(tmp_path / "host"), touch(tmp_path / "inside")
    sensor.watch([exact(on_host, in_containers=False), exact(inside, on_host=False)])

    def opened() -> list[str]:
        for path in (on_host, inside):
            read(path)
        return [event.path for event in sensor.read() if not event.is_write]

    assert opened() == [str(on_host), str(inside)]
    read(on_host)
    (event,) = sensor.read()
    sensor.tag_cgroup(event.cgroup_id, layout.CGROUP_HOST)
    assert opened() == [str(on_host)]
    sensor.tag_cgroup(event.cgroup_id, layout.CGROUP_CONTAINER)
    assert opened() == [str(inside)]


def test_every_open_of_one_scope_can_be_asked_for(sensor: OpenSensor, tmp_path: Path) -> None:
    anything = touch(tmp_path / "anything")
    sensor.watch([OpenPattern(PatternKind.ANY, "", on_host=False, writes=False)])
    read(anything)
    (event,) = sensor.read()

    sensor.tag_cgroup(event.cgroup_id, layout.CGROUP_HOST)
    read(anything)

    assert event.path == str(anything)
    assert sensor.read() == []


def test_our_own_opens_are_counted_and_not_reported(sensor: OpenSensor, tmp_path: Path) -> None:
    target = touch(tmp_path / "file")
    sensor.watch([exact(target)])
    pidfd = os.pidfd_open(os.getpid())
    key = struct.pack("<i", pidfd)
    before = sensor.count(COUNTER_OWN_EVENTS)

    sensor.object.map_update("own_tasks", key, struct.pack("<I", 1))
    for _ in range(3):
        read(target)
    sensor.object.map_delete("own_tasks", key)
    os.close(pidfd)

    assert sensor.read() == []
    assert sensor.count(COUNTER_OWN_EVENTS) - before == 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_limiter_holds_back_is_counted_exactly(variant: str, tmp_path: Path) -> None:
    target, other = touch(tmp_path / "flood"), touch(tmp_path / "other")
    with OpenSensor(variant, limit_per_s=20) as sensor:
        sensor.watch([exact(target), exact(other)])
        for _ in range(500):
            read(target)
        read(other)
        events = sensor.read_all()

        flood = [event for event in events if event.path == str(target)]
        assert len(events) + sensor.count_losses() == 501
        assert len(flood) < 100
        assert paths(events[-1:]) == [str(other)], "the first open of another pattern passes the empty bucket"


def test_a_new_policy_holds_at_once_and_forgets_what_the_tags_remembered(sensor: OpenSensor, tmp_path: Path) -> None:
    file = touch(tmp_path / "dir" / "file")
    sensor.watch([prefix("/nowhere/")])
    for _ in range(3):
        read(file)
    assert sensor.read() == []

    sensor.watch([prefix(f"{tmp_path}/dir/")])
    read(file)
    assert paths(sensor.read()) == [str(file)]

    sensor.watch([prefix("/nowhere/")])
    read(file)
    assert sensor.read() == []


def test_a_directory_is_walked_once_and_then_remembered(sensor: OpenSensor, tmp_path: Path) -> None:
    files = [touch(tmp_path / f"file{number}") for number in range(20)]
    sensor.watch([prefix("/nowhere/")])
    read(files[0])
    before = sensor.count(COUNTER_OPEN_WALKS)

    for file in files * 10:
        read(file)

    # Other processes open files too: far fewer than ours.
    assert sensor.count(COUNTER_OPEN_WALKS) - before < 150


def test_reads_below_a_prefix_about_writes_are_remembered_as_dull(sensor: OpenSensor, tmp_path: Path) -> None:
    file = touch(tmp_path / "file")
    sensor.watch([prefix(f"{tmp_path}/", reads=False), prefix("/nowhere/")])
    read(file)
    before = sensor.count(COUNTER_OPEN_WALKS)

    for _ in range(200):
        read(file)
    read(file, os.O_WRONLY)

    assert sensor.count(COUNTER_OPEN_WALKS) - before < 150
    assert [event.is_write for event in sensor.read()] == [True]


def test_a_renamed_directory_is_judged_by_its_new_path(sensor: OpenSensor, tmp_path: Path) -> None:
    touch(tmp_path / "cold" / "deep" / "file")
    sensor.watch([prefix(f"{tmp_path}/hot/")])
    for _ in range(3):
        read(tmp_path / "cold" / "deep" / "file")

    (tmp_path / "cold").rename(tmp_path / "hot")
    read(tmp_path / "hot" / "deep" / "file")

    assert paths(sensor.read()) == [str(tmp_path / "hot" / "deep" / "file")]


def test_a_kernel_without_the_cast_loads_the_probe_variant_alone(tmp_path: Path) -> None:
    target = tmp_path / "file.bpf.o"
    build_bpf(EBPF / "file.bpf.c", target, "-Dbpf_rdonly_cast=bpf_no_such_kfunc")

    with OpenSensor("probe", target) as sensor:
        sensor.watch([exact(touch(tmp_path / "file"))])
        read(tmp_path / "file")
        assert len(sensor.read()) == 1
    with pytest.raises(LibbpfError):
        OpenSensor("direct", target)
