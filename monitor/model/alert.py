"""What leaves for a human: detections, the score they made, and what was decided."""

from msgspec import Struct

from monitor.model.process import Context
from monitor.model.rule import Rule


class Detection(Struct, frozen=True):
    """This rule matched this event."""

    rule: Rule
    context: Context
    reason: str = ""
    """For correlations: what was counted."""


class Contribution(Struct, frozen=True):
    """One term of a subject's risk."""

    rule: str
    weight: float
    """0 to 1, before decay and after the discount for repeats."""
    age_s: float
    count: int
    inherited: bool = False
    """Came from the parent lineage at a fork."""


class Risk(Struct, frozen=True):
    """Accumulated risk of one subject at one moment, with all that made it."""

    subject: str
    """``lineage`` or ``container``."""
    subject_id: str
    """``process.entity_id`` of the lineage's root, or the container id."""
    score: float
    """0 to 100."""
    contributions: tuple[Contribution, ...]


class Verdict(Struct, frozen=True):
    """A decision and its reason. In mode ``audit`` it says what would have been done."""

    action: str
    """``alert deny kill freeze isolate quarantine``."""
    mode: str
    subject: str
    subject_id: str
    reason: str
    for_s: float = 0.0
    weakened_by: str = ""
    """The guardrail that took the action back to ``alert``; empty when none did."""


class Alert(Struct, frozen=True):
    """One or more detections about one event."""

    ktime_ns: int
    detections: tuple[Detection, ...]
    risks: tuple[Risk, ...]
    verdicts: tuple[Verdict, ...]
    repeats: int = 0
    """Equal alerts that were held back since the last one (suppression); 0 for a first alert."""
    ancestors: tuple[str, ...] = ()
    """Executables of the process's ancestors, nearest first; bounded."""

    @property
    def context(self) -> Context:
        """What happened: the context of the first detection."""
        return self.detections[0].context
