"""What this process itself holds in memory."""

from typing import NamedTuple


class OwnMemory(NamedTuple):
    """Both 0 where the kernel does not say."""

    rss_bytes: int
    pss_bytes: int
    """Pages shared with others count in parts: what would be free without us."""


def read_own_memory() -> OwnMemory:
    """Ask the kernel; takes about a millisecond. psutil is imported by the first call: a service that nobody asks
    does not carry it."""
    import psutil  # noqa: PLC0415

    try:
        memory = psutil.Process().memory_full_info()
    except (psutil.Error, OSError):
        return OwnMemory(0, 0)
    return OwnMemory(memory.rss, memory.pss)
