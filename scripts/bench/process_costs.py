"""What the running service costs and how soon it tells: exec loops, start-up, latency, memory, idle, loss, replay."""

import contextlib
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgpack

from scripts.bench.pairing import Variant, measure
from scripts.bench.service import CHECKOUT, running_service

HERE = Path(__file__).resolve().parent
SPAWNS = 1500


def build(folder: Path) -> tuple[Path, Path]:
    """The spawn loop and the static program that it runs."""
    loop, program = folder / "spawn_loop", folder / "static_true"
    subprocess.run(["gcc", "-O2", "-o", loop, HERE / "spawn_loop.c"], check=True)
    subprocess.run(["gcc", "-O2", "-static", "-o", program, HERE / "static_true.c"], check=True)
    return loop, program


def run_loops(loop: Path, program: Path, cpus: list[int], count: int = SPAWNS) -> float:
    """Nanoseconds a spawn, the mean of all loops."""
    running = [subprocess.Popen([loop, program, str(count), str(cpu)], stdout=subprocess.PIPE, env={}) for cpu in cpus]
    return statistics.mean(float(process.communicate()[0]) for process in running)


def measure_exec_ratio(loop: Path, program: Path, cpus: list[int], rounds: int, state: Path) -> dict:
    """The spawn loops with the service against those without, paired; and the service's CPU for each spawn."""
    cpu_us: list[float] = []

    @contextlib.contextmanager
    def in_force() -> Iterator[None]:
        with running_service(state_dir=state) as service:
            run_loops(loop, program, cpus, 100)
            used = service.cpu_s()
            yield
            cpu_us.append((service.cpu_s() - used) * 1e6 / (SPAWNS * len(cpus)))

    (result,) = measure(
        lambda: run_loops(loop, program, cpus), [Variant("service, all shipped rules", in_force)], rounds
    )
    low, high = result.quartiles
    return {
        "ratio": [round(low, 3), round(result.ratio, 3), round(high, 3)],
        "service_cpu_us": round(statistics.median(cpu_us), 1),
        "base_us": round(statistics.median(result.bases) / 1000),
    }


@contextlib.contextmanager
def subscribed(run_dir: Path, **request: object) -> Iterator[Callable[[], dict]]:
    """A subscriber of the stream; answers a function that reads one document."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(run_dir / "stream.sock"))
        packed = msgpack.packb({"op": "subscribe", "version": 1, "follow": True, **request})
        client.sendall(struct.pack(">I", len(packed)) + packed)
        file = client.makefile("rb")

        def read() -> dict:
            length = struct.unpack(">I", file.read(4))[0]
            return msgpack.unpackb(file.read(length), strict_map_key=False)

        assert "hello" in read()
        yield read


def measure_latency(loop: Path, folder: Path, state: Path, seconds: float = 6) -> dict:
    """Exec (the kernel's stamp) to alert on the socket, at 500 execs a second of which each alerts.

    Each exec is of a program of its own (hard links), so that no alert is held back as a repeat.
    """
    count = int(500 * seconds)
    programs = folder / "alerting"
    programs.mkdir()
    for number in range(count):
        os.link(folder / "static_true", programs / f"p{number}")
    rules = folder / "latency-rules"
    rules.mkdir()
    (rules / "latency.yml").write_text(
        "title: Bench\nid: 6f0d4f0e-3a3b-4d43-9d6a-0d8f3e6c1a11\nstatus: test\ndescription: bench\n"
        "logsource: {product: linux, category: process_creation}\n"
        f"detection: {{s: {{Image|startswith: {programs}/}}, condition: s}}\nlevel: low\n"
    )
    delays = []
    with (
        running_service(f"--rules={rules}", state_dir=state) as service,
        subscribed(service.run_dir, alerts=True) as read,
    ):
        process = subprocess.Popen(
            [loop, f"{programs}/p", str(count), "-1", "2000000", str(count)], stdout=subprocess.DEVNULL, env={}
        )
        while len(delays) < count:
            document = read()
            now = time.clock_gettime_ns(time.CLOCK_REALTIME)
            delays.append((now - _wall_ns(document)) / 1e6)
        process.wait()
    delays.sort()
    return {"p50_ms": delays[count // 2], "p99_ms": delays[int(count * 0.99)], "alerts": len(delays)}


def _wall_ns(document: dict) -> int:
    text = document["@timestamp"].rstrip("Z")
    whole, _, fraction = text.partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0")[:9])


def measure_ready(state: Path, starts: int = 7) -> list[float]:
    """Seconds from fork to READY=1, the rule cache warm."""
    with running_service(state_dir=state):
        pass
    seconds = []
    for _ in range(starts):
        with running_service(state_dir=state) as service:
            seconds.append(round(service.ready_s, 3))
    return seconds


def measure_idle(state: Path, seconds: float = 10) -> float:
    """CPU of the idle service, percent of one core."""
    with running_service(state_dir=state) as service:
        time.sleep(2)
        used = service.cpu_s()
        time.sleep(seconds)
        return round(100 * (service.cpu_s() - used) / seconds, 2)


def measure_memory(loop: Path, program: Path, state: Path, events: int) -> dict:
    """PSS after so many events (a spawn is three)."""
    with running_service(state_dir=state):
        pass  # compiles the rules, which is the one start that imports pySigma
    with running_service(state_dir=state) as service:
        begin = service.pss_bytes()
        loops = [
            subprocess.Popen([loop, program, str(events // 6), str(cpu)], stdout=subprocess.DEVNULL, env={})
            for cpu in (0, 1)
        ]
        for process in loops:
            process.wait()
        time.sleep(1)
        status = service.status()
        return {
            "begin_mib": round(begin / 2**20, 1),
            "end_mib": round(service.pss_bytes() / 2**20, 1),
            "events": sum(rate["count"] for rate in status["events"].values()),
            "lost": status["lost"]["total"],
            "limited": status["limited"]["total"],
        }


def measure_hostile_memory(program: Path, state: Path, spawns: int) -> dict:
    """PSS in a flood made to fill tables: each program under a name of its own, 4 KiB of arguments that never
    repeat, few and long or many and short, and an open of a watched file."""
    with running_service(state_dir=state) as service:
        begin = service.pss_bytes()
        flooding = [
            subprocess.Popen([sys.executable, HERE / "hostile_flood.py", program, str(spawns // 2), str(cpu)])
            for cpu in (0, 1)
        ]
        peak = begin
        while any(process.poll() is None for process in flooding):
            peak = max(peak, service.pss_bytes())
            time.sleep(1)
        status = service.status()
        return {
            "begin_mib": round(begin / 2**20, 1),
            "peak_mib": round(max(peak, service.pss_bytes()) / 2**20, 1),
            "events": sum(rate["count"] for rate in status["events"].values()),
            "lost": status["lost"]["total"],
            "limited": status["limited"]["total"],
        }


def measure_loss(loop: Path, program: Path, state: Path, seconds: float) -> dict:
    """The fastest exec loops that two cores make: what is lost."""
    with running_service(state_dir=state) as service:
        end = time.monotonic() + seconds
        spawns = 0
        while time.monotonic() < end:
            run_loops(loop, program, [0, 1], 5000)
            spawns += 10_000
        time.sleep(1)
        status = service.status()
    return {
        "spawns": spawns,
        "per_s": round(spawns / seconds),
        "lost": status["lost"]["total"],
        "limited": status["limited"]["total"],
    }


def measure_replay(loop: Path, program: Path, folder: Path, state: Path) -> dict:
    """Records a second of fork, exec and exit through decode, enrich, detect, score."""
    recording = folder / "recording"
    recorder = subprocess.Popen(
        [sys.executable, "-m", "monitor.cli.main", "record", recording, f"--state-dir={state}", "--duration=8"],
        cwd=CHECKOUT, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert recorder.stderr
    recorder.stderr.readline()
    run_loops(loop, program, [0, 1], 4000)
    recorder.wait()
    rates = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-m", "monitor.cli.main", "replay", recording, f"--state-dir={state}", "-o", "none"],
            cwd=CHECKOUT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        rates.append(_rate(done.stderr))
    return {"records_per_s": sorted(rates)}


def _rate(text: str) -> int:
    """From "N events in S s, R a second"."""
    return int(text.strip().splitlines()[-1].split(" s, ")[1].split(" a second")[0].replace(",", ""))


def main() -> None:
    """Measure all, print JSON lines."""
    rounds = int(os.environ.get("BENCH_ROUNDS", "9"))
    wanted = set(sys.argv[1:])
    # Not below /tmp: programs that run there raise alerts, and what is measured is ordinary work.
    (CHECKOUT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CHECKOUT / "build") as name:
        folder = Path(name)
        state = folder / "state"
        loop, program = build(folder)
        cases: dict[str, Callable[[], object]] = {
            "ready_s": lambda: measure_ready(state),
            "exec_one_core_free": lambda: measure_exec_ratio(loop, program, [0], rounds, state),
            "exec_both_cores_full": lambda: measure_exec_ratio(loop, program, [0, 1], rounds, state),
            "latency": lambda: measure_latency(loop, folder, state),
            "idle_percent": lambda: measure_idle(state),
            "replay": lambda: measure_replay(loop, program, folder, state),
            "memory": lambda: measure_memory(loop, program, state, int(os.environ.get("BENCH_EVENTS", "1000000"))),
            "hostile_memory": lambda: measure_hostile_memory(
                program, state, int(os.environ.get("BENCH_HOSTILE_SPAWNS", "60000"))
            ),
            "loss": lambda: measure_loss(loop, program, state, float(os.environ.get("BENCH_LOSS_S", "60"))),
        }
        for case, measure in cases.items():
            if not wanted or case in wanted:
                print(json.dumps({case: measure()}), flush=True)


if __name__ == "__main__":
    main()
