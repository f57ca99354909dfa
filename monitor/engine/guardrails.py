"""What no response may hit: checks that can only weaken a verdict, and say why.

They hold for processes outside every container, and trust only what a process
cannot forge: the first process, keys of our own tasks, inodes of root-owned host files, and the
systemd unit's cgroup. Names prove nothing. :class:`GuardrailFacts` comes from the
host, through the runtime.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from monitor.engine.lineage import Lineage
from monitor.model.ids import ProcessKey
from monitor.model.process import Context, ProcessImage

PROTECTED_UNITS: Final = {
    "/init.scope": "the first process",
    "/system.slice/docker.service": "a container runtime",
    "/system.slice/containerd.service": "a container runtime",
    "/system.slice/crio.service": "a container runtime",
    "/system.slice/podman.service": "a container runtime",
    "/system.slice/kubelet.service": "the kubelet",
    "/system.slice/ssh.service": "the admin's login path",
    "/system.slice/sshd.service": "the admin's login path",
    "/system.slice/systemd-logind.service": "the admin's login path",
    "/system.slice/dbus.service": "the admin's login path",
    "/system.slice/stockade.service": "the monitor itself",
}
"""Units that are protected wherever systemd runs: only root can put a task there."""
ACTIONS: Final = frozenset({"deny", "kill", "freeze", "isolate", "quarantine"})
"""All that a verdict can ask for, beside ``alert``."""
CONTAINER_ACTIONS: Final = frozenset({"freeze", "isolate"})
"""What can be done to a container only."""


class GuardrailFacts(Struct, frozen=True):
    """What the host knows and the engine cannot find out."""

    service_keys: frozenset[ProcessKey] = frozenset()
    """The monitor's own processes; what they fork is theirs."""
    protected_files: Mapping[tuple[int, int], str] = {}
    """(device, inode) of root-owned programs of the host -> what they are: runtimes, shims, kubelet, sshd, login."""
    runtime_files: frozenset[tuple[int, int]] = frozenset()
    """(device, inode) of root-owned low-level runtimes (runc, crun): see :mod:`monitor.engine.runtime_tasks`."""
    protected_units: Mapping[str, str] = field(default_factory=lambda: PROTECTED_UNITS)
    """cgroup path of a systemd unit -> what it is."""
    deny_tiers: Mapping[str, str] = {}
    """Ids of the rules that the kernel denies by -> the tier."""
    actions: frozenset[str] = ACTIONS
    """What can be carried out here. A verdict on anything else says what would have been done, whatever the mode."""


def find_guardrail(
    facts: GuardrailFacts, context: Context, lineage: Lineage, subject: str, *, is_service: bool, unit: str
) -> str:
    """The reason why this subject must be left alone, or an empty text.

    ``subject`` is ``container``, ``lineage`` or ``process``. A lineage is protected by
    its root too, since the response would hit the root.
    """
    if context.container is not None:
        return ""
    if is_service:
        return "the monitor itself"
    if context.process.key.tgid == 1 or (subject == "lineage" and lineage.root.tgid == 1):
        return "the first process"
    if reason := facts.protected_units.get(unit) or (subject == "lineage" and facts.protected_units.get(lineage.unit)):
        return reason
    if reason := _find_file(facts, context.image):
        return reason
    return _find_file(facts, lineage.root_image) if subject == "lineage" else ""


def find_lack(facts: GuardrailFacts, action: str, subject: str) -> str:
    """The reason why nobody can do this to such a subject here, or an empty text."""
    if action not in facts.actions:
        return "nothing here carries that out"
    if action in CONTAINER_ACTIONS and subject != "container":
        return f"that can be done to a container only, and this is a {subject}"
    return ""


def _find_file(facts: GuardrailFacts, image: ProcessImage) -> str:
    return facts.protected_files.get((image.exec.device, image.exec.inode), "") if image.exec.inode else ""
