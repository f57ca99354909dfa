"""What keeps root from ending us by the way: load the guards, say what they guard, beat.

Who we are is a mark of tasks in the kernel (ebpf/guard.bpf.c); a restart by the first process gets it before it asks
for anything. Without a beat for a minute the guards let go.
"""

import errno
import hashlib
import os
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from monitor.bpf.libbpf import BpfObject, LibbpfError
from monitor.bpf.object_settings import check_layout
from monitor.bpf.own_tasks import mark_own_process
from monitor.bpf.pins import GUARDS, PinFolder
from monitor.wire import _layout as layout

LET_GO_S: Final = layout.GUARD_SIZE_LET_GO_S
KINDS: Final = {
    layout.GUARD_OBJECT: "BPF objects",
    layout.GUARD_PINS: "pins",
    layout.GUARD_TASK: "processes",
    layout.GUARD_CGROUP: "cgroup",
}
"""What an attempt was aimed at."""
Guarded = tuple[int, int]
"""``enum guarded_kind`` and number."""
_KEY: Final = struct.Struct("<QQ")
_YES: Final = struct.pack("<I", 1)
_INFO_KINDS: Final = {
    "map_id": layout.GUARDED_MAP,
    "prog_id": layout.GUARDED_PROGRAM,
    "link_id": layout.GUARDED_LINK,
}


class Guards:
    """The loaded guards. A context manager: leaving it ends what is not pinned."""

    def __init__(self, path: Path) -> None:
        self.generation = f"{GUARDS}{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
        """Names what is loaded, for pins."""
        self.object = BpfObject(path)

    def __enter__(self) -> "Guards":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> None:
        """Load and attach. Nothing is guarded before the first beat.

        Raises:
            LibbpfError: the kernel refused.
        """
        check_layout(self.object)
        self.object.load()
        for program in self.object.program_names():
            self.object.attach(program)

    def adopt(self, folder: PinFolder) -> None:
        """Take over what is pinned instead: it goes on guarding meanwhile.

        Raises:
            LibbpfError: the pins are not what their folder's name says.
        """
        folder.adopt(self.object)
        if missing := set(self.object.program_names()).difference(self.object.attached):
            raise LibbpfError(errno.ENOENT, f"pins of {', '.join(sorted(missing))}")

    def mark_own_process(self) -> None:
        """Make this process, and what it forks from now on, one of those that are guarded and that may."""
        mark_own_process(self.object, "guard_marks", layout.GUARD_MARK_OURS)

    def set_unit(self, names: Sequence[str]) -> None:
        """Say which cgroup is the unit's, outermost name first: what the first process starts there is ours."""
        size = layout.GUARD_SIZE_NAME
        texts = [os.fsencode(name) for name in reversed(names)]
        if len(texts) > layout.GUARD_SIZE_UNIT_DEPTH or any(len(text) >= size for text in texts):
            texts = []
        depth = self.object.variable_view("guard_unit_depth").cast("I")
        depth[0] = 0
        view = self.object.variable_view("guard_unit_names")
        for number, text in enumerate(texts):
            view[number * size : (number + 1) * size] = text.ljust(size, b"\0")
        depth[0] = len(texts)

    def set_bpffs(self, device: int) -> None:
        """Say where the pins are (``st_dev``)."""
        self.object.variable_view("guard_bpffs_device").cast("I")[0] = _kernel_device(device)

    def set_cgroups(self, device: int, own: int, above: Iterable[int]) -> list[Guarded]:
        """Say where cgroups are (``st_dev``), by inode ours and those above it; answers what to guard of them."""
        self.object.variable_view("guard_cgroup_device").cast("I")[0] = _kernel_device(device)
        return [(layout.GUARDED_CGROUP, own), *((layout.GUARDED_CGROUP_ABOVE, inode) for inode in above)]

    def replace_guarded(self, wanted: Iterable[Guarded]) -> int:
        """Guard these, and no other objects and cgroups; answers how many did not fit."""
        keys, missing = {_KEY.pack(*each) for each in wanted}, 0
        for key in [key for key, _ in self.object.map_items("guarded") if key not in keys]:
            self.object.map_delete("guarded", key)
        for key in keys:
            try:
                self.object.map_update("guarded", key, _YES)
            except LibbpfError:
                missing += 1
        return missing

    def beat(self) -> None:
        """Guard for another minute."""
        self.object.variable_view("guard_beat_boottime_ns").cast("Q")[0] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def let_go(self) -> None:
        """Guard no more, until the next beat."""
        self.object.variable_view("guard_beat_boottime_ns").cast("Q")[0] = 0

    def read_refused(self) -> dict[str, int]:
        """How often something was refused since the programs were loaded, by :data:`KINDS`."""
        counts = self.object.variable_view("guard_refused").cast("Q")
        return {name: counts[kind] for kind, name in KINDS.items()}

    def close(self) -> None:
        """End what is not pinned."""
        self.object.close()


def list_own_objects() -> set[Guarded]:
    """Maps, programs and links that this process has open."""
    found = set()
    for info in Path("/proc/self/fdinfo").iterdir():
        try:
            lines = info.read_text().splitlines()
        except OSError:
            continue  # closed meanwhile
        for line in lines:
            name, _, value = line.partition(":")
            if name in _INFO_KINDS and value.strip().isdigit():
                found.add((_INFO_KINDS[name], int(value)))
    return found


def _kernel_device(device: int) -> int:
    """As the kernel keeps it in a superblock (``MKDEV``)."""
    return os.major(device) << 20 | os.minor(device)
