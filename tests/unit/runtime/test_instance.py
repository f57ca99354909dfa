"""One instance a run folder."""

import errno
from pathlib import Path

import pytest

from monitor.runtime.errors import AlreadyRunning, KernelSupportError
from monitor.runtime.instance import InstanceLock, suggest_for_run_dir


def test_a_second_instance_is_told_who_runs(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path / "run")

    with pytest.raises(AlreadyRunning, match=r"pid \d+.*--run-dir"):
        InstanceLock(tmp_path / "run")
    lock.release()


def test_a_released_folder_can_be_had_again(tmp_path: Path) -> None:
    InstanceLock(tmp_path).release()

    InstanceLock(tmp_path).release()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(KernelSupportError, match=r"Not a directory \(give another --run-dir\)"):
        InstanceLock(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("number", "mend"), [(errno.EACCES, "run as root"), (errno.ENOSPC, "make room"), (errno.ENAMETOOLONG, "shorter")]
)
def test_what_to_do_is_what_helps(number: int, mend: str) -> None:
    assert mend in suggest_for_run_dir(OSError(number, "x"))


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(KernelSupportError):
        InstanceLock(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
