"""The sensor for changes of files alone."""

import os
from pathlib import Path

from monitor.bpf.change_source import CALLS, CALLS_PROGRAM, CALLS_TRACEPOINTS, HOOKS, list_change_hooks
from monitor.model.events import FileChange
from monitor.model.interest import OpenPattern, PatternKind
from tests.support.enforcement import TIER
from tests.support.file_sensor import FileSensor

SOURCE = HOOKS if TIER == "lsm" else CALLS
"""Hooks are tested where BPF LSM is: in guests."""
IS_CLAIMED = SOURCE == CALLS
EVERY_CHANGE = {"reads": False, "writes": False, "made": True, "renamed": True, "deleted": True, "attributes": True}


class ChangeSensor(FileSensor[FileChange]):
    """Of all calls that this kernel has, or of all hooks."""

    TRACEPOINTS = CALLS_TRACEPOINTS
    EVENT = FileChange

    def __init__(self, source: str = SOURCE, *, limit_per_s: int = 1 << 40, attach: bool = True) -> None:
        self._hooks = list_change_hooks() if source == HOOKS else ()
        assert self._hooks or source == CALLS, f"no LSM hooks here (uid {os.getuid()})"
        super().__init__(*(self._hooks or (CALLS_PROGRAM,)), limit_per_s=limit_per_s, attach=attach)

    def _attach(self) -> list[str]:
        for program in reversed(self._hooks):
            self.object.attach(program)
        return [] if self._hooks else super()._attach()


def everything_below(folder: Path) -> OpenPattern:
    """Every change below a folder."""
    return OpenPattern(PatternKind.PREFIX, f"{folder}/".lower(), **EVERY_CHANGE)
