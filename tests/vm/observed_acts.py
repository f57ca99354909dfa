"""Run in the guest: the service, the acts that it is to see, and its status. Standard library only.

Writes to the folder given as first argument: ``events.jsonl`` (what ``stockade run -o json`` printed), ``service.log``,
``status.json``, and ``acts.json``, what was done and by which process.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.support.oci import Wish, build_spec, find_runtimes
from tests.support.rootfs import build_rootfs

READY_WAIT_S = 120
STOP_WAIT_S = 30
WORK = Path("/srv/a folder")
BUNDLE = Path("/run/bundle")
"""On a tmpfs: quick, and a root file system of its own."""


def wait_ready(readiness: socket.socket, service: "subprocess.Popen[bytes]") -> None:
    readiness.settimeout(0.5)
    end = time.monotonic() + READY_WAIT_S
    while time.monotonic() < end and service.poll() is None:
        try:
            if b"READY=1" in readiness.recv(4096).split(b"\n"):
                return
        except TimeoutError:
            continue
    raise SystemExit(f"the service did not become ready; exit status: {service.poll()}")


def start_service(results: Path) -> "subprocess.Popen[bytes]":
    """With its state (the compiled rules) on the host's side, the rest in the guest's /run."""
    notify = "/run/notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as readiness:
        readiness.bind(notify)
        service = subprocess.Popen(
            [sys.executable, "-m", "monitor.cli.main", "run", "-o", "json", f"--state-dir={results / 'state'}"],
            stdout=(results / "events.jsonl").open("wb"),
            stderr=(results / "service.log").open("wb"),
            env={**os.environ, "NOTIFY_SOCKET": notify},
        )
        wait_ready(readiness, service)
    return service


def run(*command: str | Path, folder: Path = WORK) -> int:
    """Run to its end; answer its pid."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    process.wait()
    return process.pid


def run_missing() -> int:
    """A process that fails to run a program and ends with status 3."""
    pid = os.fork()
    if not pid:
        try:
            os.execv("/nonexistent", ["nonexistent"])
        finally:
            os._exit(3)
    os.waitpid(pid, 0)
    return pid


def run_container() -> str:
    """``cat /etc/shadow`` in a container of runc or crun; answer the container's id."""
    runtime, identifier = find_runtimes()[0], secrets.token_hex(32)
    build_rootfs(BUNDLE / "rootfs", {})
    wish = Wish(id=identifier, cgroup_path=f"/docker/{identifier}")
    (BUNDLE / "config.json").write_text(json.dumps(build_spec(runtime, "v2", ["cat", "/etc/shadow"], wish)))
    subprocess.run([runtime, "run", f"--bundle={BUNDLE}", identifier], stdout=subprocess.DEVNULL, check=True)
    return identifier


def act() -> dict[str, object]:
    WORK.mkdir()
    copied = WORK / "copied"
    shutil.copy("/bin/true", copied)
    return {
        "parent": os.getpid(),
        "echo": run("/bin/echo", "two words", ""),
        "cat": run("/bin/cat", "/etc/shadow"),
        "copied": run(copied),
        "missing": run_missing(),
        "container_id": run_container(),
    }


def main() -> None:
    results = Path(sys.argv[1])
    service = start_service(results)
    (results / "acts.json").write_text(json.dumps(act()))
    with (results / "status.json").open("wb") as status:
        subprocess.run([sys.executable, "-m", "monitor.cli.main", "status", "-o", "json"], stdout=status, check=True)
    service.send_signal(signal.SIGTERM)
    raise SystemExit(service.wait(STOP_WAIT_S))


if __name__ == "__main__":
    main()
