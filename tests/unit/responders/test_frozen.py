"""The file of frozen containers: written whole, read as if an enemy had written it."""

import json
from pathlib import Path

import pytest

from monitor.model.ids import CgroupId
from monitor.model.responses import FrozenContainer
from monitor.responders import frozen
from monitor.responders.frozen import ENTRIES_MAX, FILE_NAME, FrozenBook

BOOT = "boot-1"


def entry(name: str = "abc", until_ns: int = 50) -> FrozenContainer:
    return FrozenContainer(name, "web", CgroupId(7), CgroupId(8), 1, until_ns, "risk 90 >= 80")


def reopened(folder: Path, boot: str = BOOT) -> FrozenBook:
    book = FrozenBook(folder, boot)
    book.load()
    return book


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    book = FrozenBook(tmp_path / "state", BOOT)
    book.add(entry("one"))
    book.add(entry("two"))
    book.remove("one")

    assert reopened(tmp_path / "state").entries == (entry("two"),)
    assert (tmp_path / "state" / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "state").iterdir()] == [FILE_NAME]


def test_of_another_boot_nothing_holds(tmp_path: Path) -> None:
    FrozenBook(tmp_path, BOOT).add(entry())

    assert reopened(tmp_path, "boot-2").entries == ()


def test_due_are_those_whose_time_is_over(tmp_path: Path) -> None:
    book = FrozenBook(tmp_path, BOOT)
    for name, until_ns in (("past", 10), ("now", 20), ("later", 30), ("never", 0)):
        book.add(entry(name, until_ns))

    assert [each.container_id for each in book.find_due(20)] == ["past", "now"]


def test_there_is_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "ENTRIES_MAX", 2)
    book = FrozenBook(tmp_path, BOOT)
    book.add(entry("one"))
    book.add(entry("two"))
    book.add(entry("two", 99))
    with pytest.raises(ValueError, match="2 containers are frozen already"):
        book.add(entry("three"))


GOOD = json.loads('{"container_id": "a", "name": "", "cgroup_id": 1, "freezer_id": 1, "reason": ""}') | {
    "since_boottime_ns": 1,
    "until_boottime_ns": 1,
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]" * 10,
        b"[" * 100_000,
        json.dumps({"boot_id": BOOT}).encode(),
        json.dumps({"boot_id": BOOT, "frozen": [GOOD | {"cgroup_id": -1}]}).encode(),
        json.dumps({"boot_id": BOOT, "frozen": [GOOD | {"cgroup_id": 2**64}]}).encode(),
        json.dumps({"boot_id": BOOT, "frozen": [GOOD | {"until_boottime_ns": "soon"}]}).encode(),
        json.dumps({"boot_id": BOOT, "frozen": [GOOD | {"container_id": "x" * 5_000}]}).encode(),
        json.dumps({"boot_id": BOOT, "frozen": [GOOD | {"more": 1}]}).encode(),
        json.dumps({"boot_id": BOOT, "frozen": [GOOD] * (ENTRIES_MAX + 1)}).encode(),
        b" " * (frozen.FILE_BYTES_MAX + 1),
    ],
)
def test_a_file_that_is_not_ours_in_form_is_not_believed(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    path.chmod(0o600)

    assert reopened(tmp_path).entries == ()
    assert "is not believed" in caplog.text


def test_a_file_that_others_could_write_and_a_link_are_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FrozenBook(tmp_path, BOOT).add(entry())
    path = tmp_path / FILE_NAME
    path.chmod(0o666)
    assert reopened(tmp_path).entries == ()
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert reopened(tmp_path).entries == ()
    assert caplog.text.count("containers frozen earlier stay so") == 2


def test_a_folder_that_cannot_be_written_is_told_and_the_book_goes_on(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    book = FrozenBook(tmp_path / "state", BOOT)
    book.add(entry())

    assert book.entries == (entry(),)
    assert str(tmp_path / "state") in book.save_error
    (tmp_path / "state").unlink()
    book.add(entry("two"))
    assert book.save_error == ""
