"""Run the service in a sandbox as an admin would, and read what it says as a subscriber would.

:class:`Service` starts ``stockade run`` with folders of its own and waits until it reports
readiness as it does to systemd. :class:`Tail` is a ``stockade tail -o json`` process; tests wait
for documents, with a deadline, and never sleep. :func:`start_stockade` and :func:`recording` are
for what needs no sandbox.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.documents import Document, Predicate, summarize
from tests.support.enforcement import TIER
from tests.support.leftovers import DYING_WITH_US
from tests.support.sandbox import Sandbox

REPOSITORY = Path(__file__).resolve().parents[2]
READY_WAIT_S = 30.0 * float(os.environ.get("STOCKADE_TEST_PATIENCE", "1"))
"""Longer where the CPU is emulated."""
STOP_WAIT_S = 15.0
SHOWN_DOCUMENTS = 25


def stockade_command(*words: str | os.PathLike[str]) -> list[str | os.PathLike[str]]:
    """The command line of a ``stockade`` subcommand from this working tree."""
    return [sys.executable, "-m", "monitor.cli.main", *words]


def start_stockade(*words: str | os.PathLike[str]) -> subprocess.Popen[str]:
    """Start a subcommand on this machine itself; what it prints on standard error can be read."""
    return subprocess.Popen(
        [*DYING_WITH_US, *stockade_command(*words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


@contextmanager
def recording(file: Path, state_dir: Path, *, duration_s: int) -> Iterator[subprocess.Popen[str]]:
    """``stockade record``, which records by the time the block begins."""
    with start_stockade("record", file, f"--state-dir={state_dir}", f"--duration={duration_s}") as process:
        assert process.stderr
        try:
            if "recording into" not in (first := process.stderr.readline()):
                raise ServiceError(f"stockade record: {first}{process.stderr.read()}")
            yield process
        finally:
            process.kill()


class ServiceError(Exception):
    """The service did not start, or did not stop as it should; the text ends with its log."""


class Service:
    """``stockade run`` from ``__enter__`` to ``__exit__``; its end must be clean: status 0, nothing left attached."""

    def __init__(
        self, sandbox: Sandbox, *options: str | os.PathLike[str], folder: Path | None = None, tier: str = TIER
    ) -> None:
        """``folder``: of a service of before, to go on with; who gives one removes it. ``tier``: `auto` and `hold`
        mark overlays that the sandbox shows and its container runtimes: those of the test's own, see
        :func:`tests.support.gate.make_own_runtime`. Without the shipped rules, and without a ``--config``, it observes
        only what its rules ask for: each call that is watched takes 80 ms to let go of."""
        self._tier = tier
        self.sandbox = sandbox
        self._is_folder_ours = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="stockade-"))  # short: socket paths end at 107 bytes
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._tails: list[Tail] = []

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def log(self) -> str:
        """What the service wrote on standard error so far; standard output is nobody's, as under systemd."""
        return (self.folder / "log").read_text(errors="backslashreplace")

    def __enter__(self) -> Self:
        for name in ("run", "state", "bpf"):
            (self.folder / name).mkdir(exist_ok=True)
        words = [f"--run-dir={self.run_dir}", f"--state-dir={self.folder}/state", f"--pin-dir={self.folder}/bpf"]
        if "--no-shipped-rules" in self._options and not any(str(one).startswith("--config") for one in self._options):
            words.append(f"--config={self._write_config()}")
        notify = self.folder / "notify.sock"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as readiness, (self.folder / "log").open("wb") as log:
            readiness.bind(str(notify))
            self._process = self.sandbox.start(
                stockade_command("run", *words, *self._options),
                stderr=log,
                env={
                    "PYTHONPATH": str(REPOSITORY),
                    "NOTIFY_SOCKET": str(notify),
                    "STOCKADE_ENFORCEMENT_TIER": self._tier,
                },
            )
            try:
                self._wait_ready(readiness)
            except BaseException:
                self._process.kill()
                self._process.wait()
                self._remove_folder()
                raise
        return self

    def _write_config(self) -> Path:
        path = self.folder / "nothing-else.yml"
        path.write_text("observe: []\n")
        return path

    def _wait_ready(self, readiness: socket.socket) -> None:
        assert self._process
        readiness.settimeout(0.1)
        end = time.monotonic() + READY_WAIT_S
        while time.monotonic() < end:
            try:
                if b"READY=1" in readiness.recv(4096).split(b"\n"):
                    return
            except TimeoutError:
                if self._process.poll() is not None:
                    raise ServiceError(f"stockade run: exit status {self._process.returncode}\n{self.log}") from None
        raise ServiceError(f"stockade run is not ready after {READY_WAIT_S:.0f} s\n{self.log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for tail in self._tails:
                tail.stop()
            if self._process is not None:
                self._stop(must_be_clean=error is None)
        finally:
            self._remove_folder()

    def _remove_folder(self) -> None:
        if self._is_folder_ours:
            shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, *, keeps_programs: bool) -> None:
        """End it early. ``keeps_programs``: what it has pinned is meant to stay."""
        self._stop(must_be_clean=True, keeps_programs=keeps_programs)
        self._process = None

    def kill(self) -> None:
        """End it as a crash does; what it has pinned stays."""
        assert self._process
        self._process.kill()
        self._process.wait()
        self._process = None

    def _stop(self, *, must_be_clean: bool, keeps_programs: bool = False) -> None:
        assert self._process
        attached = read_bpf_ids(self.pid)
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if not must_be_clean:
            return
        if status != 0:
            raise ServiceError(f"stockade run: exit status {status} after SIGTERM\n{self.log}")
        if not keeps_programs and (left := wait_unloaded(attached)):
            raise ServiceError(f"BPF programs stayed loaded after the end: {sorted(left)}")
        if sockets := [path.name for path in self.run_dir.glob("*.sock")]:
            raise ServiceError(f"sockets left behind: {', '.join(sockets)}")

    def tail(self, *options: str, last: int = 10_000) -> "Tail":
        """Subscribe with ``stockade tail -o json``; ends with the service.

        ``last``: so many past events first, so that nothing is missed between this call and the subscription.
        """
        tail = Tail(self, ("-n", str(last), *options))
        self._tails.append(tail)
        return tail

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another subcommand against this service."""
        line = stockade_command(*words, f"--run-dir={self.run_dir}")
        return self.sandbox.run(line, check=False, env={"PYTHONPATH": str(REPOSITORY)})

    def describe_health(self) -> str:
        """What was lost or dropped, for the message of a test that misses something."""
        try:
            status = self.status()
        except ServiceError as error:
            return str(error)
        shown = ("uptime_s", "lost", "limited", "dropped", "stream", "events", "engine", "self", "notes")
        return "\n".join(f"status {name}: {status.get(name)}" for name in shown)

    def status(self) -> dict[str, Any]:
        """``stockade status -o json``. Raises ServiceError with its words when it fails."""
        done = self.command("status", "-o", "json")
        if done.returncode:
            raise ServiceError(f"stockade status: exit status {done.returncode}: {done.stderr}")
        status: dict[str, Any] = json.loads(done.stdout)
        return status


class Tail:
    """A subscriber: collects documents as they come."""

    def __init__(self, service: Service, options: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        self._process = service.sandbox.start(
            stockade_command("tail", "-o", "json", f"--run-dir={service.run_dir}", *options),
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        )
        self._service = service
        self._documents: list[Document] = []
        self._times: list[float] = []
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            document = json.loads(line)
            with self._arrived:
                self._documents.append(document)
                self._times.append(time.monotonic())
                self._arrived.notify_all()
        with self._arrived:
            self._arrived.notify_all()

    def wait_for(self, wanted: Predicate, timeout_s: float = 10) -> Document:
        """The first document that fits, waiting for it. Raises AssertionError that shows what came instead."""
        return self.wait_for_count(wanted, 1, timeout_s)[0]

    def wait_for_count(self, wanted: Predicate, count: int, timeout_s: float = 10) -> list[Document]:
        """The documents that fit, when there are ``count`` of them."""
        end, looked_at, found = time.monotonic() + timeout_s, 0, []
        with self._arrived:
            while True:
                found += [document for document in self._documents[looked_at:] if wanted(document)]
                looked_at = len(self._documents)
                if len(found) >= count:
                    return found
                if time.monotonic() > end or not self._reader.is_alive():
                    raise AssertionError(self._describe_absence(wanted, count, found))
                self._arrived.wait(min(0.5, max(0.0, end - time.monotonic())))

    def arrival_of(self, document: Document) -> float:
        """``time.monotonic()`` at which this document was read."""
        with self._arrived:
            return next(at for at, each in zip(self._times, self._documents, strict=True) if each is document)

    def matching(self, wanted: Predicate) -> list[Document]:
        """What fits among the documents that have come so far."""
        with self._arrived:
            return [document for document in self._documents if wanted(document)]

    def _describe_absence(self, wanted: Predicate, count: int, found: list[Document]) -> str:
        shown = "\n  ".join(summarize(document) for document in self._documents[-SHOWN_DOCUMENTS:])
        self._errors.seek(0)
        said = self._errors.read().decode(errors="backslashreplace")
        return (
            f"{len(found)} of {count} documents came: {wanted.__doc__ or wanted}\n"
            f"the last of {len(self._documents)} were:\n  {shown}\n"
            f"tail said: {said}\nservice said: {self._service.log[-2000:]}\n{self._service.describe_health()}"
        )

    def stop(self) -> int:
        """End it as Ctrl-C does and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._reader.join(STOP_WAIT_S)
            assert self._process.stdout
            self._process.stdout.close()
            self._errors.close()


def read_bpf_ids(pid: int) -> set[int]:
    """Ids of the BPF programs that a process holds open, directly or through links."""
    found = set()
    for info in Path(f"/proc/{pid}/fdinfo").glob("*"):
        try:
            lines = info.read_text().splitlines()
        except OSError:
            continue  # closed meanwhile
        found |= {int(line.split()[1]) for line in lines if line.startswith("prog_id:")}
    return found


def wait_unloaded(ids: set[int], timeout_s: float = 5) -> set[int]:
    """Which of these programs are still loaded after the kernel had time to free them."""
    end = time.monotonic() + timeout_s
    while True:
        shown = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True)
        left = ids & {program["id"] for program in json.loads(shown.stdout)}
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)
