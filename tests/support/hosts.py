"""Facts of hosts that doctor judges: a good one, and changes to it."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import msgspec

from monitor.bpf.features import KernelFeatures, Probe
from monitor.host.cgroups import TagHierarchy
from monitor.host.mounts import Mount
from monitor.runtime.host_checks import HostFacts

WORKS = Probe(works=True)
PIN_DIR = Path("/run/stockade/bpf")


def refused(reason: str = "Operation not permitted") -> Probe:
    return Probe(works=False, reason=reason)


GOOD_FEATURES = KernelFeatures(
    release="6.12.1",
    machine="x86_64",
    btf=WORKS,
    libbpf=WORKS,
    libbpf_version="1.5",
    tracepoint_programs=WORKS,
    raw_tracepoint_programs=WORKS,
    btf_tracepoint_programs=WORKS,
    iterator_programs=WORKS,
    lsm_programs=WORKS,
    kernel_reads=WORKS,
    ring_buffer=WORKS,
    memory_accounting=WORKS,
    memlock_bytes=8 << 20,
    tracefs=WORKS,
    syscall_tracepoints=WORKS,
    bpffs=WORKS,
    security_modules=("lockdown", "capability", "bpf"),
    lockdown="none",
    overlay_types=WORKS,
    unprivileged_bpf="refused",
)

GOOD = HostFacts(
    features=GOOD_FEATURES,
    capabilities=frozenset(
        {
            *("CAP_SYS_ADMIN", "CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"),
            *("CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE", "CAP_KILL"),
        }
    ),
    is_first_pid_namespace=True,
    hierarchy=TagHierarchy("cgroup2", Path("/sys/fs/cgroup"), 0, ""),
    hierarchy_error="",
    mounts=(
        Mount(Path("/sys/fs/cgroup"), "/", "cgroup2", frozenset({"rw"}), os.makedev(0, 30)),
        Mount(PIN_DIR, "/", "bpf", frozenset({"rw"}), os.makedev(0, 31)),
    ),
    runtimes=(),
    pin_dir=PIN_DIR,
)


def with_features(**changes: Any) -> HostFacts:
    return msgspec.structs.replace(GOOD, features=dataclasses.replace(GOOD_FEATURES, **changes))


def with_facts(**changes: Any) -> HostFacts:
    return msgspec.structs.replace(GOOD, **changes)
