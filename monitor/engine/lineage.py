"""What a lineage is: the processes that answer together for what one of them does.

A lineage is a tree of processes below one root. A process starts a new lineage
(and is its root) when it

* enters a container: the entry program, and every ``docker exec`` of its own;
* on the host is forked by the first process (a service, a daemon), or by nobody known;
* on the host runs a program in another systemd unit than its lineage (a service, a
  login's ``session-N.scope``, a user manager; without systemd: in another cgroup).
  Below a unit everything is the unit's: a user cannot leave a lineage through
  cgroups that were delegated to him;
* on the host runs a program with an audit login uid where its lineage had none: a
  login below sshd, a job below cron.

Forking twice, ``setsid`` and a new terminal change nothing, since anyone may do
that. A new lineage remembers where it came from: it inherits a share of the risk
that its parent lineage had by then (:mod:`monitor.engine.score` reads it on demand,
so a fork costs nothing).
"""

from typing import Final

from msgspec import Struct

from monitor.engine.images import EMPTY_IMAGE
from monitor.model.ids import ProcessKey, build_entity_id
from monitor.model.process import ProcessImage

LOGIN_UID_UNSET: Final = 0xFFFFFFFF
"""``(uid_t) -1``."""
DEPTH_MAX: Final = 8
"""Lineages above this one that are remembered: what is farther up has halved too often to matter."""


class Lineage(Struct, gc=False):
    """One lineage. Shared by its processes; outlives its root."""

    root: ProcessKey
    root_exec_id: int
    started_ktime_ns: int
    container_id: str
    """Empty on the host."""
    unit: str
    """Of the host's root; empty in containers."""
    login_uid: int
    parent: "Lineage | None" = None
    root_image: ProcessImage = EMPTY_IMAGE
    """What the root ran when the lineage began."""
    subject_id: str = ""
    """Filled when first asked for, see :func:`get_subject_id`."""


def start_lineage(lineage: Lineage) -> Lineage:
    """Bound the chain above a new lineage and return it."""
    above: Lineage | None = lineage
    for _ in range(DEPTH_MAX):
        if above is None:
            return lineage
        above = above.parent
    if above is not None:
        above.parent = None
    return lineage


def get_subject_id(lineage: Lineage, boot_id: str) -> str:
    """``process.entity_id`` of the root, as the lineage began."""
    if not lineage.subject_id:
        lineage.subject_id = build_entity_id(boot_id, lineage.root, lineage.root_exec_id)
    return lineage.subject_id
