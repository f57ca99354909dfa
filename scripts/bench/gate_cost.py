"""What tier hold costs an exec: one that is asked for each time, one that is known, one that is new; paired with none.

``python -m scripts.bench.gate_cost [--rounds N]``: needs root, gcc and busybox-static. Marks its own overlay alone.
"""

import argparse
import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from monitor.gate.wire import Report
from monitor.rules.ir import And, AnyNode, Number, Text
from scripts.bench.pairing import Result, Variant, measure
from tests.support.gate import ROOT, GateHouse, make_hold_root
from tests.support.sandbox import Sandbox, find_modes

HERE = Path(__file__).resolve().parent
SPAWNS = 400
NAMES = 200
BY_USER: tuple[str, AnyNode] = ("process_creation", Number("user.id", "eq", 4321))
BY_PARENT: tuple[str, AnyNode] = (
    "process_creation",
    And((Text("process.parent.name", "exact", ("nginx",)), Text("process.name", "suffix", ("true", "0")))),
)
BY_NAME = [("process_creation", Text("process.executable", "prefix", (f"/opt/{number}/",))) for number in range(500)]


def build(sandbox: Sandbox) -> None:
    """The spawn loop and the program that it runs, static, in the overlay's root and as many copies."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("spawn_loop", "static_true"):
            out = Path(folder, name)
            subprocess.run(["gcc", "-O2", "-static", "-o", out, HERE / f"{name}.c"], check=True)
            sandbox.inside(f"{ROOT}/{name}").write_bytes(out.read_bytes())
            sandbox.inside(f"{ROOT}/{name}").chmod(0o755)


def spawn(sandbox: Sandbox, program: str, count: int, names: int = 0) -> float:
    """Microseconds a spawn. In a root directory of its own, as in a container."""
    words = ["chroot", ROOT, "/spawn_loop", program, str(count), "-1", "0", *([str(names)] if names else [])]
    return float(sandbox.run(words, timeout_s=120).stdout) / 1000


def spawn_new(sandbox: Sandbox) -> float:
    """The same, each program for the first time."""
    copies = f"for i in $(seq 0 {NAMES - 1}); do cp {ROOT}/static_true {ROOT}/new$i; done"
    sandbox.run(["sh", "-c", f"rm -f {ROOT}/new*; {copies}"])
    return spawn(sandbox, "/new", NAMES, NAMES)


def variant(name: str, house: GateHouse, reports: dict[str, Report], *rules: tuple[str, AnyNode]) -> Variant:
    """Rules in force for a while; none of them denies."""

    @contextlib.contextmanager
    def in_force() -> Iterator[None]:
        house.put(*rules)
        before = house.report()
        yield
        after = house.report()
        assert not house.denials and not after.breaches
        print(f"  {name}: {after.held - before.held} held, slowest answer so far {after.slowest_us} us", flush=True)
        reports[name] = after
        house.put()

    return Variant(name, in_force)


def show(results: list[Result]) -> None:
    """As a table."""
    print("\n| variant | ratio | added us | base us |\n|---|---|---|---|")
    for result in results:
        print(result.row())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    with Sandbox(find_modes()[0]) as sandbox:
        make_hold_root(sandbox)
        build(sandbox)
        with GateHouse(sandbox.inside(ROOT)) as house:
            reports: dict[str, Report] = {}
            known = [
                variant("asked each time: a user", house, reports, BY_USER),
                variant("asked each time: a parent, of 501 rules", house, reports, BY_PARENT, *BY_NAME),
                variant("known: 500 rules about names", house, reports, *BY_NAME),
            ]
            results = measure(lambda: spawn(sandbox, "/static_true", SPAWNS), known, rounds)
            new = [variant("first exec: 500 rules about names", house, reports, *BY_NAME)]
            results += measure(lambda: spawn_new(sandbox), new, rounds)
    show(results)


if __name__ == "__main__":
    main()
