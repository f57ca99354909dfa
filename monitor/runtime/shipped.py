"""Where the BPF object is: package data of an installed Stockade, or the build folder of a checkout."""

from pathlib import Path

from monitor.runtime.errors import KernelSupportError

_PACKAGE = Path(__file__).resolve().parent.parent
_CANDIDATES = (_PACKAGE / "_data" / "bpf" / "sensors.bpf.o", _PACKAGE.parent / "ebpf" / "build" / "sensors.bpf.o")


def find_sensors_object() -> Path:
    """The linked sensors.

    Raises:
        KernelSupportError: they were not built.
    """
    for candidate in _CANDIDATES:
        if candidate.is_file():
            return candidate
    raise KernelSupportError("the BPF objects are not built: run `make -C ebpf` in the checkout (scripts/run does)")
