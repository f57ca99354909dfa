"""Programs that no rule may deny, as they are executed on this host: what, with which arguments, by whom.

Programs are those of :mod:`monitor.host.protected_files`; the first process and our own are read from /proc.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from monitor.host.protected_files import FOLDERS, find_protected_paths

_ID: Final = "4be1c2f0a9d84c55" * 4
_LOW_LEVEL: Final = (
    ("--root", "/run/runc", "--log-format", "json", "create", "--bundle", "/run/task", "--pid-file", "/run/pid", _ID),
    ("--root", "/run/runc", "start", _ID),
    ("--root", "/run/runc", "exec", "--process", "/run/process", "--detach", "--pid-file", "/run/pid", _ID),
    ("--root", "/run/runc", "kill", "--all", _ID, "9"),
    ("--root", "/run/runc", "delete", "--force", _ID),
    ("init",),
)
_CALLS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "runc": _LOW_LEVEL,
    "crun": _LOW_LEVEL,
    "containerd-shim-runc-v2": (
        ("-namespace", "moby", "-id", _ID, "-address", "/run/containerd/containerd.sock"),
        ("-namespace", "moby", "-id", _ID, "-address", "/run/containerd/containerd.sock", "start"),
    ),
    "dockerd": (("-H", "fd://", "--containerd=/run/containerd/containerd.sock"),),
    "docker-proxy": (("-proto", "tcp", "-host-ip", "0.0.0.0", "-host-port", "80", "-container-port", "80"),),  # noqa: S104
    "conmon": (("--api-version", "1", "-c", _ID, "-u", _ID, "-r", "/usr/bin/crun", "-b", "/run/task"),),
    "podman": (("run", "--rm", "image"), ("container", "cleanup", _ID), ("system", "service")),
    "sshd": (("-D",), ("-D", "-R")),
}
"""Arguments behind the program's name; others are executed without any."""
_PARENTS: Final[dict[str, tuple[str, ...]]] = {
    "runc": ("containerd-shim-runc-v2", "conmon", "podman"),
    "crun": ("containerd-shim-runc-v2", "conmon", "podman"),
    "containerd-shim-runc-v2": ("containerd", "containerd-shim-runc-v2"),
    "docker-proxy": ("dockerd",),
    "conmon": ("podman", "crio"),
    "sshd": ("systemd", "sshd"),
}
"""Who executes it; others are the first process' to start."""
_FIRST: Final = ("systemd",)
_OURS: Final = "Stockade itself"


class ProtectedProgram(Struct, frozen=True):
    """One program."""

    what: str
    """For people, e.g. ``a container runtime``."""
    executable: str
    """As the kernel resolves it."""
    calls: tuple[tuple[str, ...], ...]
    """argv, of each way in which it is called."""
    parents: tuple[str, ...] = ()
    """Programs of the processes that execute it; one whose parent is not known has none."""


def find_protected_programs(folders: Iterable[str] = FOLDERS, proc: Path = Path("/proc")) -> list[ProtectedProgram]:
    """Those that are installed or run here."""
    found = find_protected_paths(folders)
    by_name: dict[str, list[str]] = {}
    for path in found:
        by_name.setdefault(path.name, []).append(str(path))
    programs = [
        ProtectedProgram(what, str(path), _calls_of(path.name), _find_parents(path.name, by_name))
        for path, what in found.items()
    ]
    return programs + [
        program
        for program in (
            _read_process(proc / "1", "the first process", ()),
            _read_process(proc / "self", _OURS, (("stockade", "run"), (sys.executable, "-m", "monitor.gate"))),
        )
        if program is not None
    ]


def _calls_of(name: str) -> tuple[tuple[str, ...], ...]:
    return tuple((name, *arguments) for arguments in _CALLS.get(name, ((),)))


def _find_parents(name: str, by_name: dict[str, list[str]]) -> tuple[str, ...]:
    return tuple(path for parent in _PARENTS.get(name, _FIRST) for path in by_name.get(parent, ()))


def _read_process(folder: Path, what: str, calls: tuple[tuple[str, ...], ...]) -> ProtectedProgram | None:
    """A process that runs; None when we may not know what."""
    try:
        executable = os.fsencode((folder / "exe").readlink())
        arguments = (folder / "cmdline").read_bytes()
    except OSError:
        return None
    argv = tuple(_decode(argument) for argument in arguments.removesuffix(b"\0").split(b"\0"))
    return ProtectedProgram(what, _decode(executable.removesuffix(b" (deleted)")), (argv, *calls))


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
