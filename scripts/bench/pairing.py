"""Paired measurements: each reading of a variant stands between two readings of the base.

Machines drift by more than what we look for, so only ratios of neighbours count:
before, with, after; the ratio is with / mean(before, after). Rounds take the
variants in turn. Reported are the median and the quartiles over the rounds.
"""

import statistics
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

Reading = Callable[[], float]
"""Runs the load once and answers its cost (any unit)."""


@dataclass(frozen=True, slots=True)
class Variant:
    """Something to be measured against nothing."""

    name: str
    in_force: Callable[[], AbstractContextManager[object]]
    """Puts it in force while the context lasts."""


@dataclass(slots=True)
class Result:
    """What one variant cost."""

    name: str
    ratios: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    bases: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def quartiles(self) -> tuple[float, float]:
        low, _, high = statistics.quantiles(self.ratios, n=4)
        return low, high

    def row(self) -> str:
        low, high = self.quartiles
        base, added = statistics.median(self.bases), statistics.median(self.added)
        return f"| {self.name} | {self.ratio:.3f} [{low:.3f}-{high:.3f}] | {added:+.0f} | {base:.0f} |"


def measure(read: Reading, variants: Sequence[Variant], rounds: int) -> list[Result]:
    """Measure each variant ``rounds`` times, the variants interleaved."""
    results = [Result(variant.name) for variant in variants]
    read()  # warm
    for _ in range(rounds):
        before = read()
        for variant, result in zip(variants, results, strict=True):
            with variant.in_force():
                during = read()
            after = read()
            base = (before + after) / 2
            result.ratios.append(during / base)
            result.added.append(during - base)
            result.bases.append(base)
            before = after
    return results


class Loop:
    """A load program of this folder, compiled on the spot, pinned to one CPU, that takes orders on standard input."""

    def __init__(self, source: Path, program: Path, cpu: int) -> None:
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
        self._process = subprocess.Popen(
            ["taskset", "-c", str(cpu), program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def tgid(self) -> int:
        return self._process.pid

    def order(self, line: str) -> float:
        """Send one order; the answer is in nanoseconds."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = float(self._process.stdout.readline())
        if answer < 0:
            raise OSError(f"the load program failed: {line}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)
