"""A sink that only wants to know of executions."""

from collections.abc import Callable

from monitor.model.alert import Alert
from monitor.model.events import ProcessExec
from monitor.model.process import Context


class ExecWatch:
    """See the module."""

    def __init__(self, on_exec: Callable[[Context], None]) -> None:
        self._on_exec = on_exec

    def publish_event(self, context: Context) -> None:
        """Pass it on if it is one."""
        if type(context.event) is ProcessExec:
            self._on_exec(context)

    def publish_alert(self, alert: Alert) -> None:
        """Nobody asks."""
