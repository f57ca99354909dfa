"""Capabilities and namespaces of a process."""

from pathlib import Path

import pytest

from monitor.host.privileges import is_in_first_namespace, read_capabilities


def test_capabilities_are_read_from_the_effective_set(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(
        "CapPrm:\t000001ffffffffff\nCapEff:\t000000c000000004\nCapBnd:\t000001ffffffffff\n"
    )

    assert read_capabilities(tmp_path) == {"CAP_BPF", "CAP_PERFMON", "CAP_DAC_READ_SEARCH"}


def test_a_process_without_any(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("CapEff:\t0000000000000000\n")

    assert read_capabilities(tmp_path) == frozenset()


@pytest.mark.parametrize("kind", ["pid", "user", "cgroup"])
def test_an_ordinary_file_is_not_the_first_namespace(tmp_path: Path, kind: str) -> None:
    (tmp_path / "ns").mkdir()
    (tmp_path / "ns" / kind).touch()

    assert not is_in_first_namespace(kind, tmp_path)


def test_our_own_are_there() -> None:
    read_capabilities()
    is_in_first_namespace("pid")
