"""The sensor for opens alone."""

from pathlib import Path

from monitor.bpf.sensors import OPEN_PROGRAMS, OPEN_TRACEPOINTS
from monitor.model.events import FileOpen
from tests.support.file_sensor import OBJECT, FileSensor

VARIANTS = ("cast", "typed")
COUNTER_OPEN_WALKS, COUNTER_OPEN_VANISHED = 3, 4


class OpenSensor(FileSensor[FileOpen]):
    """One variant of it."""

    TRACEPOINTS = OPEN_TRACEPOINTS
    EVENT = FileOpen

    def __init__(
        self, variant: str = "cast", path: Path = OBJECT, *, limit_per_s: int = 1 << 40, attach: bool = True
    ) -> None:
        super().__init__(OPEN_PROGRAMS[variant], path=path, limit_per_s=limit_per_s, attach=attach)
