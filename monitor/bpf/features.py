"""Find out what the running kernel lets us do, by trying it; versions are never compared.

Each probe loads a two-instruction program, makes a tiny map or reads one file, and
undoes it: nothing is attached, mounted in any namespace or left. A probe answers a
:class:`Probe`; what a gap costs and how it is mended is said by
:mod:`monitor.cli.doctor`, what to do about it by the loader.
"""

import ctypes
import mmap
import os
import platform
import resource
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monitor.bpf.libbpf import LibbpfError, load_library
from monitor.bpf.syscalls import (
    BPF_MAP_CREATE,
    BPF_PROG_LOAD,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    bpf,
    open_detached_mount,
)
from monitor.bpf.tracefs import open_tracefs, open_tracepoint_event, read_tracepoint_id

VMLINUX_BTF: Final = Path("/sys/kernel/btf/vmlinux")
OVERLAY_BTF: Final = Path("/sys/kernel/btf/overlay")
UNPRIVILEGED_BPF: Final = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
SECURITYFS: Final = Path("/sys/kernel/security")

# include/uapi/linux/bpf.h
_PROG_SOCKET_FILTER: Final = 1
_PROG_TRACEPOINT: Final = 5
_PROG_RAW_TRACEPOINT: Final = 17
_PROG_TRACING: Final = 26
_PROG_LSM: Final = 29
_ATTACH_TRACE_RAW_TP: Final = 23
_ATTACH_LSM_MAC: Final = 27
_ATTACH_TRACE_ITER: Final = 28
_MAP_ARRAY: Final = 2
_MAP_RINGBUF: Final = 27
_HELPER_PROBE_READ_KERNEL: Final = 113
_HELPER_KTIME_GET_COARSE_NS: Final = 160

_INSTRUCTION: Final = struct.Struct("=BBhi")
_RETURN_0: Final = _INSTRUCTION.pack(0xB7, 0, 0, 0) + _INSTRUCTION.pack(0x95, 0, 0, 0)
_READ_KERNEL_MEMORY: Final = b"".join(
    _INSTRUCTION.pack(*fields)
    for fields in (
        (0xBF, 0xA1, 0, 0),  # r1 = r10
        (0x07, 0x01, 0, -8),  # r1 -= 8: where to
        (0xB7, 0x02, 0, 8),  # r2 = 8: how much
        (0xB7, 0x03, 0, 0),  # r3 = 0: from where (never run)
        (0x85, 0x00, 0, _HELPER_PROBE_READ_KERNEL),
    )
)
_PROG_ATTR: Final = struct.Struct("=IIQQIIQII16sIIIIQIIQII")
"""union bpf_attr of BPF_PROG_LOAD, to attach_btf_id."""
_MAP_ATTR: Final = struct.Struct("=IIIII")
_SMALL_FILE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer of one probe."""

    works: bool
    reason: str = ""
    """Why not: the kernel's word (``Operation not permitted``), or what is missing."""

    def __bool__(self) -> bool:
        """Tell whether it works."""
        return self.works


@dataclass(frozen=True, slots=True)
class KernelFeatures:
    """What this kernel, with this process' privileges, lets us do."""

    release: str
    machine: str
    btf: Probe
    libbpf: Probe
    libbpf_version: str
    """Empty without libbpf."""
    tracepoint_programs: Probe
    raw_tracepoint_programs: Probe
    btf_tracepoint_programs: Probe
    """``tp_btf``."""
    iterator_programs: Probe
    lsm_programs: Probe
    """Loading one; whether it would run is told by ``bpf`` in :attr:`security_modules`."""
    kernel_reads: Probe
    """Programs may read kernel memory: refused by lockdown ``confidentiality``."""
    ring_buffer: Probe
    memory_accounting: Probe
    """BPF memory is charged to cgroups, and RLIMIT_MEMLOCK is of no account."""
    memlock_bytes: int
    """Soft RLIMIT_MEMLOCK; -1 is no limit."""
    tracefs: Probe
    syscall_tracepoints: Probe
    """The tracepoint that opens are seen by has an id, and a perf event on it can be opened."""
    bpffs: Probe
    """Can be mounted."""
    security_modules: tuple[str, ...] | None
    """Active ones in order, e.g. ``("capability", "landlock", "bpf")``; None when securityfs cannot be had."""
    lockdown: str
    """``none``, ``integrity`` or ``confidentiality``; empty when the kernel has no lockdown or does not tell."""
    overlay_types: Probe
    """Overlayfs' types are in the kernel's BTF, or in its loaded module's."""
    unprivileged_bpf: str
    """``allowed``, ``refused``, ``refused for good``; empty when the kernel does not tell."""

    @property
    def can_deny_by_lsm(self) -> bool:
        """Tell whether an LSM program can be loaded and would be called."""
        return bool(self.lsm_programs) and "bpf" in (self.security_modules or ())


def probe_features() -> KernelFeatures:
    """Try everything; takes some 50 ms, most of it for looking up types in the kernel's BTF."""
    libbpf_version = find_libbpf_version()
    return KernelFeatures(
        release=platform.release(),
        machine=platform.machine(),
        btf=probe_btf(),
        libbpf=Probe(bool(libbpf_version), "" if libbpf_version else "libbpf.so.1 cannot be loaded"),
        libbpf_version=libbpf_version,
        tracepoint_programs=probe_program(_PROG_TRACEPOINT),
        raw_tracepoint_programs=probe_program(_PROG_RAW_TRACEPOINT),
        btf_tracepoint_programs=_probe_btf_program(_PROG_TRACING, _ATTACH_TRACE_RAW_TP, "sched_process_exec"),
        iterator_programs=_probe_btf_program(_PROG_TRACING, _ATTACH_TRACE_ITER, "task"),
        lsm_programs=_probe_btf_program(_PROG_LSM, _ATTACH_LSM_MAC, "bprm_check_security"),
        kernel_reads=probe_program(_PROG_TRACEPOINT, code=_READ_KERNEL_MEMORY + _RETURN_0),
        ring_buffer=probe_ring_buffer(),
        memory_accounting=probe_memory_accounting(),
        memlock_bytes=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        tracefs=probe_tracefs(),
        syscall_tracepoints=probe_syscall_tracepoints(),
        bpffs=probe_bpffs(),
        security_modules=find_security_modules(),
        lockdown=find_lockdown(),
        overlay_types=probe_overlay_types(),
        unprivileged_bpf=find_unprivileged_bpf(),
    )


def find_libbpf_version() -> str:
    """Answer the version of the libbpf on this host, e.g. ``1.1``; empty when there is none."""
    try:
        version: bytes = load_library().libbpf_version_string()
    except LibbpfError:
        return ""
    return version.decode(errors="replace").removeprefix("v")


def probe_btf() -> Probe:
    """Has the kernel its own types?"""
    if os.access(VMLINUX_BTF, os.R_OK):
        return Probe(works=True)
    return Probe(works=False, reason=f"{VMLINUX_BTF} is not there (the kernel is built without CONFIG_DEBUG_INFO_BTF)")


def probe_program(program_type: int, *, attach_type: int = 0, btf_id: int = 0, code: bytes = _RETURN_0) -> Probe:
    """Load a program that does nothing, and free it."""
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    attributes = _PROG_ATTR.pack(
        *(program_type, len(code) // _INSTRUCTION.size, ctypes.addressof(instructions), ctypes.addressof(licence)),
        *(0, 0, 0),  # no log
        *(0, 0, b"stockade_probe", 0, attach_type),
        *(0, 0, 0, 0, 0, 0, 0),  # no BTF of its own
        btf_id,
    )
    return _probe_bpf(BPF_PROG_LOAD, attributes)


def probe_ring_buffer() -> Probe:
    """Make a ring buffer of one page."""
    return _probe_bpf(BPF_MAP_CREATE, _MAP_ATTR.pack(_MAP_RINGBUF, 0, 0, mmap.PAGESIZE, 0))


def probe_memory_accounting() -> Probe:
    """Is BPF memory charged to cgroups? Asked, as libbpf does, by a helper that came with the same release."""
    call = _INSTRUCTION.pack(0x85, 0, 0, _HELPER_KTIME_GET_COARSE_NS)
    return probe_program(_PROG_SOCKET_FILTER, code=call + _RETURN_0)


def probe_tracefs() -> Probe:
    """Can tracepoint ids be read, from a mounted tracefs or a detached one?"""
    return _probe_descriptor(open_tracefs)


def probe_syscall_tracepoints() -> Probe:
    """Can a perf event be opened on the end of openat(2)?"""
    return _probe_descriptor(lambda: open_tracepoint_event(read_tracepoint_id("syscalls", "sys_exit_openat")))


def probe_bpffs() -> Probe:
    """Can a bpffs be mounted? (Tried detached: no mount table changes.)"""
    return _probe_descriptor(
        lambda: open_detached_mount("bpf", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
    )


def probe_overlay_types() -> Probe:
    """Are overlayfs' types known, so that a program can tell files written since the image?"""
    if OVERLAY_BTF.exists() or (VMLINUX_BTF.exists() and b"\0ovl_inode\0" in VMLINUX_BTF.read_bytes()):
        return Probe(works=True)
    return Probe(works=False, reason="overlayfs is a module that is not loaded, or its types are not in BTF")


def find_lsm_obstacle() -> str:
    """Why no BPF program can deny by LSM hooks here; empty when one can."""
    probe = _probe_btf_program(_PROG_LSM, _ATTACH_LSM_MAC, "bprm_check_security")
    if not probe:
        return f"LSM programs cannot be loaded ({probe.reason})"
    if "bpf" not in (find_security_modules() or ()):
        return "BPF LSM is not active (boot with lsm=...,bpf)"
    return ""


def find_name_hooks_obstacle() -> str:
    """Why what is done to a file by its name cannot be denied where opens can; empty when it can."""
    return _find_hook_obstacle(
        b"path_rename", "the kernel has no hooks for what is done by name (CONFIG_SECURITY_PATH)"
    )


def find_socket_hooks_obstacle() -> str:
    """The same of connections to Unix sockets."""
    return _find_hook_obstacle(b"unix_may_send", "the kernel has no hooks for connections (CONFIG_SECURITY_NETWORK)")


def _find_hook_obstacle(hook: bytes, reason: str) -> str:
    try:
        btf_id = load_library().libbpf_find_vmlinux_btf_id(hook, _ATTACH_LSM_MAC)
    except LibbpfError:
        return "libbpf.so.1 cannot be loaded"
    return "" if btf_id > 0 else reason


def find_security_modules() -> tuple[str, ...] | None:
    """Answer the active security modules in their order; None when securityfs cannot be had."""
    text = _read_securityfs("lsm")
    return None if text is None else tuple(text.strip().split(","))


def find_lockdown() -> str:
    """Answer the lockdown state: the word in brackets; empty when the kernel does not tell."""
    text = _read_securityfs("lockdown") or ""
    return text.partition("[")[2].partition("]")[0]


def find_unprivileged_bpf() -> str:
    """Tell whether users without privilege may call bpf(2)."""
    names = {"0": "allowed", "1": "refused for good", "2": "refused"}
    try:
        return names.get(UNPRIVILEGED_BPF.read_text().strip(), "")
    except OSError:
        return ""


def _probe_btf_program(program_type: int, attach_type: int, hook: str) -> Probe:
    try:
        btf_id = load_library().libbpf_find_vmlinux_btf_id(hook.encode(), attach_type)
    except LibbpfError:
        return Probe(works=False, reason="libbpf.so.1 cannot be loaded")
    if btf_id <= 0:
        return Probe(works=False, reason=f"the kernel's BTF knows no {hook}")
    return probe_program(program_type, attach_type=attach_type, btf_id=btf_id)


def _probe_bpf(command: int, attributes: bytes) -> Probe:
    return _probe_descriptor(lambda: bpf(command, attributes))


def _probe_descriptor(open_it: Callable[[], int]) -> Probe:
    try:
        os.close(open_it())
    except OSError as error:
        return Probe(works=False, reason=error.strerror or str(error))
    return Probe(works=True)


def _read_securityfs(name: str) -> str | None:
    """Read a file of securityfs where it is mounted, else of a detached mount; None when it cannot be had."""
    try:
        return (SECURITYFS / name).read_text()
    except OSError:
        pass
    try:
        root = open_detached_mount(
            "securityfs", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
        )
    except OSError:
        return None
    try:
        with open(name, opener=lambda path, flags: os.open(path, flags, dir_fd=root)) as file:
            return file.read(_SMALL_FILE_BYTES)
    except OSError:
        return None
    finally:
        os.close(root)
