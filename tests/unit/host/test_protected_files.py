"""Which host programs are protected."""

import os
from pathlib import Path

import pytest

from monitor.host.protected_files import find_protected_files, find_runtime_files

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files that root owns")


def make_program(folder: Path, name: str, mode: int = 0o755, owner: int = 0) -> tuple[int, int]:
    path = folder / name
    path.write_bytes(b"")
    path.chmod(mode)
    os.chown(path, owner, 0)
    facts = path.stat()
    return facts.st_dev, facts.st_ino


@needs_root
def test_a_root_owned_runtime_is_known_by_its_inode(tmp_path: Path) -> None:
    key = make_program(tmp_path, "runc")

    assert find_protected_files([str(tmp_path)]) == {key: "a container runtime"}
    assert find_runtime_files([str(tmp_path)]) == {key}


@needs_root
def test_a_file_that_others_own_or_can_write_is_not_protected(tmp_path: Path) -> None:
    make_program(tmp_path, "sshd", owner=1234)
    make_program(tmp_path, "runc", mode=0o775)

    assert not find_protected_files([str(tmp_path)])


@needs_root
def test_a_high_level_runtime_is_protected_but_sets_nothing_up(tmp_path: Path) -> None:
    make_program(tmp_path, "dockerd")

    assert find_protected_files([str(tmp_path)])
    assert not find_runtime_files([str(tmp_path)])


def test_what_is_not_installed_is_no_matter(tmp_path: Path) -> None:
    assert not find_protected_files([str(tmp_path), "/nonexistent"])
