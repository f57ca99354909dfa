"""What the sensor for changes sees by LSM hooks alone, and what it must not say: run in the guest.

What both of its sources see is in ``test_change_sensor``.
"""

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.model.events import FileChange
from tests.support.change_sensor import EVERY_CHANGE, ChangeSensor, everything_below
from tests.support.open_patterns import exact, touch
from tests.support.programs import build_programs

pytestmark = pytest.mark.kernel

NOBODY = 65534
PROGRAMS = Path(__file__).with_name("programs")
WAYS = ("ring", "call32")


@pytest.fixture(scope="module")
def changes() -> Iterator[ChangeSensor]:
    with ChangeSensor() as sensor:
        yield sensor


@pytest.fixture(scope="module")
def name_ways(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_programs(PROGRAMS, tmp_path_factory.mktemp("programs"), "name_ways")["name_ways"]


@pytest.fixture
def folder(changes: ChangeSensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of which every change is watched; the working folder."""
    changes.watch([everything_below(tmp_path)])
    changes.read_all()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(events: list[FileChange]) -> list[tuple[str, str, str]]:
    """What was done, to which path, and the other text of the act. Every path is a fact."""
    assert not any(event.is_path_claimed for event in events)
    return [(event.action.value, event.path, event.source or event.target) for event in events]


@pytest.mark.parametrize("way", WAYS)
def test_calls_that_have_no_tracepoint_are_seen(changes: ChangeSensor, folder: Path, name_ways: Path, way: str) -> None:
    file = touch(folder / "a")
    (folder / "sub").mkdir()
    pids = []

    def do(*words: str) -> None:
        with subprocess.Popen([name_ways, way, *words]) as process:
            pids.append(process.pid)
        assert process.returncode == 0, os.strerror(process.returncode)

    do("rename", "a", "b")
    do("link", "b", "sub/../c")
    do("symlink", "/etc/shadow", "d")
    do("unlink", "./c")
    do("rmdir", "sub")
    if way == "call32":
        do("chmod", "b")
        do("truncate", "b")

    events = changes.read_all()
    assert [event.tgid for event in events] == pids
    assert told(events) == [
        ("rename", f"{folder}/b", str(file)),
        ("link", f"{folder}/c", f"{folder}/b"),
        ("symlink", f"{folder}/d", "/etc/shadow"),
        ("deletion", f"{folder}/c", ""),
        ("deletion", f"{folder}/sub", ""),
        *([("chmod", f"{folder}/b", ""), ("truncate", f"{folder}/b", "")] if way == "call32" else []),
    ]


def test_paths_are_what_names_led_to(changes: ChangeSensor, folder: Path) -> None:
    """Through a symlink to a folder, and relative to one given by descriptor."""
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    for name in ("a", "b"):
        touch(folder / "real" / name)
    changes.read()

    Path("link/a").rename("link/a2")
    inside = os.open("link", os.O_PATH | os.O_DIRECTORY)
    os.unlink("../link/b", dir_fd=inside)
    os.close(inside)

    assert told(changes.read()) == [
        ("rename", f"{folder}/real/a2", f"{folder}/real/a"),
        ("deletion", f"{folder}/real/b", ""),
    ]


def test_a_bind_mount_shows_the_path_below_its_mount_point(changes: ChangeSensor, folder: Path) -> None:
    touch(folder / "real" / "c")
    changes.watch([exact(folder / "bound" / "c", **EVERY_CHANGE)])
    script = "mkdir bound && mount --bind real bound && exec chmod 600 bound/c"
    with subprocess.Popen(["unshare", "--mount", "--propagation=private", "sh", "-c", script]) as child:
        pass

    assert child.returncode == 0
    assert told(changes.read(child.pid)) == [("chmod", f"{folder}/bound/c", "")]


def test_the_file_is_told_by_its_inode_also_when_it_is_gone(changes: ChangeSensor, folder: Path) -> None:
    facts = touch(folder / "a").stat()
    Path("a").rename("b")
    Path("b").chmod(0o640)
    os.chown("b", 5, 6)
    Path("b").unlink()

    events = changes.read()

    assert [(event.inode, event.device) for event in events] == [(facts.st_ino, facts.st_dev)] * 4
    assert [stat.S_ISREG(event.file_mode) for event in events] == [True] * 4
    assert (stat.S_IMODE(events[1].file_mode), events[2].owner, events[2].group) == (0o640, 5, 6)


def as_nobody(act: Callable[[], object]) -> int:
    """Do it as a user who may not; answers the process that was refused."""
    pid = os.fork()
    if not pid:
        os.setuid(NOBODY)
        try:
            act()
        except PermissionError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    return pid


def test_who_is_refused_has_changed_nothing(changes: ChangeSensor, folder: Path) -> None:
    """The hooks are asked before the kernel has looked at owners and modes."""
    touch(folder / "a")
    (folder / "sub").mkdir()
    folder.chmod(0o755)
    changes.read_all()

    for act in (
        lambda: os.unlink("a"),  # noqa: PTH108
        lambda: os.rename("a", "b"),  # noqa: PTH104
        lambda: os.link("a", "b"),
        lambda: os.symlink("x", "b"),  # noqa: PTH211
        lambda: os.rmdir("sub"),  # noqa: PTH106
        lambda: os.chmod("a", 0o777),  # noqa: PTH101
        lambda: os.chown("a", NOBODY, -1),
        lambda: os.truncate("a", 0),
    ):
        as_nobody(act)

    assert told(changes.read_all()) == []


def test_what_came_to_nothing_is_not_told_nor_is_it_later(changes: ChangeSensor, folder: Path) -> None:
    touch(folder / "full" / "a")
    os.link("full/a", "full/b")
    changes.read()
    with pytest.raises(OSError, match="not empty"):
        os.rmdir("full")  # noqa: PTH106
    os.rename("full/a", "full/b")  # noqa: PTH104  (two names of one file: both stay)
    with Path("full/a").open("w") as file:  # cut by an open, which is told as one
        file.write("a")
    os.utime("full")

    assert told(changes.read()) == []
    assert Path("full/a").exists()


def test_an_overlay_tells_once_and_by_its_own_path(changes: ChangeSensor, folder: Path) -> None:
    """What overlayfs does below, to the files of its layers, is nobody's act."""
    for layer in ("lower", "upper", "work", "merged"):
        (folder / layer).mkdir()
    for name in ("kept", "moved", "gone"):
        touch(folder / "lower" / name)
    script = (
        "mount -t overlay none -olowerdir=lower,upperdir=upper,workdir=work,redirect_dir=on merged && cd merged && "
        "chmod 600 kept && mv moved there && rm gone && ln kept linked && ln -s x symlink && truncate -s 0 there"
    )
    changes.read_all()
    with subprocess.Popen(["unshare", "--mount", "--propagation=private", "sh", "-c", script]) as shell:
        pass

    assert shell.returncode == 0
    assert [event for event in told(changes.read_all()) if "/work" not in event[1]] == [
        ("chmod", f"{folder}/merged/kept", ""),
        ("rename", f"{folder}/merged/there", f"{folder}/merged/moved"),
        ("deletion", f"{folder}/merged/gone", ""),
        ("link", f"{folder}/merged/linked", f"{folder}/merged/kept"),
        ("symlink", f"{folder}/merged/symlink", "x"),
        ("truncate", f"{folder}/merged/there", ""),
    ]
