"""Hosts made of files: a ``/proc`` and cgroup mounts in a folder."""

from pathlib import Path

from monitor.host.cgroups import TagHierarchy, find_tag_hierarchy

CONTAINER = "ab" * 32


class CgroupHost:
    """Its cgroup roots have inode numbers of a part of a tree; process 1 is the only one of the host at first."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.cgroup2 = folder / "cgroup2"
        self.pids = folder / "pids"
        self.lines: list[str] = []
        self.add_process("self", {})
        self.add_process("1", {})

    def mount(self, filesystem: str, options: str = "rw", root: str = "/") -> Path:
        point = self.cgroup2 if filesystem == "cgroup2" else self.pids
        point.mkdir(exist_ok=True)
        self.lines.append(f"31 23 0:28 {root} {point} rw,relatime - {filesystem} {filesystem} {options}\n")
        (self.proc / "self/mountinfo").write_text("".join(self.lines))
        return point

    def add_process(self, name: str, paths: dict[str, str], mount_namespace: int = 1) -> None:
        folder = self.proc / name
        (folder / "ns").mkdir(parents=True)
        lines = {"8:pids": "/", "4:memory": "/", "0:": "/"} | paths
        (folder / "cgroup").write_text("".join(f"{key}:{path}\n" for key, path in lines.items()))
        (folder / "ns/mnt").symlink_to(f"mnt:[{mount_namespace}]")
        (folder / "mountinfo").touch()

    def find(self) -> TagHierarchy:
        return find_tag_hierarchy(self.proc)
