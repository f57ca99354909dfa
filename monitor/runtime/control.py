"""What the sockets can ask of the service: status, observe, reload, and responses."""

from functools import partial

from monitor.config.settings import Observe
from monitor.host.notify import ServiceManager
from monitor.runtime.deny_checks import check_denials
from monitor.runtime.reload import Reloader
from monitor.runtime.rule_sources import Authored, load_authored
from monitor.runtime.service import Service
from monitor.runtime.status import StatusBuilder
from monitor.sinks.console import ConsoleSink
from monitor.sinks.stream import EventStream


class ServiceControl:
    """The control socket's handler (:class:`monitor.sinks.control.ControlHandler`)."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._status: StatusBuilder | None = None
        self._reloader: Reloader | None = None

    def bind(self, service: Service, stream: EventStream, console: ConsoleSink | None, manager: ServiceManager) -> None:
        """Name the service, which is made after its sockets."""
        parts = service.parts
        self._service = service
        self._status = StatusBuilder(service, stream, console)
        self._reloader = Reloader(parts.authored, partial(_load, service), service.replace_authored, manager)
        service.on_tick.append(self._status.on_tick)

    def status(self) -> dict[str, object]:
        """Health and counters (docs/events.md)."""
        assert self._status is not None
        return self._status.build()

    def add_observe(self, observe: Observe) -> int:
        """Stream these opens too."""
        assert self._service is not None
        return self._service.add_observe(observe)

    def remove_observe(self, token: int) -> None:
        """End it."""
        assert self._service is not None
        self._service.remove_observe(token)

    async def reload(self) -> dict[str, object]:
        """Read rules and response policy again and put them in force.

        Raises:
            ValueError: all mistakes, one a line; what was in force stays.
        """
        assert self._reloader is not None
        outcome = await self._reloader.request()
        if outcome.mistakes:
            raise ValueError(outcome.mistakes)
        return {"rules": outcome.rule_count}

    async def respond(self, action: str, container: str, for_s: float, asked_by: str) -> dict[str, object]:
        """Kill, freeze or thaw a container, whatever the mode: an admin asks."""
        assert self._service is not None
        return await self._service.responses.carry_out(action, container, for_s, asked_by)

    def reload_soon(self) -> None:
        """SIGHUP: the same, and nobody waits for the answer; it is in the log."""
        assert self._reloader is not None
        self._reloader.request()


def _load(service: Service) -> Authored:
    """Read what people have written, and prepare what takes long of putting it in force."""
    authored = load_authored(service.parts.settings)
    check_denials(authored.rules)
    service.denying.prepare(authored.rules)
    return authored
