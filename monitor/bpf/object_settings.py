"""What every object of ours is told before load and while it runs: the layout it must have, scratch memory, limits, the
hierarchy that tags."""

import errno
import struct
from typing import Final

from monitor.bpf.libbpf import BpfObject, LibbpfError
from monitor.config.settings import LimiterSettings
from monitor.wire import _layout as layout

_TAG_CONTROLLERS: Final = {
    "": layout.TAG_CONTROLLER_CGROUP2,
    "pids": layout.TAG_CONTROLLER_PIDS,
    "memory": layout.TAG_CONTROLLER_MEMORY,
}


class LayoutMismatch(LibbpfError):
    """The object was built from another events.h than the decoder."""


def check_layout(bpf_object: BpfObject) -> None:
    """Make sure that both sides mean the same.

    Raises:
        LayoutMismatch: they do not.
    """
    if int.from_bytes(bpf_object.variable_view("layout_fingerprint"), "little") != layout.FINGERPRINT:
        raise LayoutMismatch(
            errno.EINVAL, f"{bpf_object.path} was built from another events.h (make -C ebpf clean all mends it)"
        )


def prepare_records(bpf_object: BpfObject, *, slots: int, urgent_bytes: int, limits: LimiterSettings) -> None:
    """Say how records are made and limited.

    Raises:
        LayoutMismatch: the object's records are not the decoder's.
    """
    check_layout(bpf_object)
    bpf_object.set_rodata("slot_count", struct.pack("<I", slots))
    bpf_object.set_rodata("limit_per_s", struct.pack("<2Q", limits.bulk_per_s, limits.exec_per_s))
    bpf_object.set_rodata("limit_burst", struct.pack("<2Q", limits.bulk_burst, limits.exec_burst))
    bpf_object.set_max_entries("slots", slots)
    bpf_object.set_max_entries("events_urgent", urgent_bytes)


def pack_tag_hierarchy(controller: str, hierarchy_id: int) -> int:
    """The word that says which hierarchy's cgroups tag: ``controller`` is empty for cgroup2, else the v1 controller."""
    return hierarchy_id << layout.TAG_HIERARCHY_SHIFT | _TAG_CONTROLLERS[controller]
