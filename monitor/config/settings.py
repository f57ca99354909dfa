"""What the service can be told, with its defaults. Reading it from files is :mod:`monitor.config.load`."""

from pathlib import Path
from typing import Final

from msgspec import Struct, field


class Observe(Struct, frozen=True):
    """Stream opens that no rule names."""

    path: str
    """A glob over whole paths: ``*`` within one component, ``**`` across components, e.g. ``/etc/**``."""
    container: str = "any"
    """``any`` (containers only), ``none`` (host only) or ``all``."""
    access: str = "any"
    """``read``, ``write`` or ``any``."""


class RingSettings(Struct, frozen=True):
    """Sizes of the two ring buffers: powers of two, whole pages."""

    urgent_bytes: int = 4 << 20
    bulk_bytes: int = 8 << 20


class LimiterSettings(Struct, frozen=True):
    """The per-cgroup token buckets in the kernel."""

    bulk_per_s: int = 4_000
    """About what one core judges in half its time: the ring is shared, and a container that could fill it would
    delay what the others open."""
    bulk_burst: int = 8_000
    exec_per_s: int = 20_000
    exec_burst: int = 40_000


PREVENTIONS: Final = (
    "no_drift",
    "no_kernel_writes",
    "no_memfd",
    "no_package_managers",
    "no_ptrace",
    "no_runtime_sockets",
    "no_shells",
    "no_tmpfs_programs",
)
"""The ready-made preventions; each is a shipped rule of this name."""
SERVICE_MODE: Final = "service"


class Prevention(Struct, frozen=True):
    """One ready-made prevention that is switched on."""

    name: str
    mode: str = SERVICE_MODE
    """``audit``, ``enforce``, or that of the service."""
    containers: tuple[str, ...] = ()
    """Ids, or how they begin; none: all containers."""
    allow: tuple[str, ...] = ()
    """Programs that it leaves alone, by path in the container; a path that ends in ``/`` is a folder."""


class EnforcementSettings(Struct, frozen=True):
    """What the kernel does about rules that deny."""

    prevent: tuple[Prevention, ...] = ()

    tier: str = "auto"
    """``auto`` (for each rule the best that there is), ``lsm``, ``hold``, ``kill`` or ``none``."""
    on_exit: str = "detach"
    """``detach``: denial ends when the service is stopped; ``keep``: it goes on. A crash never ends it."""
    guards: bool = False
    """Root cannot end the service, unpin or unload it by the way (mode enforce, tier ``lsm``)."""
    hold_paths: tuple[Path, ...] = ()
    """The file systems of these are held too, beside the containers' own: every exec there waits for the gate."""
    hold_deadline_ms: int = 1_000
    """A gate that has not answered for so long is killed, and what it held goes on."""


class EngineSettings(Struct, frozen=True):
    """Bounds and constants of the engine."""

    processes_max: int = 65_536
    earlier_images_bytes: int = 8 << 20
    """For what processes ran before what they run now: opens are judged after the execs that followed them."""
    exited_keep_s: float = 30.0
    containers_max: int = 8_192
    subjects_max: int = 16_384
    contributions_max: int = 64
    """Per subject."""
    half_life_s: float = 1_800.0
    inherit_share: float = 0.5
    """Share of a lineage's risk that a child starts with."""
    repeat_discount: float = 0.5
    """The n-th repeat of a rule weighs ``discount ** n`` of the first."""
    risk_alert_at: float = 80.0
    suppress_s: float = 60.0
    """Equal alerts (rule, subject, program, file) within this time are counted, not shown."""
    suppress_max: int = 16_384
    correlation_groups_max: int = 4_096
    """Per correlation rule."""
    correlation_events_max: int = 1_024
    """Per group."""


class StreamSettings(Struct, frozen=True):
    """The event stream."""

    group: str = "stockade"
    history_events: int = 10_000
    subscribers_max: int = 64
    queue_events: int = 8_192
    """Per subscriber; a slow one loses from its own queue and is told how many."""


class Settings(Struct, frozen=True):
    """Everything. Defaults < /etc/stockade/stockade.yml < STOCKADE_* < flags."""

    mode: str = "audit"
    """``audit`` or ``enforce``."""
    run_dir: Path = Path("/run/stockade")
    state_dir: Path = Path("/var/lib/stockade")
    pin_dir: Path = Path("/run/stockade/bpf")
    shipped_rules: bool = True
    rules: tuple[Path, ...] = (Path("/etc/stockade/rules.d"),)
    """Folders of your own rules; one that does not exist is an error unless it is this default."""
    response: Path | None = None
    """``response.yml``; default: /etc/stockade/response.yml if there, else the shipped one."""
    failed_exec: bool = True
    """Stream failed execs."""
    observe: tuple[Observe, ...] = (
        Observe(path="/etc/**", container="any", access="write"),
        Observe(path="/etc/shadow*", container="any", access="read"),
        Observe(path="/root/.ssh/**", container="any", access="read"),
        Observe(path="/home/*/.ssh/authorized_keys", container="any", access="any"),
        Observe(path="/home/*/.ssh/id_rsa", container="any", access="read"),
        Observe(path="/home/*/.ssh/id_ed25519", container="any", access="read"),
    )
    rings: RingSettings = field(default_factory=RingSettings)
    limiter: LimiterSettings = field(default_factory=LimiterSettings)
    enforcement: EnforcementSettings = field(default_factory=EnforcementSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    stream: StreamSettings = field(default_factory=StreamSettings)
