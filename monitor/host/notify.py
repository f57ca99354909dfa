"""Tell the service manager how we are (sd_notify(3)); without ``NOTIFY_SOCKET`` nothing happens.

sdnotify sends; this gives the words and their order. A manager that does not listen
is no reason to fail: monitoring goes on.
"""

import os
from time import monotonic_ns
from typing import Final

import sdnotify

_STATUS_CHARACTERS_MAX: Final = 200
_US_PER_S: Final = 1_000_000


class ServiceManager:
    """systemd, or nobody."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None
        if self._notifier and self._notifier.socket:
            # A manager that does not read must not stop us: what its queue has no room for is not sent.
            self._notifier.socket.setblocking(False)
        self.watchdog_interval_s = _find_watchdog_interval_s()
        """How often :meth:`keep_alive` is due, half of what the manager allows; None when it does not watch us."""

    @property
    def is_there(self) -> bool:
        """Tell whether anybody listens."""
        return self._notifier is not None

    def report_ready(self, status: str) -> None:
        """Say that start-up, or a reload, is done; ``status`` is what ``systemctl status`` shows."""
        self._send("READY=1", _build_status(status))

    def report_status(self, status: str) -> None:
        """Change what ``systemctl status`` shows."""
        self._send(_build_status(status))

    def report_reloading(self) -> None:
        """Say that a reload has begun; :meth:`report_ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")

    def report_stopping(self) -> None:
        """Say that we are about to end."""
        self._send("STOPPING=1")

    def keep_alive(self) -> None:
        """Reset the watchdog; nothing where the manager does not watch us."""
        if self.watchdog_interval_s is not None:
            self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if self._notifier:
            self._notifier.notify("\n".join(assignments))


def _build_status(status: str) -> str:
    # A newline would begin another assignment, and sdnotify sends Latin-1.
    line = " ".join(status.split()).encode("ascii", "backslashreplace").decode()
    return f"STATUS={line[:_STATUS_CHARACTERS_MAX]}"


def _find_watchdog_interval_s() -> float | None:
    """Answer half of WATCHDOG_USEC, where it is meant for us (sd_watchdog_enabled(3))."""
    allowed_us, own = os.environ.get("WATCHDOG_USEC", ""), str(os.getpid())
    if not allowed_us.isdecimal() or int(allowed_us) == 0 or os.environ.get("WATCHDOG_PID", own) != own:
        return None
    return int(allowed_us) / 2 / _US_PER_S
