"""Find out which tiers of denial this host has, no more than the settings ask for."""

from collections.abc import Callable
from typing import Final

from monitor.bpf.features import find_lsm_obstacle, find_name_hooks_obstacle, find_socket_hooks_obstacle
from monitor.host.fanotify import find_permission_obstacle
from monitor.host.privileges import is_in_first_namespace
from monitor.rules.tiers import HostTiers

AUTO: Final = "auto"
NOT_ASKED: Final = "settings: enforcement.tier"
_NONE: Final = HostTiers(NOT_ASKED, NOT_ASKED, NOT_ASKED)


def find_host_tiers(
    asked: str,
    find_obstacle: Callable[[], str] = find_lsm_obstacle,
    find_gate_obstacle: Callable[[], str] | None = None,
) -> HostTiers:
    """What this host can do."""
    find_gate_obstacle = find_gate_obstacle or find_hold_obstacle_here
    match asked:
        case "auto":
            obstacle = find_obstacle()
            return HostTiers(obstacle, find_gate_obstacle() if obstacle else "", "", **_find_missing_hooks())
        case "lsm":
            return HostTiers(find_obstacle(), NOT_ASKED, NOT_ASKED, **_find_missing_hooks())
        case "hold":
            return HostTiers(NOT_ASKED, find_gate_obstacle(), NOT_ASKED)
        case "kill":
            return HostTiers(NOT_ASKED, NOT_ASKED, "")
    return _NONE


def _find_missing_hooks() -> dict[str, str]:
    return {"names": find_name_hooks_obstacle(), "sockets": find_socket_hooks_obstacle()}


def find_hold_obstacle_here() -> str:
    """Why the gate cannot work on this host; empty when it can."""
    if not is_in_first_namespace("pid"):
        return "this is not the host's pid namespace: who is held cannot be told"
    return find_permission_obstacle()


def give_up(host: HostTiers, tier: str, obstacle: str, asked: str) -> HostTiers:
    """What is left of a host when a tier has turned out not to work."""
    match tier:
        case "lsm" if asked == AUTO:
            return HostTiers(obstacle, find_hold_obstacle_here(), "")
        case "lsm":
            return HostTiers(obstacle, NOT_ASKED, NOT_ASKED)
        case "hold":
            return HostTiers(host.lsm, obstacle, host.kill, host.arguments)
    return HostTiers(host.lsm, host.hold, obstacle, host.arguments)
