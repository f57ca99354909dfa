"""Run before ordinary work: a reader that must wait for a CPU loses records.

Where the kernel groups tasks by session (``sched_autogroup_enabled``, Debian's default), a process's own
priority counts inside its session alone; against other sessions and containers the group's counts.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

NICE: Final = -5
AUTOGROUP: Final = Path("/proc/self/autogroup")


@contextlib.contextmanager
def before_others(group: Path = AUTOGROUP) -> Iterator[None]:
    """Ask for it inside the block, as far as we may; a priority that somebody chose stays.

    A foreground run shares its group with the terminal's shell, so the group gets its priority back.
    """
    _raise_own()
    raised = _raise_group(group)
    try:
        yield
    finally:
        if raised:
            with contextlib.suppress(OSError):
                group.write_text("0")


def _raise_own() -> None:
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) == 0:
            os.setpriority(os.PRIO_PROCESS, 0, NICE)


def _raise_group(group: Path) -> bool:
    """``/proc/self/autogroup`` reads ``/autogroup-17 nice 0``; the file is missing without CONFIG_SCHED_AUTOGROUP."""
    try:
        if not group.read_text().endswith(" nice 0\n"):
            return False
        group.write_text(str(NICE))
    except OSError:
        return False
    return True
