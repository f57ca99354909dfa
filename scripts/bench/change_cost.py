#!/usr/bin/python3
"""What the sensor for changes of files costs: a link, a rename and an unlink of names that no rule asks for.

Prints a table (docs/performance.md keeps it): by absolute names, and by names relative to the working folder, on the
file system of the temporary folder and on tmpfs, where the calls themselves cost least.
Run as root, on a quiet machine: ``python -m scripts.bench.change_cost``.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from scripts.bench.open_cost import find_patterns
from scripts.bench.pairing import Loop, Result, Variant, measure
from tests.support.change_sensor import ChangeSensor

FOLDER = Path(__file__).resolve().parent
PLACES = (None, Path("/dev/shm"))  # noqa: S108  (a tmpfs on every Linux; only a folder of our own is used)

LOOP_NAMES = ("/plain.made", "/plain.moved")


def measure_place(place: Path | None, sensor: ChangeSensor, options: argparse.Namespace) -> list[Result]:
    """Three calls a turn, in a folder five levels deep."""
    results = []
    with (
        tempfile.TemporaryDirectory(dir=place) as top,
        Loop(FOLDER / "open_loop.c", Path(top) / "loop", options.cpu) as loop,
    ):
        file = Path(top) / "a" / "b" / "c" / "plain"
        file.parent.mkdir(parents=True)
        file.write_text("something")
        loop.order(f"enter {file.parent} 1")
        for how, name in (("absolute", file), ("relative", file.name)):
            order = f"change {name} {options.count}"
            variant = Variant(f"{how} names, {place or tempfile.gettempdir()}", sensor.attached)
            results += measure(lambda order=order: loop.order(order), [variant], options.rounds)  # type: ignore[misc]
    return results


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--count", type=int, default=20_000, help="turns in one reading")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)))
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    with ChangeSensor(attach=False) as sensor:
        patterns = find_patterns()
        sensor.watch(patterns)
        asked = sum(pattern.asks_changes for pattern in patterns)
        print(f"{asked} patterns about changes; load average {os.getloadavg()[0]:.1f}\n")
        print("| link + rename + unlink | ratio, median [p25-p75] | added ns | base ns |\n|---|---|---|---|")
        for place in PLACES:
            for result in measure_place(place, sensor, options):
                print(result.row())
        sent = sum(event.path.endswith(LOOP_NAMES) for event in sensor.read_all())
        if sent:
            print(f"{sent} records were sent: the loop's names are asked for by a rule", file=sys.stderr)
    return 1 if sent else 0


if __name__ == "__main__":
    sys.exit(main())
