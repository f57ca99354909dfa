"""What tier hold costs an exec: one that is asked for each time, one that is known, one that is new; against none.

``python -m scripts.bench.gate_cost [--rounds N]``: needs root, gcc and busybox-static. Marks its own overlay alone. The
variants take turns, each spawn is timed by itself, and loop and gate run before other work (SCHED_FIFO): what else the
machine does meanwhile is not what is measured.
"""

import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path

from monitor.rules.ir import And, AnyNode, Number, Text
from tests.support.gate import ROOT, GateHouse, make_hold_root
from tests.support.sandbox import Sandbox, find_modes

HERE = Path(__file__).resolve().parent
SPAWNS = 150
WARM = 5
Rules = tuple[tuple[str, AnyNode], ...]
BY_NAME: Rules = tuple(
    ("process_creation", Text("process.executable", "prefix", (f"/opt/{number}/",))) for number in range(500)
)
BY_USER: Rules = (("process_creation", Number("user.id", "eq", 4321)),)
BY_PARENT: Rules = (
    (
        "process_creation",
        And((Text("process.parent.name", "exact", ("nginx",)), Text("process.name", "suffix", ("true",)))),
    ),
    *BY_NAME,
)
KNOWN: dict[str, Rules] = {
    "asked each time: a rule about a user": BY_USER,
    "asked each time: a rule about a parent, and 500 others": BY_PARENT,
    "known: 500 rules about names": BY_NAME,
}
NEW: dict[str, Rules] = {"first exec: 500 rules about names": BY_NAME}


def build(sandbox: Sandbox) -> None:
    """The loop and the program that it runs, static, in the overlay."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("spawn_times", "static_true"):
            out = Path(folder, name)
            subprocess.run(["gcc", "-O2", "-static", "-o", out, HERE / f"{name}.c"], check=True)
            sandbox.inside(f"{ROOT}/{name}").write_bytes(out.read_bytes())
            sandbox.inside(f"{ROOT}/{name}").chmod(0o755)


def spawn(sandbox: Sandbox, *words: str) -> list[float]:
    """Microseconds of each spawn. In a root directory of its own, as in a container."""
    shown = sandbox.run(["chrt", "--fifo", "10", "chroot", ROOT, "/spawn_times", *words], timeout_s=120).stdout
    return [float(line) / 1000 for line in shown.split()]


def spawn_known(sandbox: Sandbox) -> list[float]:
    """The same program again and again; the first ones make it known."""
    return spawn(sandbox, "/static_true", str(SPAWNS + WARM))[WARM:]


def spawn_new(sandbox: Sandbox) -> list[float]:
    """Each program for the first time."""
    copies = f"rm -f {ROOT}/new*; for i in $(seq 0 {SPAWNS}); do cp {ROOT}/static_true {ROOT}/new$i; done"
    sandbox.run(["sh", "-c", copies], timeout_s=120)
    return spawn(sandbox, "/new", str(SPAWNS), "numbered")


def show(times: dict[str, list[float]]) -> None:
    """As rows of a table; the first is what the others are compared with."""
    base = statistics.quantiles(next(iter(times.values())), n=4)
    for name, spawns in times.items():
        low, middle, high = statistics.quantiles(spawns, n=4)
        added = " ".join(f"{mine - other:+.0f}" for mine, other in zip((low, middle, high), base, strict=True))
        print(f"| {name} | {middle:.0f} [{low:.0f}-{high:.0f}] | {added} | {middle / base[1]:.3f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    print("| variant | us a spawn, median [quartiles] | added to the quartiles | ratio |\n|---|---|---|---|")
    with Sandbox(find_modes()[0]) as sandbox:
        make_hold_root(sandbox)
        build(sandbox)
        with GateHouse(sandbox.inside(ROOT)) as house:
            subprocess.run(["chrt", "--fifo", "--pid", "11", str(house.gate_tgid)], check=True)
            for read, variants in ((spawn_known, KNOWN), (spawn_new, NEW)):
                times: dict[str, list[float]] = {f"{read.__name__.removeprefix('spawn_')}, no rules": []}
                for _ in range(rounds):
                    for name, rules in {next(iter(times)): (), **variants}.items():
                        house.put(*rules)
                        times.setdefault(name, []).extend(read(sandbox))
                show(times)
            report = house.report()
            assert (report.denied, report.breaches) == (0, 0)


if __name__ == "__main__":
    main()
