"""A sensor of the bulk ring alone, for tests and benches: load one program, put a policy in force, read its records."""

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

from monitor.bpf import tracefs
from monitor.bpf.libbpf import BpfObject
from monitor.bpf.open_policy import OpenPolicy, make_seed, read_seed
from monitor.bpf.ring import Ring
from monitor.model.events import FileChange, FileOpen, NetworkConnection, ProcessAccess
from monitor.model.interest import OpenPattern
from monitor.wire.decoder import decode_record

OBJECT = Path(__file__).resolve().parents[2] / "ebpf" / "build" / "sensors.bpf.o"
RING_BYTES = 8 << 20

EventT = TypeVar("EventT", FileOpen, FileChange, ProcessAccess, NetworkConnection)


class FileSensor(Generic[EventT]):
    """Programs, loaded; the first one attached to its tracepoints. Closing it detaches them."""

    TRACEPOINTS: ClassVar[tuple[str, ...]]
    EVENT: ClassVar[type]

    def __init__(self, *programs: str, path: Path = OBJECT, limit_per_s: int = 1 << 40, attach: bool = True) -> None:
        self._programs = programs
        self.object = BpfObject(path)
        try:
            self._load(limit_per_s)
            self.missing = self._attach() if attach else []
        except BaseException:
            self.object.close()
            raise
        self.policy = OpenPolicy(read_seed(self.object))

    def _load(self, limit_per_s: int) -> None:
        for program in self.object.program_names():
            self.object.set_autoload(program, enabled=program in self._programs)
        self.object.set_rodata("tag_seed", make_seed())
        for name in ("limit_per_s", "limit_burst"):
            self.object.set_rodata(name, struct.pack("<2Q", limit_per_s, limit_per_s))
        self.object.load()
        self.ring = Ring(self.object.map_fd("events_bulk"), RING_BYTES)

    def _attach(self) -> list[str]:
        """Answers the tracepoints that this kernel does not have."""
        missing = []
        for tracepoint in self.TRACEPOINTS:
            try:
                number = tracefs.read_tracepoint_id("syscalls", tracepoint)
            except FileNotFoundError:
                missing.append(tracepoint)
                continue
            event = tracefs.open_tracepoint_event(number)
            self.object.attach_perf_event(self._programs[0], event, link_name=tracepoint)
        return missing

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Attached only while this lasts (with ``attach=False``)."""
        self._attach()
        try:
            yield
        finally:
            for tracepoint in list(self.object.attached):
                self.object.detach(tracepoint)

    def __enter__(self) -> Self:
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

    def read_all(self) -> list[EventT]:
        """Everything in the ring, of whatever process."""
        events: list[EventT] = []
        self.ring.drain(lambda data, offset, length: events.append(self._decode(data, offset, length)), 1 << 20)
        return events

    def _decode(self, data: memoryview, offset: int, length: int) -> EventT:
        event = decode_record(data, offset, length)
        assert isinstance(event, self.EVENT)
        return event

    def read(self, tgid: int | None = None) -> list[EventT]:
        """What one process (this one, if not said) did."""
        wanted = tgid or os.getpid()
        return [event for event in self.read_all() if event.tgid == wanted]

    def count(self, index: int) -> int:
        """One of the kernel's counters, over all CPUs."""
        value = self.object.map_lookup("counters", struct.pack("<I", index)) or b""
        return sum(memoryview(value).cast("Q"))

    def count_losses(self) -> int:
        """Records lost, whatever the reason."""
        return sum(sum(memoryview(value).cast("Q")) for _, value in self.object.map_items("losses"))
