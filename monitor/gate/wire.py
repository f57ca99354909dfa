"""What service and gate say to each other: msgpack frames over a socket that keeps their bounds (SOCK_SEQPACKET).

A policy may be larger than a frame and comes in parts. A file system to be marked comes
as an open descriptor beside its frame, so that the gate walks no path of a container's.
"""

from typing import Final

import msgspec
from msgspec import Struct

from monitor.gate.policy import HeldContainer, HoldPolicy

FRAME_BYTES_MAX: Final = 64 << 10
PART_BYTES: Final = 48 << 10
POLICY_BYTES_MAX: Final = 16 << 20


class Setup(Struct, frozen=True, tag=True):
    """The first frame: what the gate must know before it marks anything."""

    service_tgid: int
    deadline_ms: int
    controller: str
    """The v1 hierarchy that tells containers apart; empty for cgroup2."""
    runtime_files: tuple[tuple[int, int], ...]
    """(device, inode) of the host's low-level runtimes: what they do in a new container before its program runs is let
    through."""
    is_strict: bool = False
    """End at the first breach of the answering thread's discipline, instead of counting it."""


class PolicyPart(Struct, frozen=True, tag=True):
    """Part of a :class:`HoldPolicy`."""

    data: bytes
    is_first: bool
    is_last: bool


class AddContainer(Struct, frozen=True, tag=True):
    """A container, new or with another scope."""

    container: HeldContainer


class RemoveContainer(Struct, frozen=True, tag=True):
    """A container that is gone."""

    cgroup_path: str


class MarkFilesystem(Struct, frozen=True, tag=True):
    """Hold what the policy in force asks for on the file system of the descriptor that comes with this."""

    device: int
    host_points: tuple[str, ...] = ()
    """Where the host shows the file system, if it does."""


class MarkRuntime(Struct, frozen=True, tag=True):
    """Hold each start of the low-level runtime whose descriptor comes with this: see :class:`RuntimeStarts`."""


class LetGo(Struct, frozen=True, tag=True):
    """The file systems that a starting runtime shows are marked: it may start."""

    tid: int


class Fence(Struct, frozen=True, tag=True):
    """Answered by :class:`Report` once everything before it is done."""

    number: int


class Ready(Struct, frozen=True, tag=True):
    """The gate answers from here on."""

    gate_tgid: int
    watchdog_tgid: int
    overlay: "OverlaySight"
    is_memory_locked: bool


class OverlaySight(Struct, frozen=True):
    """What the self test found: which superblock mark sees an exec through overlayfs."""

    by_own_mark: bool = False
    """A mark on the overlay itself: everywhere, as far as is known."""
    by_layer_mark: bool = False
    """A mark on the file system of its layers: from Linux 6.5 on."""
    obstacle: str = ""
    """Why it could not be found out."""


class RuntimeStarts(Struct, frozen=True, tag=True):
    """A runtime waits for :class:`LetGo`, for a moment: its container's overlay is mounted, and nothing runs there."""

    tid: int


class Marked(Struct, frozen=True, tag=True):
    """A file system is marked, or cannot be."""

    device: int
    error: str = ""


class Refused(Struct, frozen=True, tag=True):
    """A policy that was not understood; the one in force stays."""

    reason: str


class Denial(Struct, frozen=True, tag=True):
    """A held event that fulfils terms."""

    generation: int
    """Of the policy whose terms these are."""
    ktime_ns: int
    """CLOCK_MONOTONIC."""
    is_denied: bool
    """False: none of the terms is enforced there, the call went on."""
    terms: bytes
    """All that it fulfils, see :func:`~monitor.gate.policy.unpack_vector`."""
    event: str
    """``exec`` or ``open``."""
    path: str
    """Of the file; empty when it is too long for the kernel to write."""
    device: int
    inode: int
    tid: int
    tgid: int
    parent_tgid: int
    start_ticks: int
    """When the process was started, in clock ticks since boot."""
    file_mode: int
    """``st_mode``."""
    link_count: int
    """0: no directory names the file any more."""
    uid: int
    executable: str
    """What the process runs while it is held."""
    cgroup_id: int
    """Of its container; 0: the host's, or of a container not yet named."""
    cgroup_path: str


class Report(Struct, frozen=True, tag=True):
    """Counters since the gate's start."""

    fence: int
    generation: int
    held: int
    denied: int
    audited: int
    """Would have been denied."""
    exempted: int
    """Fulfilled terms, and were let through all the same: the monitor, the first process, a loader, a runtime."""
    ignored: int
    """Files that need not be held again."""
    failed: int
    """Let through because their facts could not be read."""
    hurried: int
    """Starts of runtimes that went on before their file systems were known to be marked."""
    dropped: int
    """Denials that were not reported, because the service did not read."""
    breaches: int
    """Of the answering thread's discipline."""
    last_breach: str
    slowest_us: int
    """Longest time from reading an event to answering it."""
    marks: int


Command = Setup | PolicyPart | AddContainer | RemoveContainer | MarkFilesystem | MarkRuntime | LetGo | Fence
Message = Ready | Marked | Refused | RuntimeStarts | Denial | Report

encode: Final = msgspec.msgpack.Encoder().encode
decode_command: Final = msgspec.msgpack.Decoder(Command).decode
"""Raises ``msgspec.MsgspecError``."""
decode_message: Final = msgspec.msgpack.Decoder(Message).decode
decode_policy: Final = msgspec.msgpack.Decoder(HoldPolicy).decode


def split_policy(policy: HoldPolicy) -> list[PolicyPart]:
    """A policy in frames.

    Raises:
        ValueError: it is larger than a policy can be.
    """
    data = encode(policy)
    if len(data) > POLICY_BYTES_MAX:
        raise ValueError(f"a policy of {len(data)} bytes: the gate takes {POLICY_BYTES_MAX}")
    starts = range(0, len(data), PART_BYTES)
    return [PolicyPart(data[at : at + PART_BYTES], at == 0, at + PART_BYTES >= len(data)) for at in starts]
