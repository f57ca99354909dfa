"""What denies: load the object of its own, attach the programs of a tier, give its ring and its policy.

Which rules are in the policy, and for whom, is :mod:`monitor.runtime.enforcement`.
"""

import errno
import hashlib
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from monitor.bpf.kernel_policy import KernelPolicyWriter
from monitor.bpf.libbpf import BpfObject, LibbpfError
from monitor.bpf.losses import LossReader
from monitor.bpf.object_settings import pack_tag_hierarchy, prepare_records
from monitor.bpf.own_tasks import mark_own_process, unmark_own_process
from monitor.bpf.pins import PinFolder
from monitor.bpf.ring import Ring
from monitor.config.settings import LimiterSettings
from monitor.model.events import LossReport
from monitor.model.ids import CgroupId, FileIdentity
from monitor.model.kernel_hooks import ACCESS, ENDING, FILES, MEMORY, SOCKETS
from monitor.wire import _layout as layout

_RUNTIME_FILE: Final = struct.Struct("<QQ")
_KIND: Final = struct.Struct("<I")
_ROOT: Final = struct.Struct("<QQ")
_CGROUP: Final = struct.Struct("<Q")
RING_BYTES: Final = 1 << 20
LIFE_PROGRAMS: Final = ("on_policy_fork", "on_policy_exec", "on_policy_cgroup_create", "on_policy_cgroup_remove")
"""Keep whose a cgroup and a task is."""
TIER_PROGRAMS: Final = {"lsm": ("on_exec_check", "on_exec_asked", "on_file_open"), "kill": ("on_exec_kill",)}
"""By tier: lsm denies, kill ends what has been executed before its first instruction."""
HOOK_PROGRAMS: Final = {
    FILES: (
        "on_path_mknod",
        "on_path_mkdir",
        "on_path_rename",
        "on_path_unlink",
        "on_path_rmdir",
        "on_path_link",
        "on_path_symlink",
        "on_path_truncate",
        "on_path_chmod",
        "on_path_chown",
    ),
    MEMORY: ("on_mmap_file", "on_file_mprotect"),
    ACCESS: ("on_ptrace_access", "on_ptrace_traceme"),
    SOCKETS: ("on_socket_connect", "on_socket_send"),
    ENDING: ("on_exec_kill",),
}
"""By group of :data:`monitor.model.kernel_hooks.HOOKS`: what tier lsm also needs where a rule asks for it."""
_HISTORY_MAPS: Final = ("own_tasks", "runtime_tasks", "forkers", "container_roots")
"""What the programs have seen happen, and would not see again."""


class EnforcementPlan(Struct, frozen=True):
    """What to load."""

    tier: str
    """``lsm`` or ``kill``."""
    tag_controller: str = ""
    tag_hierarchy_id: int = 0
    limiter: LimiterSettings = LimiterSettings()
    hooks: tuple[str, ...] = ()
    """Groups of hooks, sorted; tier ``kill`` has none."""
    knows_overlay: bool = True
    """Whether overlayfs' types are known at the time of loading: programs loaded without never learn them."""

    @property
    def programs(self) -> tuple[str, ...]:
        """What is attached, in this order: the table of cgroups first, then what denies by it."""
        asked = [program for group in self.hooks for program in HOOK_PROGRAMS[group]] if self.tier == "lsm" else []
        return (*LIFE_PROGRAMS, *TIER_PROGRAMS[self.tier], *asked)


class Enforcement:
    """The loaded object. A context manager: leaving it detaches what is not pinned."""

    def __init__(self, path: Path, plan: EnforcementPlan) -> None:
        self._plan = plan
        self.generation = build_generation(path, plan)
        """Names what is loaded, for pins: the same name is the same programs with the same settings."""
        self.object = BpfObject(path)
        self.is_adopted = False
        """Whether it was found pinned, and denies by a policy already."""

    def load(self, earlier: "Enforcement | None" = None) -> None:
        """Load anew; nothing is attached yet. What ``earlier`` knows of tasks and containers is known here too.

        Raises:
            LibbpfError: the kernel refused.
        """
        self._set_up()
        if earlier is not None:
            for name in _HISTORY_MAPS:
                self.object.reuse_map(name, earlier.object.map_fd(name), f"map {name}")
        self.object.load()
        self._open()

    def adopt(self, folder: PinFolder) -> None:
        """Take over what is pinned instead: it goes on denying meanwhile.

        Raises:
            LibbpfError: the pins are not what their folder's name says.
        """
        folder.adopt(self.object)
        if missing := {*LIFE_PROGRAMS, *TIER_PROGRAMS[self._plan.tier]}.difference(self.object.attached):
            raise LibbpfError(errno.ENOENT, f"pins of {', '.join(sorted(missing))}")
        self.is_adopted = True
        self._open()

    def _open(self) -> None:
        self.ring = Ring(self.object.map_fd("events_urgent"), RING_BYTES)
        self.policy = KernelPolicyWriter(self.object)
        self._losses = LossReader(self.object)
        self.set_tag_hierarchy(self._plan.tag_controller, self._plan.tag_hierarchy_id)

    def __enter__(self) -> "Enforcement":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_up(self) -> None:
        slots = max(16, 4 * self.object.possible_cpus())
        prepare_records(self.object, slots=slots, urgent_bytes=RING_BYTES, limits=self._plan.limiter)
        if self._plan.tier == "lsm":
            self.object.set_rodata("kill_event", _KIND.pack(layout.POLICY_ENDED))
        wanted = set(self._plan.programs)
        for program in self.object.program_names():
            self.object.set_autoload(program, enabled=program in wanted)

    def attach(self) -> None:
        """Attach what the plan names. Nothing is denied before a policy is applied.

        Raises:
            LibbpfError: the kernel refused.
        """
        for program in self._plan.programs:
            self.object.attach(program)

    @property
    def tier(self) -> str:
        """``lsm`` or ``kill``."""
        return self._plan.tier

    @property
    def knows_overlay(self) -> bool:
        """Whether what was written since an image can be told."""
        return self._plan.knows_overlay

    def has_hooks(self, groups: Iterable[str]) -> bool:
        """Whether these groups of hooks are attached, as far as the tier has any."""
        return self.tier != "lsm" or set(groups) <= set(self._plan.hooks)

    @property
    def ends_by_arguments(self) -> bool:
        """Whether tier lsm ends programs, for it cannot read their arguments before they run."""
        return ENDING in self._plan.hooks

    def detach(self) -> None:
        """Deny no more; the ring can still be read."""
        for program in self.object.attached:
            self.object.detach(program)

    def set_tag_hierarchy(self, controller: str, hierarchy_id: int) -> None:
        """Tell containers apart by this hierarchy (:meth:`monitor.bpf.sensors.Sensors.set_tag_hierarchy`)."""
        self.object.variable_view("tag_hierarchy").cast("Q")[0] = pack_tag_hierarchy(controller, hierarchy_id)

    def set_reader_sleeps(self, *, sleeps: bool) -> None:
        """Say whether the reader waits in epoll: only then do records wake it."""
        self.object.variable_view("reader_sleeps").cast("I")[0] = sleeps

    def mark_own_process(self) -> None:
        """Let this process and its future children do what they want."""
        mark_own_process(self.object)

    def unmark_own_process(self) -> None:
        """Be denied what the policy denies, until the process is marked again."""
        unmark_own_process(self.object)

    def set_runtimes(self, files: Iterable[FileIdentity]) -> None:
        """Say which programs are the host's container runtimes."""
        self._set_runtime_files(files, layout.RUNTIME_FILE_RUNTIME)

    def set_runtime_helpers(self, files: Iterable[FileIdentity]) -> None:
        """Say which programs runtimes bind into containers: they are no drift."""
        self._set_runtime_files(files, layout.RUNTIME_FILE_HELPER)

    def _set_runtime_files(self, files: Iterable[FileIdentity], kind: int) -> None:
        for identity in files:
            key = _RUNTIME_FILE.pack(identity.inode, identity.device)
            self.object.map_update("runtime_files", key, _KIND.pack(kind))

    def add_container_root(self, cgroup_id: CgroupId, device: int, *, is_overlay: bool) -> None:
        """Say which file system a container's root is on, unless the kernel side has seen it itself."""
        key = _CGROUP.pack(cgroup_id)
        if self.object.map_lookup("container_roots", key) is None:
            self.object.map_update("container_roots", key, _ROOT.pack(device, is_overlay))

    def list_plain_roots(self) -> list[CgroupId]:
        """Containers whose root is no overlay: what was written since the image cannot be told there."""
        roots = ((key, _ROOT.unpack_from(value)) for key, value in self.object.map_items("container_roots"))
        return [CgroupId(_CGROUP.unpack_from(key)[0]) for key, (_, is_overlay) in roots if not is_overlay]

    def read_losses(self, ktime_ns: int) -> Iterator[LossReport]:
        """Denials that happened and could not be told, since the last call."""
        return self._losses.read(ktime_ns)

    def close(self) -> None:
        """Detach what is not pinned, unmap, free."""
        if hasattr(self, "ring"):
            self.ring.close()
        self.object.close()


def build_generation(path: Path, plan: EnforcementPlan) -> str:
    """Name what would be loaded, in letters that a bpffs takes."""
    content = hashlib.sha256(path.read_bytes())
    content.update(msgspec.json.encode((plan.tier, plan.limiter, plan.hooks, plan.knows_overlay)))
    return f"{layout.FINGERPRINT & 0xFFFFFFFF:08x}_{content.hexdigest()[:16]}"
