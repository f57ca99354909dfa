"""Where and when documents come from: what is the same for every document of one run.

Kernel times are monotonic; wall time is attached at this edge and nowhere before.
A replay takes the origin of its recording, so that it gives the same bytes.
"""

import socket
import time
from pathlib import Path

from msgspec import Struct

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Origin(Struct, frozen=True):
    """The host, its boot, and the distance between its two clocks."""

    boot_id: str
    """``/proc/sys/kernel/random/boot_id``; part of every ``process.entity_id``."""
    host_name: str
    wall_offset_ns: int
    """CLOCK_REALTIME minus CLOCK_MONOTONIC. Read it anew after a suspend or a step of the clock."""


def read_wall_offset_ns() -> int:
    """Return CLOCK_REALTIME minus CLOCK_MONOTONIC, as exact as three readings in a row can be."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    wall = time.clock_gettime_ns(time.CLOCK_REALTIME)
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return wall - (before + after) // 2


def read_origin() -> Origin:
    """Describe this host now. Raises ``OSError`` without ``/proc``."""
    return Origin(
        boot_id=BOOT_ID.read_text(encoding="ascii").strip(),
        host_name=socket.gethostname(),
        wall_offset_ns=read_wall_offset_ns(),
    )
