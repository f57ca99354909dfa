"""Cgroups that a test made, with processes of its own in them, and what freezing and killing them must come to."""

import os
import subprocess
from pathlib import Path

import pytest

from monitor.host.cgroups import TagHierarchy
from monitor.host.mounts import read_mounts
from monitor.model.container import Container
from monitor.model.ids import CgroupId
from monitor.model.responses import COMMAND, DONE, Order
from monitor.responders.container_jobs import freeze_container, kill_container, thaw_container
from monitor.responders.frozen import FrozenBook
from monitor.responders.ports import Host
from tests.support.response_hosts import finish
from tests.support.responses import wait_until

NAME = f"stockade-test-{os.getpid()}"


def find_mount(kind: str) -> Path | None:
    """Of cgroup2 (``cgroup2``) or a v1 controller."""
    for mount in read_mounts():
        if mount.filesystem == "cgroup2" == kind or (mount.filesystem == "cgroup" and kind in mount.options):
            return mount.point
    return None


class Group:
    """A cgroup of ours, in one hierarchy or in several."""

    def __init__(self, kinds: tuple[str, ...], name: str = NAME) -> None:
        mounts = [find_mount(kind) for kind in kinds]
        if None in mounts:
            pytest.skip(f"this machine has no {' and '.join(kinds)} hierarchies")
        self.folders = [mount / name for mount in mounts if mount]
        for folder in self.folders:
            folder.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        number = 0 if kinds[0] == "cgroup2" else read_hierarchy_id(kinds[0])
        hierarchy = TagHierarchy("cgroup2", self.folders[0].parent, number, "")
        self.cgroup_id: CgroupId = hierarchy.build_id(self.folders[0].stat().st_ino)

    @property
    def container(self) -> Container:
        return Container(NAME, "runc", self.cgroup_id, f"/{NAME}")

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A process in all of it."""
        script = "".join(f"echo $$ > {folder}/cgroup.procs && " for folder in self.folders) + 'exec "$@"'
        process = subprocess.Popen(["sh", "-c", script, "sh", *command])
        self._processes.append(process)
        number = str(process.pid)
        wait_until(lambda: number in (self.folders[-1] / "cgroup.procs").read_text().split(), "the process")
        return process

    def order(self, action: str, **more: object) -> Order:
        return Order(1, action, "container", NAME, self.container, asked_by=COMMAND, **more)  # type: ignore[arg-type]

    def thaw(self) -> None:
        for folder in self.folders:
            for name, text in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
                if (folder / name).exists():
                    (folder / name).write_text(text)

    def remove(self) -> None:
        self.thaw()
        for process in self._processes:
            process.kill()
            process.wait()
        for folder in self.folders:
            if folder.exists():
                wait_until(lambda folder=folder: try_rmdir(folder), f"{folder} to be empty")  # type: ignore[misc]


def try_rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def read_hierarchy_id(controller: str) -> int:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next(int(line.split(":")[0]) for line in lines if controller in line.split(":")[1].split(","))


def state_of(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def assert_freezes_and_thaws(host: Host, book: FrozenBook, group: Group, file: str, frozen: str) -> None:
    group.start("sleep", "300")
    outcome = finish(freeze_container(host, book, group.order("freeze", for_s=60.0)))
    assert (outcome.result, outcome.processes, outcome.note) == (DONE, 1, "")
    assert frozen in (group.folders[-1] / file).read_text()
    assert book.entries[0].until_boottime_ns - book.entries[0].since_boottime_ns == 60 * 10**9
    outcome = finish(thaw_container(host, book, group.order("thaw")))
    assert (outcome.result, outcome.note) == (DONE, "")
    assert frozen not in (group.folders[-1] / file).read_text()
    assert book.entries == ()


def assert_kills_all(host: Host, book: FrozenBook, group: Group) -> None:
    group.start("sh", "-c", "for i in 1 2 3 4; do sleep 300 & done; wait")
    wait_until(lambda: len((group.folders[0] / "cgroup.procs").read_text().split()) == 5, "five processes")
    outcome = finish(kill_container(host, book, group.order("kill")))
    assert (outcome.result, outcome.processes, outcome.note) == (DONE, 5, "")
    for folder in group.folders:
        assert "frozen 1" not in _read(folder / "cgroup.events")
        assert _read(folder / "freezer.state") in ("", "THAWED\n")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
