"""The service is killed at random moments, again and again: what is denied never runs, and all of it is told.

A crash takes with it what the service had read from the kernel and not yet passed on: nothing else may be missing.
"""

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.sinks.client import ServiceConnection
from monitor.sinks.requests import SubscribeRequest
from tests.support.documents import field
from tests.support.programs import build_programs
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service

pytestmark = pytest.mark.kernel

DENY_CANARY = f"name: the_canary\n{DENY}"
LIFE_S = 0.5
"""The longest time from a service's first word to its end."""
WITH_IT_S = 0.2
"""What was read so shortly before the end may end with it."""
DYING_S = 0.05
"""A process that is killed may run that much longer. (What it leaves attached takes seconds to be ended; it reads
nothing then.)"""
SAME_S = 10.0
"""The same process number so much later is another process."""
PATIENCE_S = 10.0


class Refusal(NamedTuple):
    """An execution that was denied."""

    pid: int
    at: float
    """Seconds of the day's clock."""


class Life(NamedTuple):
    """One run of the service; seconds of the day's clock."""

    first_word: float
    killed: float
    told: list[Refusal]
    """As a subscriber heard of it."""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="stockade-"))
    for name in ("rules", "programs"):
        (path / name).mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def programs(folder: Path) -> dict[str, Path]:
    found = build_programs(Path(__file__).parent / "programs", folder / "programs", "canary", "exec_load")
    text = rule_text(f"{{s: {{Image: {found['canary']}}}, condition: s}}", extra=DENY_CANARY)
    (folder / "rules" / "the_canary.yml").write_text(text)
    return found


@pytest.fixture
def host() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as sandbox:
        yield sandbox


class Listener:
    """Hears of all denials of a service, from its start."""

    def __init__(self, service: Service) -> None:
        self._connection = ServiceConnection(service.run_dir / "stream.sock")
        self._connection.send(SubscribeRequest(last=10_000, filter="event.action: exec-denied"))
        assert "hello" in (self._connection.find_reply(PATIENCE_S) or {})
        self.told: list[Refusal] = []

    def hear(self, until: float) -> bool:
        """One more, or the time is over, or the service; whether there may be more."""
        try:
            document = self._connection.find_reply(max(0.001, until - time.monotonic()))
        except TimeoutError:
            return False
        if document is None:
            self._connection.close()
            return False
        assert "@timestamp" in document, document
        at = datetime.fromisoformat(str(document["@timestamp"])).timestamp()
        self.told.append(Refusal(field(document, "process.pid"), at))
        return True


def service(host: Sandbox, folder: Path) -> Service:
    return Service(host, "--no-shipped-rules", f"--rules={folder}/rules", "--mode=enforce", folder=folder)


def live_and_be_killed(host: Sandbox, folder: Path, life_s: float) -> Life:
    with service(host, folder) as running:
        listener = Listener(running)
        assert listener.hear(time.monotonic() + PATIENCE_S), "denials are told all the time"
        first_word, end = time.time(), time.monotonic() + life_s
        while listener.hear(end):
            pass
        killed = time.time()
        running.kill()
        while listener.hear(time.monotonic() + PATIENCE_S):
            pass
    return Life(first_word, killed, listener.told)


def may_end_with_it(refusal: Refusal, lives: list[Life]) -> bool:
    """Whether the service was killed just after it had read this."""
    life = next((life for life in lives if life.killed > refusal.at - DYING_S), None)
    return life is not None and max(refusal.at, life.first_word) >= life.killed - WITH_IT_S


def find_missing(refused: list[Refusal], told: list[Refusal]) -> list[Refusal]:
    """What was refused and not told. A crash may have something told twice."""
    times: dict[int, list[float]] = {}
    for each in told:
        times.setdefault(each.pid, []).append(each.at)
    return [each for each in refused if not any(abs(at - each.at) < SAME_S for at in times.get(each.pid, ()))]


@pytest.fixture
def load(host: Sandbox, folder: Path, programs: dict[str, Path]) -> Iterator[subprocess.Popen[bytes]]:
    """Executes the denied program and an allowed one all the time, from a moment on in which nobody runs."""
    with service(host, folder) as first:
        first.kill()
    words = ["sh", "-c", 'cd "$0" && exec "$@"', folder, programs["exec_load"], programs["canary"], "/bin/true"]
    with (folder / "refused").open("wb") as output:
        process = host.start(words, stdout=output)
    yield process
    process.kill()
    process.wait()


def end_load(load: subprocess.Popen[bytes], folder: Path) -> list[Refusal]:
    """What it saw refused."""
    load.terminate()
    assert load.wait(PATIENCE_S) == 0
    lines = (folder / "refused").read_text().splitlines()
    assert "allowed refused" not in lines
    return [Refusal(int(pid), int(at_ns) / 1e9) for pid, at_ns in (line.split() for line in lines)]


@pytest.mark.parametrize("kills", [25, pytest.param(500, marks=pytest.mark.long)])
def test_random_kills(host: Sandbox, folder: Path, load: subprocess.Popen[bytes], kills: int) -> None:
    chance = random.Random(kills)
    lives = [live_and_be_killed(host, folder, chance.uniform(0, LIFE_S)) for _ in range(kills)]
    with service(host, folder) as last:
        listener = Listener(last)
        refused = end_load(load, folder)
        end = time.monotonic() + PATIENCE_S
        while find_missing(refused[-1:], listener.told) and listener.hear(end):
            pass
        status = last.status()

    assert not (folder / "mark").exists(), "a denied program ran"
    told = [each for life in lives for each in life.told] + listener.told
    assert find_missing(told, refused) == [], "what was not refused was told"
    missing = find_missing(refused, told)
    print(f"{len(refused)} refused, {len(missing)} of them not told; {kills} kills; lost: {status['lost']}")
    counted = sum(status[what]["by_type"].get("denial", 0) for what in ("lost", "limited"))
    assert len([each for each in missing if not may_end_with_it(each, lives)]) <= counted
