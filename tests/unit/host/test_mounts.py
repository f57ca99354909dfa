"""mountinfo as the kernel writes it, and as it never would."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from monitor.host.mounts import parse_mountinfo, read_mounts

LINES = rb"""
26 23 0:29 / /sys/fs/cgroup rw,relatime shared:9 master:2 - tmpfs tmpfs rw,mode=755
31 26 0:30 /docker/x /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
40 26 254:1 / /mnt/with\040space\134and\012newline rw - ext4 /dev/sda1 rw
"""


def test_fields_of_a_line() -> None:
    tmpfs, cpu, disk = parse_mountinfo(LINES)

    assert (tmpfs.point, tmpfs.root, tmpfs.filesystem) == (Path("/sys/fs/cgroup"), "/", "tmpfs")
    assert cpu.root == "/docker/x"
    assert {"cpu", "cpuacct"} <= cpu.options
    assert disk.point == Path("/mnt/with space\\and\nnewline")
    assert disk.device == os.makedev(254, 1)


def test_our_own_mounts_have_proc() -> None:
    assert any(mount.filesystem == "proc" and mount.point == Path("/proc") for mount in read_mounts())


@given(st.one_of(st.binary(), st.text("0123456789:/ -\\\n rwcgroup2").map(str.encode)))
def test_any_bytes_are_passed_over(content: bytes) -> None:
    list(parse_mountinfo(content))
