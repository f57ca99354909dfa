"""The status document: health and counters of the running service, typed.

The runtime fills a :class:`Status`; ``stockade status`` shows one. Field by field in
docs/events.md. A field that a part of the service cannot tell keeps its default.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct, field

from monitor.model.alert import Risk
from monitor.model.container import Container

RATE_WINDOW_S: Final = 10.0


class EventRate(Struct, frozen=True):
    """How often something happened."""

    count: int
    """Since the start."""
    per_s: float
    """Over the last 10 seconds or so."""


class SensorStatus(Struct, frozen=True):
    """One sensor."""

    is_attached: bool
    hooks: tuple[str, ...] = ()
    """Where it is attached."""
    reason: str = ""
    """Why not, or what it cannot see here."""


class InactiveRule(Struct, frozen=True):
    """A rule that cannot fire here."""

    name: str
    reason: str


class RulesStatus(Struct, frozen=True):
    """The rule set."""

    active: int = 0
    inactive: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    """Active ones, by ``stable``, ``test``, ``experimental``, ``deprecated``."""
    inactive_rules: tuple[InactiveRule, ...] = ()
    disabled: tuple[InactiveRule, ...] = ()
    """Raised while running and were switched off."""


class LostStatus(Struct, frozen=True):
    """Records that the kernel side could not write, or that its limiter held back."""

    total: int = 0
    by_type: dict[str, int] = field(default_factory=dict)
    by_cgroup: dict[str, int] = field(default_factory=dict)
    """By container name or id, ``host cgroup PATH``, ``unknown cgroup ID`` or ``not attributable to a cgroup``; the
    largest ones."""


class DroppedStatus(Struct, frozen=True):
    """Records that we discarded."""

    subscribers: int = 0
    """By slow subscribers' own queues."""
    console: int = 0


class StreamStatus(Struct, frozen=True):
    """The event stream."""

    subscribers: int = 0
    published: int = 0
    history_records: int = 0


class SubjectStatus(Struct, frozen=True):
    """A process lineage or container with risk."""

    subject: str
    """``lineage`` or ``container``."""
    subject_id: str
    score: float
    name: str = ""
    """Container's name, or executable and pid of the lineage's root."""
    contributions: tuple[tuple[str, float], ...] = ()
    """(rule, weight), heaviest first."""


class ContainerStatus(Struct, frozen=True):
    """A container that is watched."""

    id: str
    runtime: str
    name: str = ""
    image_name: str = ""
    pending: bool = False
    is_gone: bool = False
    """It has ended; known for a while yet, since its last events may still come."""


class FrozenStatus(Struct, frozen=True):
    """A container that the service froze."""

    id: str
    name: str
    since_s: float
    """For so long already."""
    left_s: float | None
    """Until it is thawed; null: until somebody thaws it."""
    reason: str


class HoldStatus(Struct, frozen=True):
    """The gate of tier hold: this one and those before it."""

    is_running: bool = False
    rules: int = 0
    """That it denies by."""
    file_systems: int = 0
    """That are marked."""
    held: int = 0
    """Execs and opens that waited for an answer."""
    denied: int = 0
    known: int = 0
    """Files that need not be asked for again."""
    exempted: int = 0
    """Let through whatever the rules say: a runtime's own steps, programs' loaders, the service."""
    unread: int = 0
    """Let through because who asked, or for what, could not be read."""
    hurried: int = 0
    """Container runtimes that started before what they show was known to be marked."""
    untold: int = 0
    """Denials that the service did not hear of."""
    breaches: int = 0
    """Of the answering thread's discipline."""
    slowest_us: int = 0
    """Longest answer of the gate that runs."""
    starts: int = 0
    missed_deadlines: int = 0
    """Gates that were killed because they did not answer: what they held went on."""
    deaths: int = 0
    """Gates that ended otherwise without being asked: the same."""


class DenialStatus(Struct, frozen=True):
    """Rules with ``response: deny``."""

    rules: dict[str, int] = field(default_factory=dict)
    """By the tier that each has wherever it applies: ``lsm``, ``hold``, ``kill``, ``observe``."""
    hold: HoldStatus | None = None
    """None while no gate is needed."""
    files: int = 0
    """Found at exact paths of the rules, here and in containers: the kernel denies them whatever they are called."""


class GuardsStatus(Struct, frozen=True):
    """Whether root is kept from ending the service by the way."""

    on: bool = False
    refused: dict[str, int] = field(default_factory=dict)
    """Attempts, by what they were aimed at."""


class SelfStatus(Struct, frozen=True):
    """What the service itself uses."""

    pid: int = 0
    rss_bytes: int = 0
    pss_bytes: int = 0
    """Of what it shares with others, its part alone."""
    cpu_percent: float = 0.0
    """Of one core, over the last seconds."""


class Status(Struct, frozen=True, rename={"own": "self"}):
    """All of it."""

    version: str
    uptime_s: float
    kernel: str = ""
    """``uname -r``."""
    host_name: str = ""
    boot_id: str = ""
    tier: str = ""
    """Strongest denial in force: ``lsm``, ``hold``, ``kill``; ``observe`` where nothing is denied."""
    guards: GuardsStatus = GuardsStatus()
    mode: str = "audit"
    hierarchy: str = ""
    """Whose cgroups tell containers apart, and where it is mounted: ``cgroup2 at /sys/fs/cgroup``."""
    sensors: dict[str, SensorStatus] = field(default_factory=dict)
    rules: RulesStatus = RulesStatus()
    events: dict[str, EventRate] = field(default_factory=dict)
    """By event class as ``event.action`` names it, and ``alert``."""
    lost: LostStatus = LostStatus()
    limited: LostStatus = LostStatus()
    dropped: DroppedStatus = DroppedStatus()
    stream: StreamStatus = StreamStatus()
    engine: dict[str, int | float] = field(default_factory=dict)
    """As ``Engine.stats()`` counts."""
    subjects: tuple[SubjectStatus, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()
    frozen: tuple[FrozenStatus, ...] = ()
    denial: DenialStatus = DenialStatus()
    own: SelfStatus = SelfStatus()
    notes: tuple[str, ...] = ()
    """What a human should know: degraded parts, each with what to do."""

    def to_document(self) -> dict[str, object]:
        """Return it as plain values, as JSON and the sockets carry it."""
        document = msgspec.to_builtins(self)
        assert isinstance(document, dict)
        return document


def parse_status(document: object) -> Status:
    """Read a status document. Raises ``ValueError`` when it is none."""
    return msgspec.convert(document, Status, strict=False)


def build_subject(risk: Risk, name: str = "") -> SubjectStatus:
    """Describe a subject for the status."""
    weightiest = sorted(risk.contributions, key=lambda contribution: -contribution.weight)
    contributions = tuple((each.rule, round(each.weight, 3)) for each in weightiest[:5])
    return SubjectStatus(risk.subject, risk.subject_id, round(risk.score, 1), name, contributions)


def build_container(container: Container, *, is_gone: bool = False) -> ContainerStatus:
    """Describe a container for the status."""
    return ContainerStatus(
        container.id, container.runtime, container.name, container.image_name, container.pending, is_gone
    )


class RateMeter:
    """Turns counters that only grow into rates over a moving window. Pure: time is given."""

    def __init__(self, window_s: float = RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, dict[str, int]]] = deque()

    def observe(self, now_s: float, counts: Mapping[str, int]) -> None:
        """Take a sample; once a second is often enough."""
        samples = self._samples
        samples.append((now_s, dict(counts)))
        # The oldest sample that is kept lies at or before the window's begin.
        while len(samples) > 2 and samples[1][0] <= now_s - self._window_s:
            samples.popleft()

    def rates(self, now_s: float, counts: Mapping[str, int]) -> dict[str, EventRate]:
        """Return counts and rates as of now."""
        since_s, before = self._samples[0] if self._samples else (now_s, dict(counts))
        elapsed_s = now_s - since_s
        return {
            name: EventRate(count, round((count - before.get(name, 0)) / elapsed_s, 1) if elapsed_s > 0 else 0.0)
            for name, count in counts.items()
        }
