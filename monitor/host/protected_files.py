"""Host programs that responses must leave alone, known by device and inode: names can be forged, these cannot.

Only files that root owns and nobody else can write count. What is not installed is not looked for again.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

FOLDERS: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/lib/systemd",
                  "/usr/lib/openssh", "/usr/libexec/podman", "/opt/cni/bin")  # fmt: skip

LOW_LEVEL_RUNTIMES: Final = ("runc", "crun")
HELPERS: Final = ("docker-init", "catatonit", "tini", "tini-static")
"""Programs that runtimes bind into containers, to be their first process."""
HELPER_FOLDERS: Final = ("/usr/libexec/docker", "/usr/libexec/podman", "/usr/lib/podman")
PROGRAMS: Final[Mapping[str, str]] = {
    "runc": "a container runtime",
    "crun": "a container runtime",
    "dockerd": "a container runtime",
    "docker-proxy": "a container runtime",
    "containerd": "a container runtime",
    "containerd-shim": "a container runtime",
    "containerd-shim-runc-v2": "a container runtime",
    "crio": "a container runtime",
    "conmon": "a container runtime",
    "podman": "a container runtime",
    "kubelet": "the kubelet",
    "systemd": "the first process",
    "systemd-executor": "the first process",
    "systemd-logind": "the admin's login path",
    "sshd": "the admin's login path",
    "sshd-session": "the admin's login path",
    "login": "the admin's login path",
    "agetty": "the admin's login path",
}
"""File name -> what it is."""


def find_protected_files(folders: Iterable[str] = FOLDERS) -> dict[tuple[int, int], str]:
    """(device, inode) -> what the program is, for all that are installed here."""
    return _find(PROGRAMS, tuple(folders))


def find_protected_paths(folders: Iterable[str] = FOLDERS) -> dict[Path, str]:
    """Path, with all links followed, -> what the program is, for all that are installed here."""
    paths = {Path(folder, name): what for folder in folders for name, what in PROGRAMS.items()}
    trusted = {path: what for path, what in paths.items() if (facts := _stat(path)) is not None and _is_trusted(facts)}
    return {path.resolve(): what for path, what in trusted.items()}


def find_runtime_files(folders: Iterable[str] = FOLDERS) -> frozenset[tuple[int, int]]:
    """(device, inode) of the low-level runtimes that are installed here."""
    return frozenset(_find({name: PROGRAMS[name] for name in LOW_LEVEL_RUNTIMES}, tuple(folders)))


def find_runtime_paths(folders: Iterable[str] = FOLDERS) -> list[Path]:
    """The low-level runtimes that are installed here; one file may be there under several names."""
    return _find_trusted(LOW_LEVEL_RUNTIMES, folders)


def find_runtime_helpers(folders: Iterable[str] = (*FOLDERS, *HELPER_FOLDERS)) -> list[Path]:
    """What runtimes bring into containers, where it is installed here."""
    return _find_trusted(HELPERS, folders)


def _find_trusted(names: Iterable[str], folders: Iterable[str]) -> list[Path]:
    paths = (Path(folder, name) for folder in folders for name in names)
    return [path for path in paths if (facts := _stat(path)) is not None and _is_trusted(facts)]


def _find(programs: Mapping[str, str], folders: tuple[str, ...]) -> dict[tuple[int, int], str]:
    found: dict[tuple[int, int], str] = {}
    for folder in folders:
        for name, what in programs.items():
            facts = _stat(Path(folder, name))
            if facts is not None and _is_trusted(facts):
                found[facts.st_dev, facts.st_ino] = what
    return found


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _is_trusted(facts: os.stat_result) -> bool:
    return stat.S_ISREG(facts.st_mode) and facts.st_uid == 0 and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
