"""Probes that need no privilege, and what a refusal looks like."""

from pathlib import Path

import pytest

from monitor.bpf import features, syscalls, tracefs
from monitor.bpf.features import Probe


def test_a_probe_is_true_when_it_works() -> None:
    assert Probe(works=True)
    assert not Probe(works=False, reason="x")


def test_a_refused_program_has_the_kernels_word() -> None:
    probe = features.probe_program(0xFFFF)

    assert not probe
    assert probe.reason in {"Invalid argument", "Operation not permitted"}


def test_an_unknown_filesystem_has_the_kernels_word() -> None:
    with pytest.raises(OSError, match=r"No such device|Operation not permitted"):
        syscalls.open_detached_mount("no-such-filesystem", 0)


def test_a_machine_without_numbers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")

    with pytest.raises(OSError, match="no system call numbers for vax"):
        syscalls.bpf(syscalls.BPF_MAP_CREATE, b"")


def test_a_kernel_without_btf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(features, "VMLINUX_BTF", tmp_path / "missing")
    monkeypatch.setattr(features, "OVERLAY_BTF", tmp_path / "missing")

    assert "CONFIG_DEBUG_INFO_BTF" in features.probe_btf().reason
    assert not features.probe_overlay_types()


def test_overlay_is_found_built_in_or_as_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(features, "VMLINUX_BTF", tmp_path / "vmlinux")
    monkeypatch.setattr(features, "OVERLAY_BTF", tmp_path / "overlay")
    (tmp_path / "vmlinux").write_bytes(b"\0task_struct\0ovl_inode_params\0")
    assert not features.probe_overlay_types()

    (tmp_path / "overlay").touch()
    assert features.probe_overlay_types()

    (tmp_path / "overlay").unlink()
    (tmp_path / "vmlinux").write_bytes(b"\0task_struct\0ovl_inode\0")
    assert features.probe_overlay_types()


@pytest.mark.parametrize(
    ("text", "word"), [("0\n", "allowed"), ("1\n", "refused for good"), ("2\n", "refused"), ("9\n", "")]
)
def test_unprivileged_bpf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, word: str) -> None:
    monkeypatch.setattr(features, "UNPRIVILEGED_BPF", tmp_path / "setting")
    (tmp_path / "setting").write_text(text)

    assert features.find_unprivileged_bpf() == word


def test_a_mounted_securityfs_is_read_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(features, "SECURITYFS", tmp_path)
    (tmp_path / "lsm").write_text("lockdown,capability,bpf")
    (tmp_path / "lockdown").write_text("none integrity [confidentiality]\n")

    assert features.find_security_modules() == ("lockdown", "capability", "bpf")
    assert features.find_lockdown() == "confidentiality"


def test_a_mounted_tracefs_is_read_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "events/syscalls/sys_exit_openat"
    folder.mkdir(parents=True)
    (folder / "id").write_text("781\n")
    root = tracefs.open_tracefs((tmp_path / "missing", tmp_path))

    assert tracefs.read_tracepoint_id("syscalls", "sys_exit_openat", root) == 781
    with pytest.raises(FileNotFoundError):
        tracefs.read_tracepoint_id("syscalls", "sys_exit_none", root)
