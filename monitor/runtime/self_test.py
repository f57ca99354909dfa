"""The canary: one exec of our own must come through the whole pipeline before we say that we are ready.

A sensor that is attached need not run, a ring that is mapped need not be read: the
canary proves kernel, ring, decoder, engine and sink path in one go.
"""

import asyncio
import os
import secrets
from typing import Final

from monitor.model.alert import Alert
from monitor.model.events import ProcessExec
from monitor.model.process import Context
from monitor.runtime.errors import KernelSupportError
from monitor.runtime.harmless_program import find_harmless_program, spawn_silently

TIMEOUT_S: Final = 5.0


class Canary:
    """A sink that waits for one exec, by a secret in its arguments."""

    def __init__(self) -> None:
        self._token = f"stockade-self-test-{secrets.token_hex(8)}"
        self._seen: asyncio.Event = asyncio.Event()

    def publish_event(self, context: Context) -> None:
        """Recognise the canary."""
        if type(context.event) is ProcessExec and self._token in context.event.args:
            self._seen.set()

    def publish_alert(self, alert: Alert) -> None:
        """Alerts are not what it waits for."""

    async def run(self) -> float:
        """Execute the canary and wait until it has come through; answer the seconds it took.

        Raises:
            KernelSupportError: it did not come.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        pid = self._spawn()
        try:
            await asyncio.wait_for(self._seen.wait(), TIMEOUT_S)
        except TimeoutError as error:
            raise KernelSupportError(
                f"self test failed: an exec was not seen within {TIMEOUT_S:.0f} s; "
                "the sensors are attached but deliver nothing (run `stockade doctor`)"
            ) from error
        finally:
            os.waitpid(pid, 0)
        return loop.time() - began

    def _spawn(self) -> int:
        program = find_harmless_program()
        first = {"true": [], "busybox": ["true"]}.get(program.name, ["-c", "pass"])
        return spawn_silently(program, [str(program), *first, self._token])
