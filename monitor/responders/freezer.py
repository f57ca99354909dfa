"""Freeze and thaw one cgroup, of cgroup2 or of the v1 freezer: three small files each.

Source: Documentation/admin-guide/cgroup-v2.rst (``cgroup.freeze``, ``cgroup.events``),
cgroup-v1/freezer-subsystem.rst (``freezer.state``, ``freezer.self_freezing``).
"""

import os
from typing import Final

READ_BYTES: Final = 4_096


def read_file(folder: int, name: str) -> str:
    """Read a cgroup's file. Raises ``OSError``: ENOENT or ENODEV when the cgroup has been removed."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(descriptor, READ_BYTES).decode("ascii", "replace")
    finally:
        os.close(descriptor)


def write_file(folder: int, name: str, text: str) -> None:
    """Write a cgroup's file. Raises ``OSError``."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def has_file(folder: int, name: str) -> bool:
    """Whether the kernel gives this cgroup that file."""
    try:
        os.stat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def is_populated(folder: int) -> bool:
    """Whether a cgroup2 cgroup, or one below it, has a process that lives. Raises ``OSError``."""
    return "populated 1" in read_file(folder, "cgroup.events")


class Freezer:
    """One cgroup's freezer. Every method raises ``OSError``."""

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self.is_v1 = not has_file(folder, "cgroup.freeze")

    def ask(self, *, frozen: bool) -> None:
        """Ask the kernel for it; it takes a moment."""
        if self.is_v1:
            write_file(self._folder, "freezer.state", "FROZEN" if frozen else "THAWED")
        else:
            write_file(self._folder, "cgroup.freeze", "1" if frozen else "0")

    def is_asked(self) -> bool:
        """Whether somebody has asked to freeze this very cgroup."""
        name = "freezer.self_freezing" if self.is_v1 else "cgroup.freeze"
        return read_file(self._folder, name).strip() == "1"

    def is_frozen(self) -> bool:
        """Whether no process of it runs, for whatever reason (a cgroup above may be frozen)."""
        if self.is_v1:
            return read_file(self._folder, "freezer.state").strip() == "FROZEN"
        return "frozen 1" in read_file(self._folder, "cgroup.events")
