"""The sensor for changes of files alone: load it, put a policy in force, read its records."""

import os
import struct
from collections.abc import Iterable
from pathlib import Path

from monitor.bpf import tracefs
from monitor.bpf.libbpf import BpfObject
from monitor.bpf.open_policy import OpenPolicy, make_seed, read_seed
from monitor.bpf.ring import Ring
from monitor.bpf.sensors import CHANGE_TRACEPOINTS
from monitor.model.events import FileChange
from monitor.model.interest import OpenPattern, PatternKind
from monitor.wire.decoder import decode_record

OBJECT = Path(__file__).resolve().parents[2] / "ebpf" / "build" / "sensors.bpf.o"
RING_BYTES = 8 << 20
EVERY_CHANGE = {"reads": False, "writes": False, "made": True, "renamed": True, "deleted": True, "attributes": True}


class ChangeSensor:
    """The loaded and attached sensor. Closing it detaches it."""

    def __init__(self, *, limit_per_s: int = 1 << 40, attach: bool = True) -> None:
        self.object = BpfObject(OBJECT)
        try:
            self._load(limit_per_s)
            self.missing = self.attach() if attach else []
        except BaseException:
            self.object.close()
            raise
        self.policy = OpenPolicy(read_seed(self.object))

    def _load(self, limit_per_s: int) -> None:
        for program in self.object.program_names():
            self.object.set_autoload(program, enabled=program in CHANGE_TRACEPOINTS)
        self.object.set_rodata("tag_seed", make_seed())
        for name in ("limit_per_s", "limit_burst"):
            self.object.set_rodata(name, struct.pack("<2Q", limit_per_s, limit_per_s))
        self.object.load()
        self.ring = Ring(self.object.map_fd("events_bulk"), RING_BYTES)

    def attach(self) -> list[str]:
        """Attach; answers the tracepoints that this kernel does not have."""
        missing = []
        for program, tracepoints in CHANGE_TRACEPOINTS.items():
            for tracepoint in tracepoints:
                try:
                    number = tracefs.read_tracepoint_id("syscalls", tracepoint)
                except FileNotFoundError:
                    missing.append(tracepoint)
                    continue
                event = tracefs.open_tracepoint_event(number)
                self.object.attach_perf_event(program, event, link_name=tracepoint)
        return missing

    def detach(self) -> None:
        for tracepoint in list(self.object.attached):
            self.object.detach(tracepoint)

    def __enter__(self) -> "ChangeSensor":
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

    def read_all(self) -> list[FileChange]:
        """Everything in the ring, of whatever process."""
        events: list[FileChange] = []
        self.ring.drain(lambda data, offset, length: events.append(_decode(data, offset, length)), 1 << 20)
        return events

    def read(self, tgid: int | None = None) -> list[FileChange]:
        """What one process (this one, if not said) changed."""
        wanted = tgid or os.getpid()
        return [event for event in self.read_all() if event.tgid == wanted]

    def count(self, index: int) -> int:
        """One of the kernel's counters, over all CPUs."""
        value = self.object.map_lookup("counters", struct.pack("<I", index)) or b""
        return sum(memoryview(value).cast("Q"))


def _decode(data: memoryview, offset: int, length: int) -> FileChange:
    event = decode_record(data, offset, length)
    assert isinstance(event, FileChange)
    return event


def everything_below(folder: Path) -> OpenPattern:
    """Every change below a folder."""
    return OpenPattern(PatternKind.PREFIX, f"{folder}/".lower(), **EVERY_CHANGE)
