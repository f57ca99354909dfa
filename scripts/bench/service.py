"""The service under measurement: `stockade run` with its output thrown away, in folders of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
READY_S = 30.0


class RunningService:
    """A started service: its folders, its process, the seconds from fork to READY."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], ready_s: float) -> None:
        self.run_dir = folder / "run"
        self.pid = process.pid
        self.ready_s = ready_s

    def cpu_s(self) -> float:
        """User and system CPU time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def pss_bytes(self) -> int:
        """Proportional set size."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no Pss line")

    def status(self) -> dict:
        """`stockade status -o json`."""
        done = subprocess.run(
            [sys.executable, "-m", "monitor.cli.main", "status", "-o", "json", f"--run-dir={self.run_dir}"],
            cwd=CHECKOUT, check=True, capture_output=True,
        )  # fmt: skip
        return json.loads(done.stdout)


@contextlib.contextmanager
def running_service(*options: str, state_dir: Path | None = None) -> Iterator[RunningService]:
    """Start it, wait for READY as systemd does, stop it."""
    with tempfile.TemporaryDirectory(prefix="sb-") as name, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        folder = Path(name)
        ready.bind(str(folder / "notify"))
        ready.settimeout(READY_S)
        began = time.monotonic()
        process = subprocess.Popen(
            [
                sys.executable, "-m", "monitor.cli.main", "run", f"--run-dir={folder}/run",
                f"--state-dir={state_dir or folder / 'state'}", f"--pin-dir={folder}/bpf", *options,
            ],
            cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify")},
        )  # fmt: skip
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
            yield RunningService(folder, process, time.monotonic() - began)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
