"""Find whom an access to a process was about, where the kernel side knows the number alone that the call was given.

A number is one of the caller's pid namespace. The table has each process' number in its
own: so who is in the caller's namespace is found, and whoever the host's callers name.
Looking through the whole table is rationed: whoever floods us finds out less, and
delays nobody.
"""

from typing import Final

from msgspec.structs import replace

from monitor.engine.processes import ProcessTable, Row
from monitor.model.events import ProcessAccess
from monitor.model.ids import ProcessKey
from monitor.model.process import ProcessImage

LOOKS_PER_S: Final = 32
"""Through the table, in a second of event time; a long one takes some milliseconds."""
KNOWN_MAX: Final = 4_096
_SECOND_NS: Final = 1_000_000_000


def needs_target(event: ProcessAccess) -> bool:
    """Whether the table is to be asked."""
    return not event.target_tgid and event.target_pid != 0


class AccessTargets:
    """Asks one table."""

    def __init__(self, processes: ProcessTable) -> None:
        self._processes = processes
        self._known: dict[tuple[int, int], ProcessKey] = {}
        """By pid namespace and number there: who was found. Asked again before it is believed."""
        self._second = 0
        self._looks = 0

    def complete(self, event: ProcessAccess, caller: ProcessImage) -> ProcessAccess:
        """The event with its target, if the table has it."""
        target = self._find(event, caller)
        if target is None:
            return event
        tgid, start = target.key
        executable = target.image.executable
        return replace(event, target_tgid=tgid, target_start_boottime_ns=start, target_executable=executable)

    def _find(self, event: ProcessAccess, caller: ProcessImage) -> Row | None:
        namespace, number = caller.exec.namespaces.pid, event.target_pid
        if not namespace:
            return None
        if caller.exec.namespace_tgid == caller.exec.tgid:  # its numbers are the host's
            return next((row for row in self._processes.lives_of(number) if _lived(row, event.ktime_ns)), None)
        key = self._known.get((namespace, number))
        row = None if key is None else self._processes.find(*key)
        if row is not None and _is_called(row, namespace, number) and _lived(row, event.ktime_ns):
            return row
        return self._look(namespace, number, event.ktime_ns) if self._may_look(event.ktime_ns) else None

    def _may_look(self, ktime_ns: int) -> bool:
        second = ktime_ns // _SECOND_NS
        if second != self._second:
            self._second, self._looks = second, 0
        self._looks += 1
        return self._looks <= LOOKS_PER_S

    def _look(self, namespace: int, number: int, ktime_ns: int) -> Row | None:
        for row in self._processes.all_rows():
            if _is_called(row, namespace, number) and _lived(row, ktime_ns):
                if len(self._known) >= KNOWN_MAX:
                    self._known.clear()
                self._known[namespace, number] = row.key
                return row
        return None


def _is_called(row: Row, namespace: int, number: int) -> bool:
    """Of a process that has executed nothing itself its own number is not known."""
    program = row.image.exec
    return program.namespace_tgid == number and program.namespaces.pid == namespace and program.tgid == row.key.tgid


def _lived(row: Row, ktime_ns: int) -> bool:
    """Not ended at that time."""
    return not row.exited_ktime_ns or row.exited_ktime_ns >= ktime_ns
