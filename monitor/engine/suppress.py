"""Hold back repeats of an alert, and count them; never a first one.

Two alerts are equal when rule, subject, program and file are. The first is shown; what
follows within ``suppress_s`` of event time is counted, and the next one that is
shown tells how many were held back. A steady stream shows one alert each ``suppress_s``.
Counts whose next alert never comes are told by the statistics only.

The table is bounded: what is evicted is shown again, so that a flood can make
alerts repeat and cannot hide one.
"""

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from msgspec import Struct

EXPIRED_WINDOWS: Final = 10
"""An entry whose last showing is this many windows ago is forgotten, with its count."""


class _Shown(Struct, gc=False):
    ktime_ns: int
    held: int = 0


class Suppressor:
    """Knows which alerts were shown a moment ago."""

    def __init__(self, window_ns: int, maximum: int) -> None:
        self._window_ns = window_ns
        self._max = maximum
        self._shown: OrderedDict[bytes, _Shown] = OrderedDict()
        self.held = 0
        """Alerts that were not shown, ever."""
        self.untold = 0
        """Of these, the ones that no later alert told of."""
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._shown)

    def is_repeat(self, key: bytes, ktime_ns: int) -> bool:
        """Whether an equal alert was shown within the window (before or, out of order, after)."""
        shown = self._shown.get(key)
        return shown is not None and abs(ktime_ns - shown.ktime_ns) < self._window_ns

    def hold(self, keys: Iterable[bytes]) -> None:
        """Count one alert that is not shown; all its keys are repeats."""
        for key in keys:
            self._shown[key].held += 1
        self.held += 1

    def show(self, key: bytes, ktime_ns: int) -> int:
        """Note that an alert is shown now; how many equal ones were held back before it."""
        shown = self._shown.pop(key, None)
        self._shown[key] = _Shown(ktime_ns)
        if len(self._shown) > self._max:
            self._drop_oldest()
            self.evicted += 1
        return 0 if shown is None else shown.held

    def expire(self, now_ns: int, budget: int) -> None:
        """Forget what was shown long ago; at most ``budget`` entries."""
        while self._shown and budget:
            oldest = next(iter(self._shown.values()))
            if now_ns - oldest.ktime_ns < EXPIRED_WINDOWS * self._window_ns:
                return
            self._drop_oldest()
            budget -= 1

    def _drop_oldest(self) -> None:
        _, shown = self._shown.popitem(last=False)
        self.untold += shown.held


def build_key(rule_id: str, *parts: str) -> bytes:
    """What makes two alerts equal, in 16 bytes: hostile paths do not fill the table."""
    digest = blake2b(digest_size=16)
    for part in (rule_id, *parts):
        encoded = part.encode("utf-8", "backslashreplace")
        digest.update(len(encoded).to_bytes(4, "little"))
        digest.update(encoded)
    return digest.digest()
