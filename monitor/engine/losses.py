"""Add up what the kernel side lost, and say whose it was: once a minute per cgroup and reason."""

from collections import OrderedDict
from typing import Final

from msgspec import Struct

from monitor.engine.containers import Cgroup
from monitor.model.events import LossReport

QUIET_NS: Final = 60 * 1_000_000_000
LEDGER_MAX: Final = 4_096
_WHY: Final = {
    "ring_full": "the ring was full",
    "limited": "its cgroup exceeded its rate",
    "no_slot": "no scratch memory was free",
}
UNATTRIBUTED: Final = "not attributable to a cgroup"
"""The kernel side's table of losses was full; these it counts without the cgroup (id 0)."""
_PATH_SHOWN: Final = 120


class _Account(Struct, gc=False):
    told_ktime_ns: int
    untold: dict[str, int]
    """Record type -> lost since the last alert."""


class LossLedger:
    """At most 4,096 pairs of cgroup and reason; an evicted one is told of again at once."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[tuple[int, str], _Account] = OrderedDict()
        self.records = 0
        """All records that were lost or held back."""

    def __len__(self) -> int:
        return len(self._accounts)

    def count(self, event: LossReport) -> str:
        """Take in a report; the text of an alert when one is due, else empty."""
        self.records += event.count
        key = (int(event.cgroup_id), event.reason)
        account = self._accounts.get(key)
        is_due = account is None or event.ktime_ns - account.told_ktime_ns >= QUIET_NS
        if account is None:
            account = self._accounts[key] = _Account(event.ktime_ns, {})
            if len(self._accounts) > LEDGER_MAX:
                self._accounts.popitem(last=False)
        account.untold[event.event_type] = account.untold.get(event.event_type, 0) + event.count
        if not is_due:
            return ""
        parts = ", ".join(f"{count} {name}" for name, count in sorted(account.untold.items()))
        account.told_ktime_ns = event.ktime_ns
        account.untold = {}
        self._accounts.move_to_end(key)
        return f"{parts}: {_WHY.get(event.reason, event.reason)}"


def name_source(cgroup_id: int, cgroup: Cgroup | None) -> str:
    """Whose records they were: a container's name or short id, else what is known of the cgroup. Hostile text."""
    if not cgroup_id:
        return UNATTRIBUTED
    if cgroup is None:
        return f"unknown cgroup {cgroup_id}"
    if cgroup.container is not None:
        return cgroup.container.name or cgroup.container.id[:12]
    path = cgroup.path
    return f"host cgroup {path if len(path) <= _PATH_SHOWN else '...' + path[-_PATH_SHOWN:]}"
