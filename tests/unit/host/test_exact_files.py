"""What lies at exact paths, in file trees that may be hostile. Below a folder of this host's, as root or not."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from monitor.host import exact_files
from monitor.host.exact_files import find_container_files, find_host_files
from monitor.host.mounts import read_mounts
from monitor.model.ids import InodeKey


def inspect(fd: int) -> tuple[InodeKey, ...]:
    facts = os.fstat(fd)
    return (InodeKey(facts.st_dev, facts.st_ino, 0),)


def look(*paths: Path | str) -> set[str]:
    """The paths at which something was found."""
    folded = [str(path).lower() for path in paths]
    return set().union(*find_host_files(folded, inspect).values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = Path(str(tmp_path / "f"))
    made.mkdir()
    return made


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def test_a_file_and_which_one_it_is(folder: Path) -> None:
    file = make(folder / "sub/program")
    facts = file.stat()
    (found,) = find_host_files([str(file).lower()], inspect).items()
    assert found == (InodeKey(facts.st_dev, facts.st_ino, 0), frozenset({str(file).lower()}))


def test_case_does_not_count(folder: Path) -> None:
    assert look(make(folder / "OPT/Tool")) == {str(folder / "OPT/Tool").lower()}


def test_a_link_is_not_followed(folder: Path) -> None:
    make(folder / "real/program")
    (folder / "link").symlink_to(folder / "real")
    (folder / "real/applet").symlink_to("program")
    assert look(folder / "link/program", folder / "real/applet") == set()


def test_what_is_no_plain_file(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()
    assert look(folder / "fifo", folder / "folder", folder / "nothing", folder / "fifo/x") == set()


def test_names_beside_it_make_it_several_programs(folder: Path) -> None:
    program = make(folder / "busybox")
    (folder / "sh").hardlink_to(program)
    assert look(program, folder / "sh") == set()


def test_a_name_where_no_programs_are_does_not(folder: Path) -> None:
    program = make(folder / "bin/program")
    (folder / "other").hardlink_to(program)
    assert look(program) == {str(program).lower()}


def test_paths_that_no_kernel_takes(folder: Path) -> None:
    assert look(folder / ("x" * 300), "/" + "/x" * 100, "/\udcff") == set()


def test_many_folders_are_not_all_open(folder: Path) -> None:
    paths = [make(folder / str(number) / "program") for number in range(3 * exact_files._FOLDERS_MAX)]
    before = count_descriptors()
    assert len(look(*paths)) == len(paths)
    assert count_descriptors() == before


def test_there_is_an_end_to_a_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make(folder / "program")
    monkeypatch.setattr(exact_files, "LOOK_S", -1.0)
    assert look(program) == set()


def test_file_systems_that_ask_somebody_are_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make(folder / "program")
    monkeypatch.setattr(exact_files, "FILE_SYSTEMS", frozenset[str]())
    with pytest.raises(OSError, match="not asked"):
        look(program)
    assert look_below_foreign(program, monkeypatch) == set()


def look_below_foreign(program: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    own = {mount.filesystem for mount in read_mounts()}
    monkeypatch.setattr(exact_files, "FILE_SYSTEMS", own)
    mounts = read_mounts()
    foreign = mounts[0]._replace(point=program.parent, filesystem="fuse.sshfs")

    def read(*_: object) -> Iterable[object]:
        return (*mounts, foreign)

    monkeypatch.setattr(exact_files, "read_mounts", read)
    return look(program)


def test_a_process_with_the_host_s_root_shows_no_container() -> None:
    with pytest.raises(exact_files.NotReadyError):
        find_container_files(os.getpid(), ["/bin/sh"], inspect)


def test_a_process_that_has_ended() -> None:
    with pytest.raises(FileNotFoundError):
        find_container_files((1 << 22) + 1, ["/bin/sh"], inspect)
