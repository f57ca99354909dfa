"""What the sockets can ask of the service: status, observe, reload."""

import asyncio
import logging
from typing import Final

from monitor.config.settings import Observe
from monitor.host.notify import ServiceManager
from monitor.rules.errors import RuleErrors
from monitor.rules.ruleset import RuleSet
from monitor.runtime.rule_sources import load_rule_set
from monitor.runtime.service import Service, ServiceParts
from monitor.runtime.status import StatusBuilder
from monitor.sinks.console import ConsoleSink
from monitor.sinks.escape import escape_text
from monitor.sinks.stream import EventStream

_LOG: Final = logging.getLogger(__name__)


class ServiceControl:
    """The control socket's handler (:class:`monitor.sinks.control.ControlHandler`)."""

    def __init__(self, parts: ServiceParts) -> None:
        self._parts = parts
        self._service: Service | None = None
        self._status: StatusBuilder | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._is_reload_due = False

    def bind(self, service: Service, stream: EventStream, console: ConsoleSink | None) -> None:
        """Name the service, which is made after its sockets."""
        self._service = service
        self._status = StatusBuilder(service, stream, console)
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

    def reload(self) -> dict[str, object]:
        """Read the rules again and put them in force.

        Raises:
            ValueError: all mistakes, one a line; the rules that were in force stay.
        """
        assert self._service is not None
        return _in_force(self._service, _load(self._parts))

    def reload_soon(self, manager: ServiceManager) -> None:
        """SIGHUP: compile aside, in a thread, so that events go on; swap on the loop.

        One at a time, so that files read earlier never replace those read later;
        however many signals come meanwhile, they ask for one more.
        """
        self._is_reload_due = True
        if self._reloading is None:
            self._reloading = asyncio.get_running_loop().create_task(self._reload(manager))

    async def _reload(self, manager: ServiceManager) -> None:
        try:
            while self._is_reload_due:
                self._is_reload_due = False
                manager.report_reloading()
                await self._reload_once()
                manager.report_ready(f"{len(self._parts.rules.rules)} rules")
        finally:
            self._reloading = None

    async def _reload_once(self) -> None:
        assert self._service is not None
        try:
            rules = await asyncio.to_thread(_load, self._parts)
            done = _in_force(self._service, rules)
        except ValueError as error:
            mistakes = "\n".join(map(escape_text, str(error).splitlines()))
            _LOG.error("reload failed, the old rules stay in force:\n%s", mistakes)
        else:
            _LOG.warning("reloaded: %s rules", done["rules"])


def _load(parts: ServiceParts) -> RuleSet:
    try:
        return load_rule_set(parts.settings)
    except RuleErrors as errors:
        raise ValueError("\n".join(map(str, errors.errors))) from errors
    except OSError as error:
        raise ValueError(str(error)) from error


def _in_force(service: Service, rules: RuleSet) -> dict[str, object]:
    service.replace_rules(rules)
    return {"rules": len(rules.rules)}
