"""What `stockade status` says of denial: rules by tier, the gate's counters, and what a human should know of both."""

import os
from collections.abc import Iterator
from typing import Final

from monitor.bpf.features import probe_overlay_types
from monitor.rules.tiers import asks_upper_layer
from monitor.runtime.denying import Denying
from monitor.runtime.holding import Holding
from monitor.sinks.status import DenialStatus, HoldStatus

SHORT_ID: Final = 12
CONTAINERS_SHOWN: Final = 20
_LATE_OVERLAY: Final = "overlayfs was loaded after Stockade; restart it (denial alone: a reload does, too)"


def build_denial_status(denying: Denying) -> DenialStatus:
    """Now; the gate's counters are a second old."""
    hold = _build_hold(denying.holding)
    return DenialStatus(rules=denying.rule_counts, hold=hold, files=denying.kernel.known_files)


def list_denial_notes(denying: Denying) -> Iterator[str]:
    """What is denied less than somebody may think."""
    for each in denying.planned:
        if not each.tiers:
            yield f"rule {each.deny.rule.name} denies nothing: {each.reason}"
    if denying.kernel.pin_obstacle:
        yield f"{denying.kernel.pin_obstacle}: denial would not outlive the service"
    if denying.kernel.has_unknown_files:
        yield "files at exact paths of deny rules found no room in the kernel: they are denied by name alone"
    yield from _list_drift_gaps(denying)
    supervisor = denying.holding.supervisor
    if supervisor is None:
        return
    if supervisor.readiness is None:
        yield "the gate does not run just now: what tier hold denies is not held"
    elif not supervisor.readiness.is_memory_locked:
        yield "the gate's memory cannot be locked (RLIMIT_MEMLOCK): its answers may wait for a disk"
    if supervisor.health.refused:
        yield f"the gate has refused the deny rules, those of before hold: {supervisor.health.refused}"
    for device, error in supervisor.health.unmarked.items():
        yield f"the file system {os.major(device)}:{os.minor(device)} cannot be held: {error}"


def _list_drift_gaps(denying: Denying) -> Iterator[str]:
    """Where a rule asks what was written since the image, and that is not to be told."""
    if not denying.kernel.is_loaded or not any(asks_upper_layer(each.deny) for each in denying.planned if each.tiers):
        return
    if not denying.kernel.knows_overlay:
        probe = probe_overlay_types()
        why = _LATE_OVERLAY if probe else f"{probe.reason} (`stockade doctor`)"
        yield f"what was written since a container's image cannot be told: {why}"
    if plain := denying.kernel.list_plain_roots():
        names = ", ".join(identity[:SHORT_ID] for identity in plain[:CONTAINERS_SHOWN])
        more = f" and {len(plain) - CONTAINERS_SHOWN} more" if len(plain) > CONTAINERS_SHOWN else ""
        yield f"containers whose root is no overlay: {names}{more}: what was written since the image runs there"


def _build_hold(holding: Holding) -> HoldStatus | None:
    supervisor = holding.supervisor
    if supervisor is None:
        return None
    counts, report = holding.read_counts(), holding.last_report
    return HoldStatus(
        is_running=supervisor.readiness is not None,
        rules=holding.rule_count,
        file_systems=report.marks if report else 0,
        held=counts["held"],
        denied=counts["denied"],
        known=counts["ignored"],
        exempted=counts["exempted"],
        unread=counts["failed"],
        hurried=counts["hurried"],
        untold=counts["dropped"],
        breaches=counts["breaches"],
        slowest_us=report.slowest_us if report else 0,
        starts=counts["starts"],
        missed_deadlines=counts["missed_deadlines"],
        deaths=counts["deaths"],
    )
