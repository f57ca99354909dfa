"""Find the container runtimes of this host by their sockets, programs and state folders.

Looks at names only: nothing is connected to or started, so a runtime that hangs
costs nothing.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Not the caller's PATH: the service has another one than the person who runs doctor."""


@dataclass(frozen=True, slots=True)
class FoundRuntime:
    """A runtime that is installed here, or at work."""

    name: str
    """``docker containerd cri-o podman runc crun``."""
    socket: Path | None
    """Its listening socket, which a daemon that runs has."""
    binary: Path | None
    state_dir: Path | None
    """Where it keeps its running containers' state; None while that is empty."""

    @property
    def is_active(self) -> bool:
        """Tell whether it is at work: its socket is there, or the state of containers."""
        return self.socket is not None or self.state_dir is not None


@dataclass(frozen=True, slots=True)
class _Places:
    name: str
    sockets: tuple[str, ...]
    binaries: tuple[str, ...]
    state_dirs: tuple[str, ...]


_RUNTIMES: Final = (
    _Places("docker", ("/run/docker.sock",), ("dockerd",), ("/run/docker",)),
    _Places(
        "containerd",
        ("/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"),
        ("containerd",),
        ("/run/containerd/io.containerd.runtime.v2.task", "/run/k3s/containerd/io.containerd.runtime.v2.task"),
    ),
    _Places("cri-o", ("/run/crio/crio.sock",), ("crio",), ("/run/crio",)),
    _Places("podman", ("/run/podman/podman.sock",), ("podman",), ("/run/libpod",)),
    _Places("runc", (), ("runc",), ("/run/runc",)),
    _Places("crun", (), ("crun",), ("/run/crun",)),
)


def find_runtimes(root: Path = Path("/"), search_path: str = SEARCH_PATH) -> tuple[FoundRuntime, ...]:
    """Answer the runtimes of which anything is here, in a fixed order. ``root`` is where the host's ``/`` is seen."""
    found = (_find(places, root, search_path) for places in _RUNTIMES)
    return tuple(runtime for runtime in found if runtime.binary or runtime.is_active)


def _find(places: _Places, root: Path, search_path: str) -> FoundRuntime:
    folders = os.pathsep.join(str(_below(root, folder)) for folder in search_path.split(os.pathsep))
    binaries = (shutil.which(name, path=folders) for name in places.binaries)
    return FoundRuntime(
        name=places.name,
        socket=next((path for p in places.sockets if _is_socket(path := _below(root, p))), None),
        binary=next((Path(binary) for binary in binaries if binary), None),
        state_dir=next((path for p in places.state_dirs if _has_entries(path := _below(root, p))), None),
    )


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:
        return False


def _has_entries(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False
