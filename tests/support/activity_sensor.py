"""The sensors for accesses to processes and for connections alone."""

from monitor.bpf.sensors import ACCESS_PROGRAM, ACCESS_TRACEPOINTS, CONNECT_PROGRAM, CONNECT_TRACEPOINTS
from monitor.model.events import NetworkConnection, ProcessAccess
from monitor.model.interest import OpenPattern, PatternKind
from tests.support.file_sensor import FileSensor


class AccessSensor(FileSensor[ProcessAccess]):
    """Of all calls."""

    TRACEPOINTS = ACCESS_TRACEPOINTS
    EVENT = ProcessAccess

    def __init__(self) -> None:
        super().__init__(ACCESS_PROGRAM)


class ConnectionSensor(FileSensor[NetworkConnection]):
    """Of connect."""

    TRACEPOINTS = CONNECT_TRACEPOINTS
    EVENT = NetworkConnection

    def __init__(self) -> None:
        super().__init__(CONNECT_PROGRAM)


def every_access(*, on_host: bool = True, in_containers: bool = True) -> OpenPattern:
    """Whoever it is about."""
    return OpenPattern(
        PatternKind.ANY, "", in_containers=in_containers, on_host=on_host, reads=False, writes=False, accessed=True
    )


def connections_to(text: str, kind: PatternKind = PatternKind.EXACT, *, in_containers: bool = True) -> OpenPattern:
    """To the sockets of these addresses."""
    return OpenPattern(kind, text.lower(), in_containers=in_containers, reads=False, writes=False, connected=True)
