"""What this process may do, and whether it sees the whole host: capabilities and namespaces."""

from pathlib import Path
from typing import Final

_SELF: Final = Path("/proc/self")

CAPABILITIES: Final = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_KILL": 5,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
"""The capabilities that matter here, by name (include/uapi/linux/capability.h)."""

_FIRST_NAMESPACES: Final = {"pid": 0xEFFFFFFC, "user": 0xEFFFFFFD, "cgroup": 0xEFFFFFFB}
"""Inode numbers of the kernel's first namespaces (include/linux/proc_ns.h)."""


def read_capabilities(source: Path = _SELF) -> frozenset[str]:
    """Answer which of :data:`CAPABILITIES` this process has in effect.

    Raises:
        OSError: ``/proc`` is not mounted.
    """
    effective = 0
    for line in (source / "status").read_text(errors="replace").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    return frozenset(name for name, bit in CAPABILITIES.items() if effective >> bit & 1)


def is_in_first_namespace(kind: str, source: Path = _SELF) -> bool:
    """Tell whether this process is in the host's first namespace of a kind (``pid``, ``user`` or ``cgroup``).

    Raises:
        OSError: ``/proc`` is not mounted.
    """
    return (source / "ns" / kind).stat().st_ino == _FIRST_NAMESPACES[kind]
