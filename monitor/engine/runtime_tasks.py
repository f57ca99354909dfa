"""Recognise the container runtimes' own set-up tasks: what runs in a container before its program does.

runc re-executes itself from a sealed memfd or an unlinked copy (``runc init``, on
the host's mount namespace, in the caller's cgroup), is moved into the container's
cgroup, forks twice there and executes the entry program. crun forks straight into the cgroup
(clone3 with CLONE_INTO_CGROUP, no attach event) and executes. Seen with runc 1.1.5
and crun 1.8.1.

A task is marked when a host process executes a runtime: as root by its name, as
anyone by an inode that the host vouches for (:class:`RuntimeFiles`). Children
inherit the mark; the next exec of another file ends it. The mark lives on through
a runtime's re-execution of itself, which happens before it pivots into the
container's root: in the mount namespace where it started. An image whose entry
program is ``/proc/self/exe`` (the runtime with the image's libraries,
CVE-2019-5736) is past that, and is judged.
"""

from typing import Final

from msgspec import Struct

from monitor.model.events import ProcessExec
from monitor.model.process import ProcessImage

RUNTIME_NAMES: Final = frozenset({"runc", "crun", "youki", "docker-runc", "buildkit-runc", "buildkit-runc.real"})
SETUP_NS_MAX: Final = 60 * 1_000_000_000
"""A task that does set-up steps this long after its exec is judged like any other: the mark is no cloak."""
_CALLERS: Final = (
    ("containerd-shim", "containerd"),
    ("conmon", "podman"),
    ("podman", "podman"),
    ("buildah", "buildah"),
    ("buildkitd", "buildkit"),
    ("dockerd", "docker"),
)

RuntimeFiles = frozenset[tuple[int, int]]
"""(device, inode) of root-owned runtimes on the host."""


class RuntimeMark(Struct, frozen=True, gc=False):
    """This task is a container runtime, not yet a container's program."""

    device: int
    inode: int
    mount_namespace: int
    home_cgroup_id: int
    """Where the runtime was started: not a container's cgroup."""
    is_root: bool
    """Started by root: the only one that may name a container's cgroup freely."""
    caller: str
    """``containerd podman docker buildah buildkit``, or ``runc`` for one used alone."""


def mark_exec(
    event: ProcessExec,
    image: ProcessImage,
    earlier: RuntimeMark | None,
    parent_image: ProcessImage | None,
    files: RuntimeFiles,
    *,
    in_container: bool,
) -> RuntimeMark | None:
    """The mark that a task has after an exec; None: none."""
    is_known_file = (event.device, event.inode) in files
    is_named = image.name in RUNTIME_NAMES
    if earlier is not None and event.namespaces.mnt == earlier.mount_namespace:
        is_same = event.inode == earlier.inode and event.device == earlier.device
        if is_same or is_known_file or event.is_memfd or (is_named and (event.is_deleted or not in_container)):
            return earlier
    if in_container or not (is_known_file or (is_named and event.uid == 0)):
        return None
    return RuntimeMark(
        event.device,
        event.inode,
        event.namespaces.mnt,
        event.cgroup_id,
        event.uid == 0,
        find_caller(parent_image),
    )


def find_caller(parent_image: ProcessImage | None) -> str:
    """Who started a runtime, by the name of the program that did."""
    name = "" if parent_image is None else parent_image.name
    for prefix, caller in _CALLERS:
        if name.startswith(prefix):
            return caller
    return "runc"
