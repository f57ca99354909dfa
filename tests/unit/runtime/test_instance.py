"""One instance a run folder."""

from pathlib import Path

import pytest

from monitor.runtime.errors import AlreadyRunning, KernelSupportError
from monitor.runtime.instance import InstanceLock


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

    with pytest.raises(KernelSupportError, match="--run-dir"):
        InstanceLock(tmp_path / "file" / "run")


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(KernelSupportError):
        InstanceLock(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
