"""The sensor for changes of files alone."""

from pathlib import Path

from monitor.bpf.sensors import CHANGE_PROGRAM, CHANGE_TRACEPOINTS
from monitor.model.events import FileChange
from monitor.model.interest import OpenPattern, PatternKind
from tests.support.file_sensor import FileSensor

EVERY_CHANGE = {"reads": False, "writes": False, "made": True, "renamed": True, "deleted": True, "attributes": True}


class ChangeSensor(FileSensor[FileChange]):
    """Of all calls that this kernel has."""

    TRACEPOINTS = CHANGE_TRACEPOINTS
    EVENT = FileChange

    def __init__(self, *, limit_per_s: int = 1 << 40, attach: bool = True) -> None:
        super().__init__(CHANGE_PROGRAM, limit_per_s=limit_per_s, attach=attach)


def everything_below(folder: Path) -> OpenPattern:
    """Every change below a folder."""
    return OpenPattern(PatternKind.PREFIX, f"{folder}/".lower(), **EVERY_CHANGE)
