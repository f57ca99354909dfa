"""Read rules and response policy again while events go on: in a thread, one load at a time, whoever asks for it.

A file that was read earlier never replaces one that was read later: who asks while a
load runs waits for the next one, and all who wait share it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from monitor.host.notify import ServiceManager
from monitor.rules.errors import RuleErrors
from monitor.runtime.rule_sources import Authored
from monitor.sinks.escape import escape_text

_LOG: Final = logging.getLogger(__name__)


class ReloadOutcome(NamedTuple):
    """What came of it."""

    rule_count: int
    """Rules in force now."""
    mistakes: str
    """Why the old ones stayed, one mistake a line; empty when the new ones are in force. Hostile text."""


class Reloader:
    """``load`` runs in a thread; ``put_in_force`` on the loop, all or nothing."""

    def __init__(
        self,
        authored: Authored,
        load: Callable[[], Authored],
        put_in_force: Callable[[Authored], Awaitable[None]],
        manager: ServiceManager,
    ) -> None:
        self._rule_count = len(authored.rules.rules)
        self._load = load
        self._put_in_force = put_in_force
        self._manager = manager
        self._waiting: list[asyncio.Future[ReloadOutcome]] = []
        self._task: asyncio.Task[None] | None = None

    def request(self) -> "asyncio.Future[ReloadOutcome]":
        """Ask for a load that begins after now; answered when it has succeeded or failed."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[ReloadOutcome] = loop.create_future()
        self._waiting.append(answer)
        if self._task is None:
            self._task = loop.create_task(self._run())
        return answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                self._manager.report_reloading()
                outcome = await self._reload()
                self._manager.report_ready(f"{outcome.rule_count} rules")
                for answer in waiting:
                    if not answer.done():  # who asked may have gone
                        answer.set_result(outcome)
        finally:
            self._task = None

    async def _reload(self) -> ReloadOutcome:
        mistakes = await self._find_mistakes()
        if mistakes:
            shown = [escape_text(line) for line in mistakes.splitlines()]
            separator = "\n" if len(shown) > 1 else " "
            _LOG.error("reload failed, the old rules stay in force:%s%s", separator, "\n".join(shown))
        else:
            _LOG.warning("reloaded: %d rules", self._rule_count)
        return ReloadOutcome(self._rule_count, mistakes)

    async def _find_mistakes(self) -> str:
        """Load and put in force; why that could not be, whatever it was: the service goes on with what it has."""
        try:
            authored = await asyncio.to_thread(self._load)
            await self._put_in_force(authored)
        except RuleErrors as errors:
            more = f"\nand {errors.more} more" if errors.more else ""
            return "\n".join(map(str, errors.errors)) + more
        except (ValueError, OSError) as error:
            return str(error) or type(error).__name__
        except Exception as error:
            _LOG.debug("reload", exc_info=True)
            return " ".join(f"internal error: {type(error).__name__}: {error}".split())
        self._rule_count = len(authored.rules.rules)
        return ""
