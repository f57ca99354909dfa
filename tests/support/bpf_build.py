"""Builds of BPF sources that only tests load, with the compiler flags of ``ebpf/Makefile``."""

import functools
import subprocess
from pathlib import Path

EBPF = Path(__file__).resolve().parents[2] / "ebpf"


@functools.cache
def _flags() -> tuple[str, ...]:
    """The makefile's flags but for its include folders; it also writes the layout's fingerprint, which all include."""
    subprocess.run(["make", "-s", "-C", EBPF, "build/layout_fingerprint.h"], check=True)
    text = subprocess.run(["make", "-s", "-C", EBPF, "print-flags"], check=True, capture_output=True, text=True).stdout
    return tuple(flag for flag in text.split() if not flag.startswith("-I"))


def build_bpf(source: Path, target: Path, *defines: str, include: Path = EBPF / "include") -> None:
    """Compile one source. Raises CalledProcessError when it does not compile; clang says why on stderr."""
    folders = (f"-I{include}", f"-I{EBPF / 'build'}")
    subprocess.run(["clang", *_flags(), *folders, *defines, "-c", source, "-o", target], check=True)
