"""Who is at the other end of a Unix socket, as the kernel says, and whether they may be.

The credentials are those of the process that called connect(2) (unix(7),
SO_PEERCRED; SO_PEERGROUPS since Linux 4.13): no client can claim others.
"""

import grp
import socket
import struct
from typing import Final

from msgspec import Struct

SO_PEERGROUPS: Final = 59
"""From asm-generic/socket.h; Python has no name for it."""
GROUPS_BYTES_MAX: Final = 1_024
"""256 groups: the longest answer that ``getsockopt`` of Python 3.11 takes."""

_CREDENTIALS: Final = struct.Struct("3i")


class Peer(Struct, frozen=True):
    """Credentials of a connected process."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...]
    """Supplementary groups; empty when there are more than 256."""


def read_peer(connection: socket.socket) -> Peer:
    """Ask the kernel who connected. Raises ``OSError``."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    try:
        groups = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, GROUPS_BYTES_MAX)
    except OSError:  # ERANGE: too many to be read here; the primary group still counts
        groups = b""
    return Peer(pid, uid, gid, struct.unpack(f"{len(groups) // 4}I", groups))


def is_admitted(peer: Peer, group_id: int | None) -> bool:
    """Tell whether the peer is root or of the group; without a group it must be root."""
    if peer.uid == 0:
        return True
    return group_id is not None and (peer.gid == group_id or group_id in peer.groups)


def find_group_id(name: str) -> int | None:
    """Look a group up; None when this host has none of that name. Asks the name service: only at start."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
