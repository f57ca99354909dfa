"""What a test run that was killed leaves on the machine, and its end: by a mark that only our tests set.

A sandbox's supervisor removes what was made in it, also when the test run is killed. When it is killed too, containers
and cgroups stay, and the next run would find them. So every container id and every free cgroup name has a mark, which
names the process that made it (:func:`mark`), and so has the environment of what runs in a sandbox, and of containers
whose runtime chooses ids itself. A test run begins with :func:`end_leftovers`: what bears the mark of a process that
is no more is ended and removed. Nothing else is touched, so test runs do not disturb each other.
"""

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support import supervisor

DYING_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL")
"""Before a command: it is killed when the thread that started it has ended, however that was."""
VARIABLE: Final = "TEST_RUN_OF_STOCKADE"
"""Not ``STOCKADE_...``: those are settings."""
_SIGN: Final = "570c4ade7e575e55"
_CONTAINER: Final = re.compile(r".*/(libpod-)?[0-9a-f]{64}")
"""As docker's and podman's paths end."""
_MARK: Final = re.compile(_SIGN + "([0-9a-f]{8})([0-9a-f]{8})([0-9a-f]{16})")


def mark() -> str:
    """48 hex digits: ours, and which process (pid namespace, pid, start time) made what bears it."""
    stat = supervisor.read_stat(os.getpid())
    assert stat
    return f"{_SIGN}{_read_pid_namespace():08x}{os.getpid():08x}{stat.start:016x}"


def new_id() -> str:
    """A container id as docker, containerd and podman make them, 64 hex digits; its short forms differ."""
    return secrets.token_hex(8) + mark()


def is_orphaned(text: str) -> bool:
    """Whether a text bears the mark of a process that has ended. Not known of other pid namespaces: false."""
    found = _MARK.search(text)
    if found is None or int(found[1], 16) != _read_pid_namespace():
        return False
    stat = supervisor.read_stat(int(found[2], 16))
    return stat is None or stat.state in "ZX" or stat.start != int(found[3], 16)


def end_leftovers() -> list[str]:
    """End and remove what killed test runs have left; answer what that was, and what would not go."""
    processes = _find_processes()
    cgroups = [path for base in supervisor.cgroup_mounts() for path in _find_orphans(base)]
    cgroups += sorted(_find_containers(processes) - set(cgroups))
    if not cgroups and not processes:
        return []
    supervisor.thaw(cgroups)
    left = supervisor.end_processes(lambda: _find_processes() | supervisor.read_members(cgroups))
    left += supervisor.remove_cgroups(cgroups)
    for base in supervisor.cgroup_mounts():
        supervisor.remove_empty_parents(base)
    return [*(f"cgroup {path}" for path in cgroups), *(f"process {pid}" for pid in processes), *left]


def _find_orphans(base: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(base):
        orphans = [name for name in names if is_orphaned(name)]
        names[:] = [name for name in names if name not in orphans]
        yield from (Path(folder, name) for name in orphans)


def _find_containers(processes: frozenset[int]) -> set[Path]:
    """The cgroups of these processes that are containers by their names."""
    paths = {line.split(":", 2)[2] for pid in processes for line in _read_cgroups(pid)}
    names = {path.lstrip("/") for path in paths if _CONTAINER.fullmatch(path)}
    return {base / name for base in supervisor.cgroup_mounts() for name in names if (base / name).is_dir()}


def _read_cgroups(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return []  # ended


def _find_processes() -> frozenset[int]:
    return frozenset(int(entry.name) for entry in Path("/proc").iterdir() if _is_orphaned_process(entry))


def _is_orphaned_process(folder: Path) -> bool:
    if not folder.name.isdigit():
        return False
    try:
        environment = (folder / "environ").read_bytes()
    except OSError:
        return False  # ended, or not ours to look at
    setting = next((each for each in environment.split(b"\0") if each.startswith(f"{VARIABLE}=".encode())), b"")
    return is_orphaned(setting.decode(errors="replace"))


def _read_pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
