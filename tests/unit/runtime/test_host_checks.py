"""Facts of a host to checks: what each gap costs, what mends it, and whether observation can run."""

import dataclasses
from pathlib import Path

import msgspec
import pytest

from monitor.bpf.features import KernelFeatures, Probe
from monitor.host.cgroups import TagHierarchy
from monitor.host.mounts import Mount
from monitor.host.runtimes import FoundRuntime
from monitor.runtime.check import Check, State
from monitor.runtime.host_checks import HostFacts, build_checks, can_observe, find_denial_tier
from tests.support.hosts import GOOD, GOOD_FEATURES, refused, with_facts, with_features


def not_ok(facts: HostFacts) -> list[Check]:
    return [check for check in build_checks(facts) if check.state is not State.OK]


def test_a_good_host_has_no_gap() -> None:
    checks = build_checks(GOOD)

    assert not_ok(GOOD) == []
    assert can_observe(checks)
    assert find_denial_tier(GOOD) == "lsm"
    assert len({check.name for check in checks}) == len(checks)


@pytest.mark.parametrize(
    ("facts", "name", "fix"),
    [
        (with_features(btf=refused()), "btf", "linux-image"),
        (with_features(libbpf=refused("libbpf.so.1 cannot be loaded")), "libbpf", "apt-get install libbpf1"),
        (with_features(iterator_programs=refused()), "programs", "CONFIG_BPF_EVENTS"),
        (with_features(ring_buffer=refused("Invalid argument")), "ring buffer", "apt-get install"),
        (with_features(memory_accounting=refused()), "memory", "ulimit -l unlimited"),
        (with_features(tracefs=refused("No such device")), "tracefs", "mount -t tracefs"),
        (with_features(syscall_tracepoints=refused("No such file")), "tracefs", "CONFIG_FTRACE_SYSCALLS"),
        (with_features(kernel_reads=refused(), lockdown="confidentiality"), "lockdown", "lockdown=integrity"),
        (
            with_facts(hierarchy=None, hierarchy_error="no cgroup hierarchy is mounted: mount -t cgroup2 a b"),
            "cgroups",
            "mount -t cgroup2 a b",
        ),
    ],
)
def test_what_blocks_observation(facts: HostFacts, name: str, fix: str) -> None:
    (check,) = not_ok(facts)

    assert (check.name, check.state) == (name, State.BLOCKER)
    assert check.cost
    assert fix in check.fix
    assert not can_observe(build_checks(facts))


@pytest.mark.parametrize(
    ("facts", "name", "cost", "fix"),
    [
        (with_features(overlay_types=refused()), "overlay types", "upper_layer", "modprobe overlay"),
        (with_features(unprivileged_bpf="allowed"), "unprivileged bpf", "any user", "unprivileged_bpf_disabled=1"),
        (with_features(security_modules=None), "bpf lsm", "tier kill", "mount -t securityfs"),
        (with_features(lsm_programs=refused()), "bpf lsm", "tier kill", "ask who runs this machine"),
        (with_facts(mounts=GOOD.mounts[:1]), "bpffs", "would not outlive", "mount -t bpf -o mode=0700"),
        (with_facts(is_first_pid_namespace=False), "pid namespace", "looked up", "--pid=host"),
        (
            with_facts(capabilities=GOOD.capabilities - {"CAP_SYS_PTRACE"}),
            "privilege",
            "of other users",
            "CapabilityBoundingSet=CAP_SYS_PTRACE",
        ),
        (
            with_facts(capabilities=GOOD.capabilities - {"CAP_KILL"}),
            "privilege",
            "neither killed nor frozen",
            "CapabilityBoundingSet=CAP_KILL",
        ),
        (
            with_facts(hierarchy=TagHierarchy("cgroup2", Path("/sys/fs/cgroup"), 0, "", is_whole=False)),
            "cgroups",
            "run already",
            "--cgroupns=host",
        ),
    ],
)
def test_what_is_a_gap(facts: HostFacts, name: str, cost: str, fix: str) -> None:
    (check,) = not_ok(facts)

    assert (check.name, check.state) == (name, State.GAP)
    assert cost in check.cost
    assert fix in check.fix
    assert can_observe(build_checks(facts))


def test_all_active_modules_are_kept_when_bpf_is_added() -> None:
    facts = with_features(security_modules=("lockdown", "capability", "landlock", "yama", "apparmor"))
    (check,) = not_ok(facts)

    assert 'lsm=lockdown,landlock,yama,apparmor,bpf"' in check.fix
    assert find_denial_tier(facts) == "hold"


def test_listed_and_refused_is_tier_hold_or_kill() -> None:
    facts = with_features(lsm_programs=refused())

    assert find_denial_tier(facts) == "hold"
    assert find_denial_tier(msgspec.structs.replace(facts, hold_obstacle="no fanotify")) == "kill"
    assert "bpf is an active module, yet LSM programs are refused (Operation not permitted)" in {
        check.finding for check in not_ok(facts)
    }


def test_a_bpffs_that_cannot_be_mounted_does_not_stop_observation() -> None:
    facts = msgspec.structs.replace(with_features(bpffs=refused()), mounts=GOOD.mounts[:1])
    (check,) = not_ok(facts)

    assert (check.name, check.state) == ("bpffs", State.GAP)
    assert "cannot be mounted: Operation not permitted" in check.finding


def test_without_privilege_nothing_is_claimed() -> None:
    readable = {"btf", "libbpf", "overlay_types"}
    everything_refused = {
        field.name: refused()
        for field in dataclasses.fields(KernelFeatures)
        if isinstance(getattr(GOOD_FEATURES, field.name), Probe) and field.name not in readable
    }
    facts = msgspec.structs.replace(
        with_features(**everything_refused, security_modules=None), capabilities=frozenset[str]()
    )
    states = {check.name: check.state for check in build_checks(facts)}

    assert [name for name, state in states.items() if state is State.BLOCKER] == ["privilege"]
    assert {name for name, state in states.items() if state is State.UNKNOWN} == {
        *("programs", "ring buffer", "memory", "tracefs", "lockdown", "bpffs", "bpf lsm", "hold")
    }
    assert not can_observe(build_checks(facts))
    assert find_denial_tier(facts) == "unknown"


def test_a_high_limit_does_where_memory_is_not_accounted() -> None:
    facts = with_features(memory_accounting=refused(), memlock_bytes=-1)

    assert not_ok(facts) == []


@pytest.mark.parametrize(
    ("filesystems", "mode"), [(("cgroup2",), "unified"), (("cgroup", "cgroup2"), "hybrid"), (("cgroup",), "v1")]
)
def test_the_cgroup_mode_is_named(filesystems: tuple[str, ...], mode: str) -> None:
    mounts = tuple(Mount(Path("/x"), "/", name, frozenset(), 0) for name in filesystems)
    checks = {check.name: check for check in build_checks(with_facts(mounts=mounts))}

    assert checks["cgroups"].finding.startswith(f"{mode}; ")


def test_runtimes_are_shown_with_what_they_do() -> None:
    runtimes = (
        FoundRuntime("docker", Path("/run/docker.sock"), None, None),
        FoundRuntime("runc", None, Path("/usr/sbin/runc"), None),
    )
    checks = {check.name: check for check in build_checks(with_facts(runtimes=runtimes))}

    assert checks["runtimes"].finding == "docker (active), runc (installed)"
