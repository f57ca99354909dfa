"""The file-open sensor alone, for tests and benches: load one variant, put a policy in force, read its records."""

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from monitor.bpf import tracefs
from monitor.bpf.libbpf import BpfObject
from monitor.bpf.open_policy import OpenPolicy, make_seed, read_seed
from monitor.bpf.ring import Ring
from monitor.bpf.sensors import OPEN_PROGRAMS, OPEN_TRACEPOINTS
from monitor.model.events import FileOpen
from monitor.model.interest import OpenPattern
from monitor.wire.decoder import decode_record

OBJECT = Path(__file__).resolve().parents[2] / "ebpf" / "build" / "sensors.bpf.o"
VARIANTS = ("cast", "typed")
RING_BYTES = 8 << 20
COUNTER_OPEN_WALKS, COUNTER_OPEN_VANISHED = 3, 4


class OpenSensor:
    """A loaded and attached file sensor. Closing it detaches it."""

    def __init__(
        self, variant: str = "cast", path: Path = OBJECT, *, limit_per_s: int = 1 << 40, attach: bool = True
    ) -> None:
        self.object = BpfObject(path)
        try:
            self._load(variant, limit_per_s)
            if attach:
                self._attach()
        except BaseException:
            self.object.close()
            raise
        self.policy = OpenPolicy(read_seed(self.object))

    def _load(self, variant: str, limit_per_s: int) -> None:
        self._program = OPEN_PROGRAMS[variant]
        for program in self.object.program_names():
            self.object.set_autoload(program, enabled=program == self._program)
        self.object.set_rodata("tag_seed", make_seed())
        for name in ("limit_per_s", "limit_burst"):
            self.object.set_rodata(name, struct.pack("<2Q", limit_per_s, limit_per_s))
        self.object.load()
        self.ring = Ring(self.object.map_fd("events_bulk"), RING_BYTES)

    def _attach(self) -> None:
        for tracepoint in OPEN_TRACEPOINTS:
            number = tracefs.read_tracepoint_id("syscalls", tracepoint)
            event = tracefs.open_tracepoint_event(number)
            self.object.attach_perf_event(self._program, event, link_name=tracepoint)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Attached only while this lasts (with ``attach=False``)."""
        self._attach()
        try:
            yield
        finally:
            for tracepoint in OPEN_TRACEPOINTS:
                self.object.detach(tracepoint)

    def __enter__(self) -> "OpenSensor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.ring.close()
        self.object.close()

    def watch(self, patterns: Iterable[OpenPattern]) -> None:
        self.policy.apply(self.policy.build(patterns), self.object)

    def tag_cgroup(self, cgroup_id: int, tag: int) -> None:
        self.object.map_update("cgroup_tags", struct.pack("<Q", cgroup_id), struct.pack("<I", tag))

    def read_all(self) -> list[FileOpen]:
        """Everything in the ring, of whatever process."""
        events: list[FileOpen] = []
        self.ring.drain(lambda data, offset, length: events.append(_decode(data, offset, length)), 1 << 20)
        return events

    def read(self, tgid: int | None = None) -> list[FileOpen]:
        """What one process (this one, if not said) opened."""
        wanted = tgid or os.getpid()
        return [event for event in self.read_all() if event.tgid == wanted]

    def count(self, index: int) -> int:
        """One of the kernel's counters, over all CPUs."""
        value = self.object.map_lookup("counters", struct.pack("<I", index)) or b""
        return sum(memoryview(value).cast("Q"))

    def count_losses(self) -> int:
        """Records lost, whatever the reason."""
        return sum(sum(memoryview(value).cast("Q")) for _, value in self.object.map_items("losses"))


def _decode(data: memoryview, offset: int, length: int) -> FileOpen:
    event = decode_record(data, offset, length)
    assert isinstance(event, FileOpen)
    return event
