"""Find the cgroup hierarchy whose ids tell containers apart, and walk it.

A tag is the id of a task's cgroup in one hierarchy: cgroup2 where containers get
cgroups of their own there (pure v2, and hybrid with a runtime that joins both), else
a v1 controller's (:func:`find_tag_hierarchy`, asked again by
:func:`recheck_hierarchy`). The walk makes the
same events as the kernel's cgroup tracepoints; what a path means (runtime, container
id) is for :mod:`monitor.engine.containers`.

Source: kernel/cgroup/cgroup.c and fs/kernfs: on 64-bit machines a cgroup's id, the
inode number of its directory and ``bpf_get_current_cgroup_id()`` are one number, and
the root of every hierarchy has 1. The hierarchy's number goes above it in a
:data:`~monitor.model.ids.CgroupId` (0 is cgroup2).
"""

import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from monitor.host.mounts import Mount, read_mounts
from monitor.model.events import CgroupCreate
from monitor.model.ids import CgroupId
from monitor.wire._layout import TAG_HIERARCHY_SHIFT

logger = logging.getLogger(__name__)

_ROOT_INODE: Final = 1

V1_CONTROLLERS: Final = ("pids", "memory")
"""Controllers that carry the tag on v1, best first: every runtime puts each container into one of its own there."""

_DEPTH_MAX: Final = 256
"""Levels that the walk descends; each holds a descriptor open."""

_CONTAINER_NAME: Final = re.compile(r"[0-9a-f]{64}")
"""What every daemon's runtime has in the name of a container's cgroup; plain runc's and crun's are free."""

_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class TagHierarchy:
    """The hierarchy whose cgroup ids tag events."""

    kind: Literal["cgroup2", "v1"]
    mount: Path
    """Where its tree is mounted."""
    hierarchy_id: int
    """Number of the hierarchy, as ``root`` in the cgroup tracepoints; 0 is cgroup2."""
    controller: str
    """On v1 the controller (``pids``), whose place in ``task->cgroups->subsys`` the BPF side resolves by CO-RE from
    the enum value ``pids_cgrp_id`` (/proc/cgroups is not in the enum's order). Empty on cgroup2."""
    prefix: str = ""
    """What goes before a path below ``mount`` to make it a path below the hierarchy's root."""
    is_whole: bool = True
    """False where the mount shows a part of the tree only (we are in a cgroup namespace): cgroups outside are not
    found by the walk, and without ``prefix`` paths are those of the namespace."""

    @property
    def name(self) -> str:
        """As people are told it: ``cgroup2``, ``v1 pids``."""
        return f"{self.kind} {self.controller}".rstrip()

    def build_id(self, inode: int) -> CgroupId:
        """The id of a cgroup by its directory's inode number, as the kernel side makes it."""
        return CgroupId(self.hierarchy_id << TAG_HIERARCHY_SHIFT | inode)

    def is_of(self, cgroup_id: CgroupId) -> bool:
        """Tell whether this id is one of ours."""
        return cgroup_id >> TAG_HIERARCHY_SHIFT == self.hierarchy_id


class CgroupSupportError(Exception):
    """No cgroup hierarchy is mounted that could tag containers; the text says what to do."""


def find_tag_hierarchy(proc: Path = _PROC) -> TagHierarchy:
    """Choose the hierarchy from what is mounted, and from what running containers use.

    Raises:
        CgroupSupportError: neither cgroup2 nor a v1 hierarchy of :data:`V1_CONTROLLERS` is mounted.
        OSError: ``/proc`` cannot be read.
    """
    mounts = read_mounts(proc / "self/mountinfo")
    cgroup2, v1 = _find_cgroup2(mounts), _find_v1(mounts, proc)
    if cgroup2 and not (v1 and _is_used_instead(v1, _list_tgids(proc), proc)):
        return cgroup2
    if v1:
        return v1
    raise CgroupSupportError(
        "no cgroup hierarchy is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup "
        "(in a container: run it with the host's /sys/fs/cgroup)"
    )


def find_alternative(hierarchy: TagHierarchy, proc: Path = _PROC) -> TagHierarchy | None:
    """Answer the hierarchy that containers may turn out to have their cgroups in instead; None when there is no other.

    Never one for v1: what has no cgroup of its own there has none on cgroup2 either.
    """
    return None if hierarchy.kind == "v1" else _find_v1(read_mounts(proc / "self/mountinfo"), proc)


def recheck_hierarchy(hierarchy: TagHierarchy, tgids: Iterable[int] | None = None, proc: Path = _PROC) -> TagHierarchy:
    """Answer the hierarchy that these processes' cgroups need: ``hierarchy`` itself when it does well.

    Which one a runtime uses shows when its first container runs, so this is asked of processes that look like a
    container's, or of all (None).
    """
    other = find_alternative(hierarchy, proc)
    asked = _list_tgids(proc) if tgids is None else tgids
    return other if other and _is_used_instead(other, asked, proc) else hierarchy


def find_host_mount_namespaces(proc: Path = _PROC) -> frozenset[int]:
    """Inode numbers of the mount namespaces that are no container's: the first process's, and our own (a hardened
    service has one)."""
    return frozenset(filter(None, (_find_mount_namespace(proc / name) for name in ("1", "self"))))


def read_memberships(tgid: int, proc: Path = _PROC) -> dict[str, str]:
    """Read a process' cgroup in each hierarchy: controller (or ``name=...``) to path; cgroup2's key is empty.

    Paths are as our cgroup namespace shows them. Empty when the process is gone.
    """
    try:
        text = (proc / str(tgid) / "cgroup").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {controller: path for _, controllers, path in parse_memberships(text) for controller in controllers}


def parse_memberships(text: bytes) -> Iterator[tuple[int, tuple[str, ...], str]]:
    """Parse ``/proc/PID/cgroup``: (hierarchy id, controllers, path) a line; cgroup2's controllers are ``("",)``."""
    for line in text.split(b"\n"):
        number, first, rest = line.partition(b":")
        controllers, second, path = rest.partition(b":")
        if first and second and number.isdigit():
            yield int(number), tuple(controllers.decode(errors="replace").split(",")), _show(path)


def walk_cgroups(hierarchy: TagHierarchy) -> Iterator[CgroupCreate]:
    """Yield every cgroup of the hierarchy, parents before children, the root first.

    Cgroups that come or go meanwhile may be missing or twice: attach to the kernel's cgroup events first.

    Raises:
        OSError: the mount itself cannot be read.
    """
    yield _build_event(hierarchy, hierarchy.mount.stat().st_ino, hierarchy.prefix or "/")
    root = os.open(hierarchy.mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    yield from _walk(hierarchy, root, hierarchy.prefix, depth=1)


def _walk(hierarchy: TagHierarchy, directory: int, path: str, depth: int) -> Iterator[CgroupCreate]:
    """Yield what is below ``directory``, and close it. By descriptors: a path may be longer than PATH_MAX."""
    try:
        with os.scandir(directory) as entries:
            children = [(e.name, e.inode()) for e in entries if e.is_dir(follow_symlinks=False)]
        for name, inode in children:
            child_path = f"{path}/{_show(os.fsencode(name))}"
            yield _build_event(hierarchy, inode, child_path)
            if depth >= _DEPTH_MAX:
                logger.warning("cgroups below level %d are not looked at: %.200r", _DEPTH_MAX, child_path)
                continue
            try:
                child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            except OSError:
                continue  # removed since
            yield from _walk(hierarchy, child, child_path, depth + 1)
    except OSError as error:
        logger.debug("cgroup gone while it was read: %s", error)
    finally:
        os.close(directory)


def _build_event(hierarchy: TagHierarchy, inode: int, path: str) -> CgroupCreate:
    return CgroupCreate(ktime_ns=time.monotonic_ns(), cgroup_id=hierarchy.build_id(inode), path=path)


def _find_cgroup2(mounts: Iterable[Mount]) -> TagHierarchy | None:
    found = [_build_hierarchy(mount, 0, "") for mount in mounts if mount.filesystem == "cgroup2"]
    return _best(found)


def _find_v1(mounts: tuple[Mount, ...], proc: Path) -> TagHierarchy | None:
    numbers = {
        controller: number
        for number, controllers, _ in parse_memberships((proc / "self/cgroup").read_bytes())
        for controller in controllers
    }
    for controller in V1_CONTROLLERS:
        found = [
            _build_hierarchy(mount, numbers[controller], controller)
            for mount in mounts
            if mount.filesystem == "cgroup" and controller in mount.options and controller in numbers
        ]
        if best := _best(found):
            return best
    return None


def _best(found: list[TagHierarchy | None]) -> TagHierarchy | None:
    """Prefer a mount of the whole tree, then the first."""
    usable = [hierarchy for hierarchy in found if hierarchy]
    return next((h for h in usable if h.is_whole), usable[0] if usable else None)


def _build_hierarchy(mount: Mount, hierarchy_id: int, controller: str) -> TagHierarchy | None:
    try:
        is_whole = mount.point.stat().st_ino == _ROOT_INODE
    except OSError:
        return None  # covered by a later mount, or not ours to read
    # In a cgroup namespace the root is shown as "/", or with "/.." when it lies above: neither is a prefix.
    has_prefix = not is_whole and mount.root != "/" and not mount.root.startswith("/..")
    return TagHierarchy(
        kind="v1" if controller else "cgroup2",
        mount=mount.point,
        hierarchy_id=hierarchy_id,
        controller=controller,
        prefix=_show(os.fsencode(mount.root)) if has_prefix else "",
        is_whole=is_whole,
    )


def _is_used_instead(v1: TagHierarchy, tgids: Iterable[int], proc: Path) -> bool:
    """Tell whether some process is in a container's cgroup on v1 that cgroup2 does not know."""
    host = find_host_mount_namespaces(proc)
    for tgid in tgids:
        member = read_memberships(tgid, proc)
        path, cgroup2_path = member.get(v1.controller, "/"), member.get("", "/")
        if name := _CONTAINER_NAME.search(path):
            # The outermost: what a container makes inside itself is not to sway us.
            if name[0] not in cgroup2_path:
                return True
        elif not _is_at_or_above(path, cgroup2_path):
            namespace = _find_mount_namespace(proc / str(tgid))
            if namespace and namespace not in host:
                return True
    return False


def _is_at_or_above(path: str, other: str) -> bool:
    """A service manager puts a unit at the same path in every hierarchy, or, without the controller, above it."""
    return f"{other}/".startswith(path.rstrip("/") + "/")


def _find_mount_namespace(process: Path) -> int | None:
    try:
        text = (process / "ns/mnt").readlink().name
    except OSError:
        return None  # gone, or a kernel thread
    return int(text.removeprefix("mnt:[").removesuffix("]"))


def _list_tgids(proc: Path) -> list[int]:
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]


def _show(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
