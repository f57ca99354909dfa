"""Hold a sandbox's namespaces open, and remove everything made in it.

A script of its own (standard library only), started by :mod:`tests.support.sandbox`. It makes
the namespaces and the cgroup mode, says ``{"ready": ...}`` as one line of JSON on standard
output, and obeys lines of JSON on standard input: ``{"cgroup": "/path"}`` announces a cgroup
that a runtime is about to make. End of input, also by the death of the test run, ends the
sandbox: processes by pidfd, then cgroups, then what was switched on in the cgroup root.
What could not be removed is reported as ``{"left": [...]}``.

Clean-up finds processes by mount namespace, by announced cgroup, and by descent from those. Cgroups
above the announced ones (``/docker``) may be other test runs' too: they are made here, marked by an
extended attribute, and removed by the last one who needs them.
"""

import argparse
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWNET = 0x20000, 0x2000000, 0x40000000
MS_REC, MS_PRIVATE, MNT_DETACH = 0x4000, 0x40000, 2
CGROUP = Path("/sys/fs/cgroup")
PARENT_MARK = "trusted.stockade-test"
END_WAIT_S = 10.0

libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def mount(source: str, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2). Raises OSError."""
    texts = [text.encode() if text is not None else None for text in (source, target, fstype)]
    options = data.encode() if data is not None else None
    _check(libc.mount(*texts, ctypes.c_ulong(flags), options), f"mount {fstype or source} on {target}")


def cgroup_mounts(pid: int | str = "self") -> dict[Path, str]:
    """Cgroup hierarchies of a process's mount namespace: mount point to ``cgroup`` or ``cgroup2``."""
    found = {}
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        fields = line.split()
        fstype = fields[fields.index("-") + 1]
        if fstype in ("cgroup", "cgroup2"):
            found[Path(fields[4])] = fstype
    root = Path(f"/proc/{pid}/root")
    return {path: kind for path, kind in found.items() if (root / str(path).lstrip("/") / "cgroup.procs").exists()}


class Namespaces:
    """The calling process's move into a cgroup mode, and its way back out of the cgroup it made."""

    def __init__(self, mode: str, name: str, *, network: bool) -> None:
        self._mode = mode
        self._flags = CLONE_NEWNS | (CLONE_NEWNET if network else 0)
        self._root_fd = -1
        self.name = name if mode == "v2ns" else ""
        """Of the sandbox's own cgroup below the machine's cgroup2 root."""

    def enter(self) -> None:
        if self._mode == "v2ns":
            self._enter_own_cgroup()
        _check(libc.unshare(self._flags), "unshare")
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        if self._mode == "v1":
            self._hide_cgroup2()
        elif self._mode == "v2ns" or (self._mode == "v2" and cgroup_mounts().get(CGROUP) != "cgroup2"):
            mount("cgroup2", str(CGROUP), "cgroup2")
        if self._flags & CLONE_NEWNET:
            subprocess.run(["/sbin/ip", "link", "set", "lo", "up"], check=True)
        mount("tmpfs", "/run", "tmpfs", 0, "mode=755")  # sockets and state of runtimes: gone with the namespace

    def _enter_own_cgroup(self) -> None:
        """The namespace's root is the cgroup we are in at unshare; it must then be free of processes."""
        root = next(path for path, fstype in cgroup_mounts().items() if fstype == "cgroup2")
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)  # the way out, whatever gets mounted later
        (root / self.name).mkdir()
        (root / self.name / "cgroup.procs").write_text("0")
        _check(libc.unshare(CLONE_NEWCGROUP), "unshare the cgroup namespace")
        (root / self.name / "init").mkdir()
        (root / self.name / "init" / "cgroup.procs").write_text("0")

    @staticmethod
    def _hide_cgroup2() -> None:
        for path, fstype in cgroup_mounts().items():
            if fstype == "cgroup2":
                _check(libc.umount2(str(path).encode(), MNT_DETACH), f"umount {path}")

    def leave_own_cgroup(self) -> list[str]:
        """Step back into the machine's cgroup root and remove the sandbox's; return what is left."""
        if self._root_fd < 0:
            return []
        procs = os.open("cgroup.procs", os.O_WRONLY, dir_fd=self._root_fd)
        os.write(procs, b"0")
        os.close(procs)
        base = Path(f"/proc/self/fd/{self._root_fd}") / self.name
        return remove_cgroups([base])


class Cgroups:
    """The cgroups that runtimes make in the sandbox, in all its hierarchies."""

    def __init__(self) -> None:
        self._made: set[Path] = set()
        self._parents: set[Path] = set()
        self._mounts = cgroup_mounts()
        self._switched_on = {path: self._controllers(path) for path, kind in self._mounts.items() if kind == "cgroup2"}

    def announce(self, path: str) -> None:
        """Remember this cgroup, if it is not there yet, as ours to remove, and make those above it."""
        for base in self._mounts:
            directory = base / path.lstrip("/")
            if not directory.exists():
                self._made.add(directory)
                self._parents |= _make_parents(base, directory)

    def members(self) -> frozenset[int]:
        return read_members(self._made)

    def thaw(self) -> None:
        thaw(self._made)

    def remove(self) -> list[str]:
        left = remove_cgroups(sorted(self._made))
        for parent in sorted(self._parents, reverse=True):
            with contextlib.suppress(OSError):  # somebody is in it, or it is gone
                parent.rmdir()
        for path, before in self._switched_on.items():
            for controller in self._controllers(path) - before:
                try:
                    (path / "cgroup.subtree_control").write_text(f"-{controller}")
                except OSError as error:
                    left.append(f"+{controller} in {path}/cgroup.subtree_control: {error.strerror}")
        return left

    @staticmethod
    def _controllers(path: Path) -> set[str]:
        return set((path / "cgroup.subtree_control").read_text().split())


def _read_pids(procs: Path) -> list[int]:
    try:
        return [int(line) for line in procs.read_text().split()]
    except OSError:
        return []  # the cgroup has gone


def _make_parents(base: Path, directory: Path) -> set[Path]:
    """Make what is above a cgroup; answer what of it is ours, by this call or another test run's.

    One that is ours may be removed by the other run and made again, unmarked, by our runtime: it is ours all the same.
    """
    ours = set()
    for parent in reversed(directory.parents):
        if base not in parent.parents:
            continue
        with contextlib.suppress(FileExistsError):
            parent.mkdir()
            os.setxattr(parent, PARENT_MARK, b"1")
            _copy_cpuset(parent)
        if _is_marked(parent):
            ours.add(parent)
    return ours


def _copy_cpuset(folder: Path) -> None:
    """Without processors and memory of its own nothing may enter a cgroup of v1's cpuset."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (folder / name).exists():
            (folder / name).write_text((folder.parent / name).read_text())


def _is_marked(folder: Path) -> bool:
    try:
        return bool(os.getxattr(folder, PARENT_MARK))
    except OSError:
        return False


def remove_empty_parents(base: Path) -> None:
    """Remove the cgroups that were made for others to lie in and that are empty now, whichever test run made them."""
    for folder, _, _ in os.walk(base, topdown=False):
        if _is_marked(Path(folder)):
            with contextlib.suppress(OSError):  # somebody is in it
                Path(folder).rmdir()


def read_members(tops: Iterable[Path]) -> frozenset[int]:
    """Processes in these cgroups and in those below them."""
    files = (procs for top in tops for procs in top.rglob("cgroup.procs"))
    return frozenset(pid for procs in files for pid in _read_pids(procs))


def thaw(tops: Iterable[Path]) -> None:
    """A frozen task of a v1 cgroup does not even take SIGKILL."""
    for top in tops:
        for name, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            for file in top.rglob(name):
                with contextlib.suppress(OSError):
                    file.write_text(word)


def remove_cgroups(tops: list[Path]) -> list[str]:
    """Remove cgroup directories bottom-up, waiting for tasks that are still ending; return those in use."""
    end = time.monotonic() + END_WAIT_S
    while tops and time.monotonic() < end:
        for top in tops:
            for base, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(base).rmdir()
        tops = [top for top in tops if top.exists()]
        if tops:
            time.sleep(0.02)
    return [f"{top}: in use" for top in tops]


def _mount_namespace(pid: int | str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return ""


class Stat(NamedTuple):
    """What ``/proc/PID/stat`` says of a process."""

    state: str
    parent: int
    start: int
    """With the pid it names one process for ever: pids are reused."""


def read_stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Stat(fields[0], int(fields[1]), int(fields[19]))


def _living(pids: Iterable[int]) -> dict[int, Stat]:
    return {pid: stat for pid in pids if (stat := read_stat(pid)) and stat.state not in "ZX"}


def find_members_of(pid: int, in_cgroups: frozenset[int] = frozenset()) -> dict[int, Stat]:
    """Living processes of this supervisor's sandbox: by mount namespace, by cgroup, and their descendants."""
    own = _mount_namespace(pid)
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    alive = _living(pids)
    found = {member for member in alive if _mount_namespace(member) == own} | (in_cgroups & alive.keys())
    found.discard(pid)
    while more := {member for member, stat in alive.items() if stat.parent in found} - found:
        found |= more
    return {member: alive[member] for member in found}


def _kill(pid: int, stat: Stat) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        now = read_stat(pid)
        if now and now.start == stat.start:  # still the process that we meant
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def end_processes(find: Callable[[], frozenset[int]]) -> list[str]:
    """Kill every living process that is found, again until there is none; return those that will not go."""
    end = time.monotonic() + END_WAIT_S
    while (found := _living(find())) and time.monotonic() < end:
        for pid, stat in found.items():
            _kill(pid, stat)
        time.sleep(0.02)
    return [f"process {pid}: will not end" for pid in found]


def _obey(cgroups: Cgroups) -> None:
    for line in sys.stdin:
        cgroups.announce(json.loads(line)["cgroup"])
        _say({"ok": True})


def _say(message: dict[str, object]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the test run is dead; clean up all the same
        print(json.dumps(message), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("hybrid", "v1", "v2", "v2ns"))
    parser.add_argument("name", help="of the sandbox's own cgroup, where the mode gives it one")
    parser.add_argument("--network", action="store_true", help="a network namespace too")
    options = parser.parse_args()
    namespaces = Namespaces(options.mode, options.name, network=options.network)
    try:
        namespaces.enter()
    except OSError as error:
        _say({"failed": str(error)})
        namespaces.leave_own_cgroup()
        return 1
    cgroups = Cgroups()
    _say({"ready": {"pid": os.getpid(), "own_cgroup": namespaces.name}})
    _obey(cgroups)
    cgroups.thaw()
    left = end_processes(lambda: frozenset(find_members_of(os.getpid(), cgroups.members())))
    left += cgroups.remove() + namespaces.leave_own_cgroup()
    _say({"left": left})
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
