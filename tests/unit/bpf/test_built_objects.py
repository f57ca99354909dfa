"""What the compiled objects hold besides programs."""

from tests.support.bpf_build import EBPF


def test_the_object_is_the_same_wherever_its_checkout_lies() -> None:
    assert str(EBPF).encode() not in (EBPF / "build" / "sensors.bpf.o").read_bytes()
