"""A flood of watched opens: no exec is lost, and what the bulk ring lost is counted exactly."""

import subprocess
import time
from pathlib import Path

import pytest

from monitor.bpf.open_policy import OpenPolicy, read_seed
from monitor.bpf.sensors import SensorPlan
from monitor.config.settings import LimiterSettings, RingSettings
from monitor.model.interest import OpenPattern, PatternKind
from monitor.wire import _layout as layout
from tests.support.programs import build_programs
from tests.support.sensors import watching

pytestmark = pytest.mark.kernel

UNLIMITED = LimiterSettings(bulk_per_s=100_000_000, bulk_burst=100_000_000)


@pytest.fixture(scope="module")
def open_loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_programs(Path(__file__).parent / "programs", tmp_path_factory.mktemp("programs"))["open_loop"]


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.long)])
def test_a_flood_of_watched_opens_loses_no_exec_and_is_counted_exactly(
    tmp_path: Path, open_loop: Path, seconds: int
) -> None:
    watched = tmp_path / "watched-by-this-test"
    watched.write_text("")
    plan = SensorPlan(failed_exec=False, rings=RingSettings(bulk_bytes=1 << 20), limiter=UNLIMITED)
    with watching(plan) as watcher:
        sensors = watcher.sensors
        policy = OpenPolicy(read_seed(sensors.object))
        policy.apply(policy.build([OpenPattern(PatternKind.EXACT, str(watched))]), sensors.object)
        counts: dict[int, int] = {}

        def count(data: memoryview, offset: int, _length: int) -> None:
            kind = data[offset]
            counts[kind] = counts.get(kind, 0) + 1

        flood = subprocess.Popen([open_loop, watched, str(seconds)], stdout=subprocess.PIPE, text=True)
        spawned = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            subprocess.run(["/bin/true"], check=True)
            spawned += 1
            while sensors.urgent.drain(count, 256):
                pass
            sensors.bulk.drain(count, 64)
        opened = int(flood.communicate()[0])
        while sensors.urgent.drain(count, 10_000) + sensors.bulk.drain(count, 1_000_000):
            pass
        lost: dict[str, int] = {}
        for report in sensors.read_losses(1):
            lost[report.event_type] = lost.get(report.event_type, 0) + report.count
        numbered = sum(sensors.read_sequences()["bulk"])

        assert set(lost) == {"file_open"}, "only opens may be lost"
        assert counts[layout.EVENT_PROCESS_EXEC] >= spawned
        assert counts[layout.EVENT_FILE_OPEN] + lost["file_open"] == numbered
        assert numbered >= opened, "every open of the flood was recorded or counted"
        assert opened / seconds > 50_000, "this was no flood"
