"""How much of a program the kernel's verifier had to look at: the number that a small change can blow up unseen.

The bound is a million instructions; what takes tens of thousands takes seconds to load, too. A program is loaded as the
product loads it (all of an object together, those that some kernels have no place for each alone); what is refused is
told with the verifier's last words.
"""

import ctypes
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from monitor.bpf.libbpf import BpfObject, LibbpfError, load_library
from monitor.bpf.object_settings import prepare_records
from monitor.bpf.sensors import OPEN_PROGRAMS
from monitor.config.settings import LimiterSettings
from tests.support.bpf_build import EBPF

Statistics = dict[str, int | str]
"""Program -> verified instructions, or why it was refused."""

MAY_BE_REFUSED: Final = {*OPEN_PROGRAMS.values(), "on_file_truncate_asked"}
"""By some kernels: for want of a function, or of a hook."""
SLOTS: Final = 16
RING_BYTES: Final = 1 << 20
INFO_BYTES: Final = 256
VERIFIED_AT: Final = 216
"""``verified_insns`` in the kernel's ``struct bpf_prog_info`` (since 5.16)."""
TOLERANCE: Final = 0.1
TOLERATED_INSTRUCTIONS: Final = 100
"""Small programs may grow by so many."""


def build_objects(compiler: str, folder: Path) -> list[Path]:
    """All objects of ``make all``, compiled by this clang."""
    make = ["make", "-s", "-C", EBPF, f"BUILD={folder}", f"CLANG={compiler}"]
    subprocess.run([*make, "all"], check=True)
    listed = subprocess.run([*make, "print-objects"], check=True, capture_output=True, text=True).stdout
    return [Path(path) for path in listed.split()]


def measure(path: Path) -> Statistics:
    """Load each program of an object under the running kernel; nothing is attached."""
    with BpfObject(path) as bpf_object:
        names = list(bpf_object.program_names())
    alone = [name for name in names if name in MAY_BE_REFUSED]
    together = [name for name in names if name not in alone]
    found = try_to_load(path, together) or {name: refuse(path, name) for name in together}
    return found | {name: refuse(path, name) for name in alone}


def refuse(path: Path, name: str) -> int | str:
    """Verified instructions of one program alone, or what the verifier said last."""
    try:
        return load(path, [name], explain=True)[name]
    except LibbpfError as error:
        words = [line for line in error.log.splitlines() if line and not line.startswith(("libbpf:", "processed "))]
        return f"refused: {words[-1] if words else error}"


def try_to_load(path: Path, names: Iterable[str]) -> Statistics:
    """Nothing, when one of them is refused."""
    try:
        return load(path, names, explain=False)
    except LibbpfError:
        return {}


def load(path: Path, names: Iterable[str], *, explain: bool) -> Statistics:
    wanted = set(names)
    with BpfObject(path) as bpf_object:
        if bpf_object.has_variable("slot_count"):  # the guards make no records
            prepare_records(bpf_object, slots=SLOTS, urgent_bytes=RING_BYTES, limits=LimiterSettings())
        for name in bpf_object.program_names():
            bpf_object.set_autoload(name, enabled=name in wanted)
        bpf_object.load(explain=explain)
        return {name: read_verified(bpf_object.program_fd(name)) for name in sorted(wanted)}


def read_verified(program_fd: int) -> int:
    info, length = ctypes.create_string_buffer(INFO_BYTES), ctypes.c_uint32(INFO_BYTES)
    if load_library().bpf_obj_get_info_by_fd(program_fd, info, ctypes.byref(length)):
        raise OSError("the kernel tells nothing about a program that it has loaded")
    return int.from_bytes(info.raw[VERIFIED_AT : VERIFIED_AT + 4], "little")


def compare(recorded: Mapping[str, int | None], measured: Statistics) -> Iterator[str]:
    """What has become worse, and what the record does not know; a program that was refused before may be so now."""
    for name, now in measured.items():
        before = recorded.get(name, 0)
        if name not in recorded:
            yield f"{name}: not recorded; {now}"
        elif isinstance(now, str):
            if before is not None:
                yield f"{name}: {before} verified instructions before, {now}"
        elif before is not None and now > before * (1 + TOLERANCE) + TOLERATED_INSTRUCTIONS:
            yield f"{name}: {before} verified instructions before, {now} now"
    yield from (f"{name}: recorded, and no such program" for name in recorded.keys() - measured.keys())
