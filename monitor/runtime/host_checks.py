"""Judge what was found on this host: what is fine, what each gap costs, and the command that mends it.

:func:`gather_facts` asks the kernel and the host's files; :func:`build_checks` is
pure. Printing is :mod:`monitor.cli.doctor`.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from monitor.bpf.features import KernelFeatures, Probe, probe_features
from monitor.host.cgroups import CgroupSupportError, TagHierarchy, find_tag_hierarchy
from monitor.host.mounts import Mount, read_mounts
from monitor.host.privileges import is_in_first_namespace, read_capabilities
from monitor.host.runtimes import FoundRuntime, find_runtimes
from monitor.runtime.check import Check, State
from monitor.runtime.denial_checks import judge_hold, judge_lsm
from monitor.runtime.host_tiers import find_hold_obstacle_here

MEMLOCK_BYTES_MIN: Final = 64 << 20
"""What rings and tables need where BPF memory counts against RLIMIT_MEMLOCK."""


class HostFacts(Struct, frozen=True):
    """All that the checks judge."""

    features: KernelFeatures
    capabilities: frozenset[str]
    is_first_pid_namespace: bool
    hierarchy: TagHierarchy | None
    hierarchy_error: str
    """Why there is none."""
    mounts: tuple[Mount, ...]
    runtimes: tuple[FoundRuntime, ...]
    pin_dir: Path
    hold_obstacle: str = ""
    """Why tier hold cannot be had; empty when it can."""


def gather_facts(pin_dir: Path) -> HostFacts:
    """Ask the kernel and the host; changes nothing. Takes some 100 ms.

    Raises:
        OSError: ``/proc`` is not mounted.
    """
    hierarchy, error = None, ""
    try:
        hierarchy = find_tag_hierarchy()
    except CgroupSupportError as caught:
        error = str(caught)
    return HostFacts(
        features=probe_features(),
        capabilities=read_capabilities(),
        is_first_pid_namespace=is_in_first_namespace("pid"),
        hierarchy=hierarchy,
        hierarchy_error=error,
        mounts=read_mounts(),
        runtimes=find_runtimes(),
        pin_dir=pin_dir,
        hold_obstacle=find_hold_obstacle_here(),
    )


def build_checks(facts: HostFacts) -> tuple[Check, ...]:
    """Judge the facts, what matters most first."""
    return tuple(_judge(facts))


def can_observe(checks: tuple[Check, ...]) -> bool:
    """Tell whether ``stockade run`` can work here."""
    return all(check.state in {State.OK, State.GAP} for check in checks)


def find_denial_tier(facts: HostFacts) -> str:
    """Answer the strongest tier that deny rules can have here: ``lsm``, ``hold`` or ``kill``; ``unknown`` without
    privilege."""
    if not can_probe(facts):
        return "unknown"
    if facts.features.can_deny_by_lsm:
        return "lsm"
    return "kill" if facts.hold_obstacle else "hold"


def _judge(facts: HostFacts) -> Iterator[Check]:
    features = facts.features
    yield Check("kernel", State.OK, f"Linux {features.release} on {features.machine}")
    yield _judge_privilege(facts)
    yield _judge_btf(features)
    yield _judge_libbpf(features)
    probed = _judge_probes(facts)
    if can_probe(facts):
        yield from probed
    else:
        yield from (Check(check.name, State.UNKNOWN, "cannot be told without privilege") for check in probed)
    yield _judge_cgroups(facts)
    yield _judge_pid_namespace(facts)
    yield _judge_overlay(features)
    yield _judge_unprivileged_bpf(features)
    yield _judge_runtimes(facts)


def can_probe(facts: HostFacts) -> bool:
    """Tell whether the kernel would answer us at all."""
    return "CAP_SYS_ADMIN" in facts.capabilities


def _judge_probes(facts: HostFacts) -> Iterator[Check]:
    """What is found out by trying it, which takes privilege."""
    features = facts.features
    yield _judge_programs(features)
    yield _judge_ring_buffer(features)
    yield _judge_memory(features)
    yield _judge_tracefs(facts)
    yield _judge_lockdown(features)
    yield _judge_bpffs(facts)
    yield judge_lsm(features)
    yield judge_hold(facts.hold_obstacle, is_needed=not features.can_deny_by_lsm)


def _judge_privilege(facts: HostFacts) -> Check:
    missing = {"CAP_SYS_ADMIN", "CAP_BPF", "CAP_PERFMON"} - facts.capabilities
    if missing:
        return Check(
            "privilege",
            State.BLOCKER,
            f"this process lacks {', '.join(sorted(missing))}",
            cost="the sensors cannot be loaded",
            fix="sudo stockade doctor  # in a container: run it with --privileged --pid=host --cgroupns=host",
        )
    wanted = {"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"} - facts.capabilities
    if wanted:
        return Check(
            "privilege",
            State.GAP,
            f"this process lacks {', '.join(sorted(wanted))}",
            cost="programs of other users that run already are listed without their file, folder and namespaces",
            fix=f"systemctl edit stockade  # [Service] CapabilityBoundingSet={' '.join(sorted(wanted))}",
        )
    wanted = {"CAP_KILL", "CAP_DAC_OVERRIDE"} - facts.capabilities
    if wanted:
        return Check(
            "privilege",
            State.GAP,
            f"this process lacks {', '.join(sorted(wanted))}",
            cost="processes and containers of other users are neither killed nor frozen",
            fix=f"systemctl edit stockade  # [Service] CapabilityBoundingSet={' '.join(sorted(wanted))}",
        )
    return Check("privilege", State.OK, "all capabilities that observation and responses need")


def _judge_btf(features: KernelFeatures) -> Check:
    if features.btf:
        return Check("btf", State.OK, "the kernel describes its own types")
    return Check(
        "btf",
        State.BLOCKER,
        features.btf.reason,
        cost="the sensors cannot be fitted to this kernel",
        fix="apt-get install linux-image-amd64 && reboot  # or any kernel built with CONFIG_DEBUG_INFO_BTF=y",
    )


def _judge_libbpf(features: KernelFeatures) -> Check:
    if features.libbpf:
        return Check("libbpf", State.OK, f"libbpf {features.libbpf_version}")
    return Check(
        "libbpf",
        State.BLOCKER,
        features.libbpf.reason,
        cost="the sensors cannot be loaded",
        fix="apt-get install libbpf1  # Fedora: dnf install libbpf",
    )


def _judge_programs(features: KernelFeatures) -> Check:
    needed: dict[str, Probe] = {
        "tracepoint": features.tracepoint_programs,
        "tp_btf": features.btf_tracepoint_programs,
        "iterator": features.iterator_programs,
    }
    refused = [f"{name} ({probe.reason})" for name, probe in needed.items() if not probe]
    if not refused:
        return Check("programs", State.OK, f"{', '.join(needed)} programs load")
    return Check(
        "programs",
        State.BLOCKER,
        f"the kernel refuses programs of type {', '.join(refused)}",
        cost="processes, or opens, cannot be seen",
        fix="apt-get install linux-image-amd64 && reboot  # or any kernel with CONFIG_BPF_EVENTS=y",
    )


def _judge_ring_buffer(features: KernelFeatures) -> Check:
    if features.ring_buffer:
        return Check("ring buffer", State.OK, "can be made")
    return Check(
        "ring buffer",
        State.BLOCKER,
        f"cannot be made: {features.ring_buffer.reason}",
        cost="events cannot be read",
        fix="apt-get install linux-image-amd64 && reboot  # or any kernel that has BPF ring buffers",
    )


def _judge_memory(features: KernelFeatures) -> Check:
    limit = features.memlock_bytes
    if features.memory_accounting:
        return Check("memory", State.OK, "BPF memory is charged to cgroups, RLIMIT_MEMLOCK is of no account")
    if limit < 0 or limit >= MEMLOCK_BYTES_MIN:
        return Check("memory", State.OK, "RLIMIT_MEMLOCK is high enough")
    return Check(
        "memory",
        State.BLOCKER,
        f"RLIMIT_MEMLOCK is {limit >> 10} KiB, and BPF memory counts against it",
        cost="rings and tables cannot be made",
        fix="ulimit -l unlimited  # for the service: LimitMEMLOCK=infinity, as its unit has it",
    )


def _judge_tracefs(facts: HostFacts) -> Check:
    features = facts.features
    if not features.tracefs:
        return Check(
            "tracefs",
            State.BLOCKER,
            f"cannot be read: {features.tracefs.reason}",
            cost="opens and failed execs cannot be seen",
            fix="mount -t tracefs tracefs /sys/kernel/tracing",
        )
    if not features.syscall_tracepoints:
        return Check(
            "tracefs",
            State.BLOCKER,
            f"no event can be opened on a system call's tracepoint: {features.syscall_tracepoints.reason}",
            cost="opens and failed execs cannot be seen",
            fix="apt-get install linux-image-amd64 && reboot  # or any kernel with CONFIG_FTRACE_SYSCALLS=y",
        )
    mount = _find_mount(facts, "tracefs")
    where = f"mounted at {mount}" if mount else "not mounted, and need not be: a private mount of it works"
    return Check("tracefs", State.OK, where)


def _judge_lockdown(features: KernelFeatures) -> Check:
    if features.kernel_reads:
        return Check("lockdown", State.OK, features.lockdown or "none")
    return Check(
        "lockdown",
        State.BLOCKER,
        f"{features.lockdown or 'the kernel'} forbids programs to read kernel memory ({features.kernel_reads.reason})",
        cost="paths and arguments cannot be read",
        fix="sed -i 's/lockdown=confidentiality/lockdown=integrity/' /etc/default/grub && update-grub && reboot",
    )


def _judge_bpffs(facts: HostFacts) -> Check:
    cost = "a denial would not outlive the service; observation runs"
    if any(mount.filesystem == "bpf" and mount.point == facts.pin_dir for mount in facts.mounts):
        return Check("bpffs", State.OK, f"mounted at {facts.pin_dir}")
    if not facts.features.bpffs:
        return Check(
            "bpffs",
            State.GAP,
            f"cannot be mounted: {facts.features.bpffs.reason}",
            cost=cost,
            fix="ask who runs this machine to allow mounts of type bpf",
        )
    elsewhere = _find_mount(facts, "bpf")
    where = f", only at {elsewhere}" if elsewhere else ""
    pin_dir, options = shlex.quote(str(facts.pin_dir)), "mode=0700,nosuid,nodev,noexec"
    return Check(
        "bpffs",
        State.GAP,
        f"not mounted at {facts.pin_dir}{where}",
        cost=cost,
        fix=f"mkdir -p {pin_dir} && mount -t bpf -o {options} bpf {pin_dir}"
        "  # where the service is installed: systemctl start run-stockade-bpf.mount",
    )


def _judge_cgroups(facts: HostFacts) -> Check:
    hierarchy = facts.hierarchy
    if hierarchy is None:
        error, _, fix = facts.hierarchy_error.partition(": ")
        return Check("cgroups", State.BLOCKER, error, cost="containers cannot be told apart", fix=fix)
    mode = _name_mode(facts.mounts)
    finding = f"{mode}; containers are told by {hierarchy.name} at {hierarchy.mount}"
    if hierarchy.is_whole:
        return Check("cgroups", State.OK, finding)
    return Check(
        "cgroups",
        State.GAP,
        f"{finding}, of which only a part is seen here (a cgroup namespace)",
        cost="containers that run already are named only when they start something new",
        fix="docker run --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:ro ...  # the host's cgroup namespace",
    )


def _name_mode(mounts: tuple[Mount, ...]) -> str:
    has_v1 = any(mount.filesystem == "cgroup" for mount in mounts)
    if any(mount.filesystem == "cgroup2" for mount in mounts):
        return "hybrid" if has_v1 else "unified"
    return "v1"


def _judge_pid_namespace(facts: HostFacts) -> Check:
    if facts.is_first_pid_namespace:
        return Check("pid namespace", State.OK, "the host's")
    return Check(
        "pid namespace",
        State.GAP,
        "not the host's",
        cost="processes that run already cannot be looked up, and no process can be answered",
        fix="docker run --pid=host ...  # the host's pid namespace",
    )


def _judge_overlay(features: KernelFeatures) -> Check:
    if features.overlay_types:
        return Check("overlay types", State.OK, "known: programs written since the image can be told")
    return Check(
        "overlay types",
        State.GAP,
        features.overlay_types.reason,
        cost="programs written since a container's image cannot be told from the image's own (upper_layer is unknown)",
        fix="modprobe overlay && echo overlay > /etc/modules-load.d/stockade.conf && systemctl restart stockade",
    )


def _judge_unprivileged_bpf(features: KernelFeatures) -> Check:
    if features.unprivileged_bpf != "allowed":
        return Check("unprivileged bpf", State.OK, features.unprivileged_bpf or "the kernel does not tell")
    return Check(
        "unprivileged bpf",
        State.GAP,
        "allowed",
        cost="any user may load BPF programs: a known way to attack the kernel, and with it this monitor",
        fix="echo kernel.unprivileged_bpf_disabled=1 > /etc/sysctl.d/60-stockade.conf && sysctl --system",
    )


def _judge_runtimes(facts: HostFacts) -> Check:
    if not facts.runtimes:
        return Check("runtimes", State.OK, "no container runtime found; the host's own processes are watched")
    names = [f"{runtime.name} ({'active' if runtime.is_active else 'installed'})" for runtime in facts.runtimes]
    return Check("runtimes", State.OK, ", ".join(names))


def _find_mount(facts: HostFacts, filesystem: str) -> Path | None:
    return next((mount.point for mount in facts.mounts if mount.filesystem == filesystem), None)
