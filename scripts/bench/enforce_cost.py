#!/usr/bin/python3
"""What the denial policy costs: the matcher alone, the scan of arguments, an exec under tier kill, a policy switch.

Prints a table (docs/performance.md keeps it). The matcher and the scan are run in the kernel many times over by the
test's twin of the denying programs (tests/kernel/policy_twin.bpf.c); the exec is the real program's, by bpf_stats,
with rules that nothing fulfils. Run as root, on a quiet machine: ``python -m scripts.bench.enforce_cost``.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from monitor.bpf.kernel_policy import KernelPolicyWriter
from monitor.bpf.libbpf import BpfObject
from monitor.model.kernel_policy import ContainerTerms
from monitor.model.rule import Rule, Severity
from monitor.rules.ir import And, AnyNode, Text
from monitor.rules.kernel_policy import KernelPolicy, build_policy, build_rule_terms
from monitor.wire import _layout as layout
from tests.support.enforcement import CONTAINER_SLOT, denying
from tests.support.policy_twin import Facts, PolicyTwin, lie

FOLDER = Path(__file__).resolve().parent
STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
TERMS = (1, 32, 256, 1024)
PATH = b"/usr/lib/x86_64-linux-gnu/some/where/program"
ARGS = [b"/usr/bin/program", b"--some-option=value", b"--another", b"/a/file/somewhere/in/a/folder", b"x" * 22]
EXEC_PROGRAMS = ("on_exec_kill", "on_policy_exec")


def build(count: int, make: Callable[[int], AnyNode]) -> KernelPolicy:
    """A policy of so many rules, one term each."""
    terms = []
    for number in range(count):
        rule = Rule(id=str(number), name=f"rule_{number}", title="", severity=Severity.HIGH, status="stable")
        terms += build_rule_terms(rule, "process_creation", make(number))
    return build_policy(terms)


def about_programs(number: int) -> AnyNode:
    """By turns how a program's path begins and how it ends."""
    if number % 2:
        return Text("process.executable", "suffix", (f"/tool{number}",))
    return Text("process.executable", "prefix", (f"/opt/vendor{number}/",))


def about_everything(number: int) -> AnyNode:
    """Programs, every fourth with its parent, every eighth with arguments."""
    tests = [about_programs(number)]
    if number % 4 == 0:
        tests.append(Text("process.parent.executable", "suffix", (f"/parent{number}",)))
    if number % 8 == 0:
        tests.append(Text("process.command_line", "contains", (f"--evil{number}",)))
    return And(tuple(tests))


def put_in_force(writer: KernelPolicyWriter, policy: KernelPolicy) -> float:
    """Switch to a policy; milliseconds that it took. On the host nothing is enforced."""
    inside = ContainerTerms(policy.everything, policy.everything)
    containers = {layout.POLICY_HOST: ContainerTerms(policy.everything, 0), CONTAINER_SLOT: inside}
    begin = time.perf_counter()
    writer.apply(policy.tables, containers)
    return (time.perf_counter() - begin) * 1e3


def row(what: str, readings: list[float], unit: str, wanted: str = "") -> None:
    low, median, high = statistics.quantiles(readings, n=4)
    print(f"| {what} | {median:.0f} {unit} [{low:.0f}-{high:.0f}] | {wanted} |", flush=True)


def measure_matcher(twin: PolicyTwin, options: argparse.Namespace) -> None:
    """The terms of a path that has been walked: events, container, two tries, the AND."""
    for count in TERMS:
        put_in_force(twin.policy, build(count, about_programs))
        twin.tell(Facts(paths=(PATH,)))
        readings = [twin.time("twin_time_matcher", options.count) for _ in range(options.rounds)]
        row(f"matcher, path of {len(PATH)} bytes, {count:,} terms", readings, "ns", "80 ns" if count == 1024 else "")


def measure_arguments(twin: PolicyTwin, options: argparse.Namespace) -> None:
    """Read and judge argv, with the automaton of a full policy."""
    put_in_force(twin.policy, build(1024, about_everything))
    args = lie(ARGS)
    twin.tell(Facts(args=args, args_count=len(ARGS)))
    readings = [twin.time("twin_time_arguments", options.count // 10) for _ in range(options.rounds)]
    row(f"scan of {len(args)} bytes of arguments", readings, "ns", "1000 ns")


def measure_switch(twin: PolicyTwin, options: argparse.Namespace) -> None:
    """Write 1,024 terms over 1,024 others, and switch."""
    policies = [build(1024, lambda number: about_everything(number + 1024)), build(1024, about_everything)]
    readings = [put_in_force(twin.policy, policies[turn % 2]) for turn in range(options.rounds)]
    row("switch to another policy of 1,024 terms", readings, "ms", "200 ms")


@contextlib.contextmanager
def counting() -> Iterator[None]:
    """The kernel takes the time of BPF programs meanwhile."""
    before = STATS.read_text()
    STATS.write_text("1")
    try:
        yield
    finally:
        STATS.write_text(before)


def read_stats(loaded: BpfObject, program: str) -> Mapping[str, int]:
    """Nanoseconds and runs of a program so far."""
    text = Path(f"/proc/self/fdinfo/{loaded.program_fd(program)}").read_text()
    return {name: int(value) for name, value in (line.split(":") for line in text.splitlines() if line[:4] == "run_")}


def measure_exec(options: argparse.Namespace) -> None:
    """The real programs of tier kill, on execs of a static program: nanoseconds an exec."""
    with denying("kill") as denier, counting(), tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "true"
        subprocess.run(["gcc", "-O2", "-static", "-o", program, FOLDER / "static_true.c"], check=True)
        loaded = denier.enforcement.object
        for count in TERMS:
            put_in_force(denier.enforcement.policy, build(count, about_everything))
            readings = [spawn_and_read(loaded, program, options.execs) for _ in range(options.rounds)]
            wanted = "1500 ns" if count == 1024 else ""
            row(f"exec under tier kill, {count:,} terms that it does not fulfil", readings, "ns", wanted)


def spawn_and_read(loaded: BpfObject, program: Path, execs: int) -> float:
    """What the programs on exec cost for one of these."""
    before = [read_stats(loaded, name) for name in EXEC_PROGRAMS]
    for _ in range(execs):
        os.waitpid(os.posix_spawn(program, [program, "--an", "argument"], {}), 0)
    after = [read_stats(loaded, name) for name in EXEC_PROGRAMS]
    return sum(
        (new["run_time_ns"] - old["run_time_ns"]) / (new["run_cnt"] - old["run_cnt"])
        for old, new in zip(before, after, strict=True)
    )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--count", type=int, default=20_000, help="runs of the matcher in one reading")
    parser.add_argument("--execs", type=int, default=300, help="execs in one reading")
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    print(f"load average {os.getloadavg()[0]:.1f}\n\n| what | median [p25-p75] | at most |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, PolicyTwin(Path(folder)) as twin:
        measure_matcher(twin, options)
        measure_arguments(twin, options)
        measure_switch(twin, options)
    measure_exec(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
