"""Probes on the running kernel: they answer, and leave nothing."""

import os
from pathlib import Path

import pytest

from monitor.bpf import features, tracefs
from monitor.bpf.syscalls import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    open_detached_mount,
)

pytestmark = pytest.mark.kernel


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208  (names, not paths)


def test_all_probes_answer_and_leave_nothing() -> None:
    features.find_libbpf_version()  # the library stays loaded
    before = mounts(), descriptors()

    found = features.probe_features()

    assert (mounts(), descriptors()) == before
    for name in (
        "btf",
        "tracepoint_programs",
        "btf_tracepoint_programs",
        "iterator_programs",
        "ring_buffer",
        "tracefs",
    ):
        probe = getattr(found, name)
        assert probe, f"{name}: {probe.reason}"
    assert found.syscall_tracepoints
    assert found.kernel_reads
    assert found.libbpf_version.partition(".")[0].isdigit()
    assert found.security_modules
    assert "capability" in found.security_modules


def test_denial_by_lsm_takes_both_the_program_and_the_module() -> None:
    found = features.probe_features()

    assert found.can_deny_by_lsm == (bool(found.lsm_programs) and "bpf" in (found.security_modules or ()))
    if not found.lsm_programs:
        assert found.lsm_programs.reason


def test_tracepoint_ids_are_had_without_a_mount() -> None:
    root = tracefs.open_tracefs(mounts=())
    try:
        number = tracefs.read_tracepoint_id("syscalls", "sys_exit_openat", root)
        assert number == tracefs.read_tracepoint_id("syscalls", "sys_exit_openat")
        with pytest.raises(FileNotFoundError):
            tracefs.read_tracepoint_id("syscalls", "sys_exit_nothing", root)
    finally:
        os.close(root)

    event = tracefs.open_tracepoint_event(number)
    assert os.readlink(f"/proc/self/fd/{event}") == "anon_inode:[perf_event]"  # noqa: PTH115
    assert not os.get_inheritable(event)
    os.close(event)


def test_a_detached_mount_ends_with_its_descriptor() -> None:
    before = mounts()

    root = open_detached_mount(
        "bpf", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, options={"mode": "0700"}
    )
    assert os.fstat(root).st_mode & 0o777 == 0o700
    assert not os.get_inheritable(root)
    os.close(root)

    assert mounts() == before
