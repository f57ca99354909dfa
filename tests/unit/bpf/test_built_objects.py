"""What the compiled objects hold besides programs."""

import pytest

from tests.support.bpf_build import EBPF


@pytest.mark.parametrize("name", ["sensors", "enforce"])
def test_the_object_is_the_same_wherever_its_checkout_lies(name: str) -> None:
    assert str(EBPF).encode() not in (EBPF / "build" / f"{name}.bpf.o").read_bytes()


@pytest.mark.parametrize("name", ["sensors", "enforce", "guard", "inspect"])
def test_no_map_is_the_compilers_own(name: str) -> None:
    """A struct of 16 constant bytes becomes a section, and that a map, which no pin has the name of."""
    assert b".rodata.cst" not in (EBPF / "build" / f"{name}.bpf.o").read_bytes()
