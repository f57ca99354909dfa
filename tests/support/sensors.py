"""The real sensors without the service: attach, act, read what the rings hold."""

import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from monitor.bpf.sensors import SensorPlan, Sensors
from monitor.host.cgroups import find_tag_hierarchy
from monitor.model.events import Event, ProcessExec
from monitor.shipped import get_sensors_object
from monitor.wire.decoder import KernelEvent, decode_record

T = TypeVar("T", bound=Event)


class Watcher:
    """Loaded sensors, and all that they have seen."""

    def __init__(self, sensors: Sensors) -> None:
        self.sensors = sensors
        self.seen: list[KernelEvent] = []
        self.raw_sequences: dict[str, list[tuple[int, int]]] = {"urgent": [], "bulk": []}

    def read(self) -> list[KernelEvent]:
        """Everything seen so far, the rings emptied."""
        for name, ring in (("urgent", self.sensors.urgent), ("bulk", self.sensors.bulk)):
            numbers = self.raw_sequences[name]

            def keep(data: memoryview, offset: int, length: int, numbers: list[tuple[int, int]] = numbers) -> None:
                numbers.append(struct.unpack_from("<I4xQ", data, offset + 8))
                self.seen.append(decode_record(data, offset, length))

            while ring.drain(keep, 1_000_000):
                pass
        return self.seen

    def of_process(self, tgid: int, kind: type[T]) -> list[T]:
        """What was seen of one process."""
        return [event for event in self.read() if isinstance(event, kind) and getattr(event, "tgid", -1) == tgid]


@contextmanager
def watching(plan: SensorPlan | None = None, *, syscalls: bool = True) -> Iterator[Watcher]:
    """Attach the process, cgroup and system-call sensors for a while."""
    hierarchy = find_tag_hierarchy()
    base = plan or SensorPlan(file_open=False)
    plan = SensorPlan(
        failed_exec=base.failed_exec,
        file_open=base.file_open,
        tag_controller=hierarchy.controller,
        tag_hierarchy_id=hierarchy.hierarchy_id,
        rings=base.rings,
        limiter=base.limiter,
    )
    with Sensors(get_sensors_object(), plan) as sensors:
        sensors.attach_life()
        if syscalls:
            sensors.attach_syscalls()
        yield Watcher(sensors)


def run(*command: str | bytes | os.PathLike[str], executable: str | None = None, **options: object) -> int:
    """Run a command to its end; answer its pid."""
    process = subprocess.Popen(command, executable=executable, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    process.wait()
    return int(process.pid)


def the_exec(watcher: Watcher, tgid: int) -> ProcessExec:
    """Its only exec; it may come a moment after Popen returned, whose pipe closes before the sensor runs."""
    end = time.monotonic() + 2
    while not (execs := watcher.of_process(tgid, ProcessExec)) and time.monotonic() < end:
        os.sched_yield()
    assert len(execs) == 1, execs
    return execs[0]
