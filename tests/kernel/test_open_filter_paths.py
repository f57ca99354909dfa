"""The file-open sensor on real opens: which path an open has, and which patterns find it."""

import os
from pathlib import Path

import pytest

from tests.support.open_patterns import exact, paths, prefix, read, suffix, touch
from tests.support.open_sensor import OpenSensor
from tests.support.opener import Opener

pytestmark = pytest.mark.kernel


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


def test_a_renamed_directory_is_judged_by_its_new_path(sensor: OpenSensor, tmp_path: Path) -> None:
    touch(tmp_path / "cold" / "deep" / "file")
    sensor.watch([prefix(f"{tmp_path}/hot/")])
    for _ in range(3):
        read(tmp_path / "cold" / "deep" / "file")

    (tmp_path / "cold").rename(tmp_path / "hot")
    read(tmp_path / "hot" / "deep" / "file")

    assert paths(sensor.read()) == [str(tmp_path / "hot" / "deep" / "file")]


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


def test_a_file_below_more_mounts_than_the_walk_has_steps_is_marked(sensor: OpenSensor, tmp_path: Path) -> None:
    """Mounts stacked upon each other take its steps, and no bytes of the path."""
    folder, wanted = tmp_path / "folder", touch(tmp_path / "folder" / "wanted")
    sensor.watch([exact(wanted)])

    with Opener([(folder, folder)] * 40) as child:
        child.open(wanted)
        few = sensor.read(child.tgid)
    with Opener([(folder, folder)] * 2_200) as child:
        child.open(wanted)
        many = sensor.read(child.tgid)

    assert [(event.path, event.is_path_truncated) for event in few] == [(str(wanted), False)]
    assert [(event.path, event.is_path_truncated) for event in many] == [("/wanted", True)]
