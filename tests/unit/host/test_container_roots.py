"""The root of a container that runs already, by what one of its processes has mounted."""

import os
from pathlib import Path

import pytest

from monitor.host.container_roots import ContainerRoot, read_root

ROOTFS = "1 1 0:2 / / rw - rootfs rootfs rw\n"
OVERLAY = "7 1 0:300 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/u\n"
PROC = "8 7 0:5 / /proc rw - proc proc rw\n"
PLAIN = "7 1 8:1 /var/lib/x / rw - ext4 /dev/sda1 rw\n"


@pytest.mark.parametrize(
    ("text", "root"),
    [
        (ROOTFS + OVERLAY + PROC, ContainerRoot(os.makedev(0, 300), is_overlay=True)),
        (PLAIN + PROC, ContainerRoot(os.makedev(8, 1), is_overlay=False)),
        (PROC, None),
        ("nonsense\n", None),
    ],
)
def test_the_last_mount_on_the_root_counts(tmp_path: Path, text: str, root: ContainerRoot | None) -> None:
    (tmp_path / "mountinfo").write_text(text)

    assert read_root(tmp_path / "mountinfo") == root


def test_a_process_that_has_ended_has_none(tmp_path: Path) -> None:
    assert read_root(tmp_path / "mountinfo") is None


def test_ours() -> None:
    root = read_root(Path("/proc/self/mountinfo"))

    assert root is not None
    assert root.device == Path("/").stat().st_dev
