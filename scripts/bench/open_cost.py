#!/usr/bin/python3
"""What the file-open sensor costs: an open+close of a file that no rule names, a getpid, and a find with reads.

Prints a table (docs/performance.md keeps one) and fails when a target of the project is missed.
Run as root, on a quiet machine: ``python -m scripts.bench.open_cost``.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from monitor.bpf import tracefs
from monitor.bpf.libbpf import BpfObject
from monitor.model.interest import OpenPattern, PatternKind
from monitor.rules.loader import load_rules
from monitor.shipped import get_shipped_rules
from scripts.bench.pairing import Loop, Result, Variant, measure
from tests.support.open_sensor import OpenSensor

FOLDER = Path(__file__).resolve().parent
ABOVE_FLOOR_MAX = 0.06
TARGETS = {"cast": 1.20, "typed": 1.25}
"""By variant of the sensor: casts need a kernel from 6.2 on."""
FIND_TARGET = 1.06


class Empty:
    """Programs that do nothing, on the same tracepoints."""

    def __init__(self, folder: Path) -> None:
        target = folder / "empty.bpf.o"
        subprocess.run(
            ["clang", "--target=bpf", "-O2", "-g", "-Wall", "-c", FOLDER / "open_empty.bpf.c", "-o", target], check=True
        )
        self.object = BpfObject(target)
        self.object.load()
        self._events = {name: section.rsplit("/", 1)[1] for name, section in self.object.program_names().items()}

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        for program, event in self._events.items():
            number = tracefs.read_tracepoint_id("syscalls", event)
            self.object.attach_perf_event(program, tracefs.open_tracepoint_event(number))
        try:
            yield
        finally:
            for program in self._events:
                self.object.detach(program)


def find_patterns() -> list[OpenPattern]:
    """What the shipped rules ask of the kernel."""
    return list(load_rules([get_shipped_rules()]).open_patterns)


def find_others() -> set[int]:
    """Processes that have programs on system-call tracepoints too: the base would pay for them."""
    listed = subprocess.run(["bpftool", "-j", "perf"], capture_output=True, text=True, check=False).stdout
    return {
        entry["pid"]
        for entry in json.loads(listed or "[]")
        if entry.get("tracepoint", "").startswith("sys_exit_open") and entry["pid"] != os.getpid()
    }


class Quiet:
    """Takes readings while nobody else watches opens; waits for that, but not for ever."""

    def __init__(self, wait_s: float) -> None:
        self._until = time.monotonic() + wait_s
        self.disturbed = 0

    def read(self, order: Callable[[], float]) -> float:
        while True:
            while find_others() and time.monotonic() < self._until:
                time.sleep(0.5)
            answer = order()
            if not find_others():
                return answer
            if time.monotonic() >= self._until:
                self.disturbed += 1
                return answer


def report(what: str, results: list[Result]) -> None:
    print(f"\n| {what} | ratio, median [p25-p75] | added ns | base ns |\n|---|---|---|---|")
    for result in results:
        print(result.row())


def judge(results: list[Result], targets: dict[str, float]) -> list[str]:
    by_name = {result.name: result.ratio for result in results}
    failures = [
        f"{name}: {by_name[name]:.3f} is above {target}" for name, target in targets.items() if by_name[name] > target
    ]
    if by_name["cast"] > by_name["empty"] + ABOVE_FLOOR_MAX:
        failures.append(f"cast: {by_name['cast']:.3f} is more than {ABOVE_FLOOR_MAX} above the empty program")
    return failures


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--count", type=int, default=100_000, help="opens in one reading")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--wait", type=float, default=300, help="seconds to wait for others to stop watching opens")
    parser.add_argument("--find", type=Path, help="also open and read every file below this directory, e.g. /usr")
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    patterns = find_patterns()
    kinds = ", ".join(f"{sum(p.kind is kind for p in patterns)} {kind.name.lower()}" for kind in PatternKind)
    print(f"{len(patterns)} patterns of the shipped rules: {kinds}; load average {os.getloadavg()[0]:.1f}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        loop = stack.enter_context(Loop(FOLDER / "open_loop.c", folder / "loop", options.cpu))
        empty = Empty(folder)
        sensors = {name: stack.enter_context(OpenSensor(name, attach=False)) for name in TARGETS}
        for sensor in sensors.values():
            sensor.watch(patterns)
        variants = [Variant("empty", empty.attached)]
        variants += [Variant(name, sensor.attached) for name, sensor in sensors.items()]
        file = folder / "a" / "b" / "c" / "plain"
        file.parent.mkdir(parents=True)
        file.write_text("something")
        quiet = Quiet(options.wait)

        def run(order: str, variants: list[Variant]) -> list[Result]:
            return measure(lambda: quiet.read(lambda: loop.order(order)), variants, options.rounds)

        opens = run(f"open {file} {options.count}", variants)
        report("open+close", opens)
        calls = run(f"getpid - {options.count * 4}", variants)
        report("getpid", calls)
        failures = judge(opens, TARGETS)
        quiet.read(lambda: loop.order("grow - 1"))
        report("open+close, table of descriptors grown", run(f"open {file} {options.count}", variants))
        if options.find:
            found = run(f"find {options.find} 1", variants)
            report(f"find {options.find} and read", found)
            failures += [f"find: {r.ratio:.3f}" for r in found if r.name == "cast" and r.ratio > FIND_TARGET]
    if quiet.disturbed:
        print(f"\n{quiet.disturbed} readings while others watched opens too: their base is too high")
    for failure in failures:
        print(f"missed: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
