"""What a file of the kernel's own (proc, sysfs, cgroup ...) is called wherever that is mounted: ``proc:/sys/kernel/x``.

The kernel side asks the file (``ebpf/include/system_path.bpf.h``). An event has its
path alone: there it is what the usual mounts make of that.
"""

from typing import Final

FIELD: Final = "file.system_path"
PLACES: Final = {
    "binfmt_misc": "/proc/sys/fs/binfmt_misc",
    "proc": "/proc",
    "cgroup": "/sys/fs/cgroup",
    "debugfs": "/sys/kernel/debug",
    "tracefs": "/sys/kernel/tracing",
    "securityfs": "/sys/kernel/security",
    "sysfs": "/sys",
}
"""Where each is mounted on an ordinary host, and in a container; the first that holds a path counts."""


def find_system_path(path: str) -> str:
    """By its path, what a file is called; empty when it lies in none of these places."""
    for kind, place in PLACES.items():
        if path.startswith(place) and path[len(place) : len(place) + 1] in ("", "/"):
            return f"{kind}:{path[len(place) :] or '/'}"
    return ""


def find_usual_path(system_path: str) -> str:
    """Where that file is usually found; empty for a text that names no kind, or only part of one."""
    kind, colon, rest = system_path.partition(":")
    return PLACES[kind] + rest if colon and kind in PLACES else ""
