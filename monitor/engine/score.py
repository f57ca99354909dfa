"""Risk: what detections add up to, per container and per lineage.

``risk = 100 * (1 - prod(1 - w_i * 2 ** (-age_i / half_life)))`` over the detections of
a subject, where ``w_i`` is the rule's score / 100, times ``repeat_discount ** n`` for a
detection after which the same rule matched n more times: the newest counts in
full, so a rule that fires again after a day is as bad as at first, and a thousand
repeats in a minute are about as bad as two.

It does not depend on the order in which detections arrive: a subject keeps the
detections that weigh most (and of each rule the newest), ranked by
``log2(w) + t / half_life``, which time does not change. A lineage has, besides its own, a share
of what the lineages above it had done when it began: read when asked for, so that
a fork costs nothing.

Only detections that may cause a response are in the second score (``actionable``): of rules of
status ``stable``, of what the kernel confirmed. A claimed path or a failed exec raises
the risk that people see and never the one that acts.
"""

from bisect import insort
from collections import OrderedDict
from collections.abc import Iterable
from heapq import nlargest
from math import log2
from typing import Final, NamedTuple

from msgspec import Struct

from monitor.config.settings import EngineSettings
from monitor.model.alert import Contribution, Risk

REPEATS_MAX: Final = 8
"""Detections of one rule that a subject keeps: the ninth would weigh 0.4 % of the first."""
FADED: Final = 0.0005
"""A weight that has decayed to this is forgotten."""
EVICTION_SAMPLE: Final = 8
_NS: Final = 1_000_000_000


class Hit(NamedTuple):
    """One detection of a subject. Ordered by what it will weigh at any later time."""

    rank: float
    ktime_ns: int
    rule_id: str
    rule_name: str
    weight: float
    is_actionable: bool


class Subject(Struct, gc=False):
    """What is known against one container or lineage."""

    kind: str
    id: str
    hits: list[Hit]
    """Lightest first."""
    counts: dict[str, int]
    """Detections by rule id, those too that are not kept."""
    is_alerted: bool = False
    """Above the alert's threshold, and said so."""
    hit_ktime_ns: int = 0
    """When it was judged last."""


class Ancestor(NamedTuple):
    """A lineage above this one."""

    id: str
    until_ktime_ns: int
    """The child lineage began then: what came later is not inherited."""


class Scores:
    """All subjects; at most ``subjects_max``, evictions counted."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._half_life_ns = settings.half_life_s * _NS
        self._subjects: OrderedDict[tuple[str, str], Subject] = OrderedDict()
        self.evicted = 0
        self.hits_evicted = 0

    def __len__(self) -> int:
        return len(self._subjects)

    def find(self, kind: str, subject_id: str) -> Subject | None:
        """What is known of a subject, if anything."""
        return self._subjects.get((kind, subject_id))

    def add(
        self, kind: str, subject_id: str, rule: tuple[str, str, int], ktime_ns: int, *, is_actionable: bool
    ) -> Subject:
        """Count a detection of ``rule`` (id, name, score 0 to 100) against a subject."""
        key = (kind, subject_id)
        subject = self._subjects.get(key)
        if subject is None:
            subject = Subject(kind, subject_id, [], {})
            self._subjects[key] = subject
            if len(self._subjects) > self._settings.subjects_max:
                self._evict(key)
        else:
            self._subjects.move_to_end(key)
        rule_id, rule_name, score = rule
        if score > 0:
            weight = min(score, 100) / 100
            rank = log2(weight) + ktime_ns / self._half_life_ns
            self._insert(subject, Hit(rank, ktime_ns, rule_id, rule_name, weight, is_actionable))
        return subject

    def risk(
        self,
        kind: str,
        subject_id: str,
        now_ns: int,
        ancestors: Iterable[Ancestor] = (),
        *,
        is_actionable: bool = False,
    ) -> Risk:
        """The risk of a subject now, with all that made it; 0 for an unknown one.

        ``ancestors``: the lineages above it, nearest first. With ``is_actionable`` only what may
        cause a response counts.
        """
        contributions: list[Contribution] = []
        survival = 1.0
        subject = self._subjects.get((kind, subject_id))
        if subject is not None:
            survival *= self._collect(subject, now_ns, contributions, is_actionable=is_actionable)
        share = 1.0
        until_ns = now_ns
        for ancestor in ancestors:
            share *= self._settings.inherit_share
            until_ns = min(until_ns, ancestor.until_ktime_ns)
            above = self._subjects.get((kind, ancestor.id))
            if above is not None and share > 0:
                survival *= self._collect(
                    above, now_ns, contributions, is_actionable=is_actionable, share=share, until_ns=until_ns
                )
        contributions.sort(key=lambda part: -part.weight * 2 ** (-part.age_s / self._settings.half_life_s))
        score = min(100.0, 100.0 * (1.0 - survival))
        return Risk(kind, subject_id, score, tuple(contributions[: self._settings.contributions_max]))

    def has_claims(self, kind: str, subject_id: str, ancestors: Iterable[Ancestor] = ()) -> bool:
        """Whether anything counts against the subject that may not cause a response."""
        keys = [(kind, subject_id), *((kind, ancestor.id) for ancestor in ancestors)]
        subjects = (self._subjects.get(key) for key in keys)
        return any(not hit.is_actionable for subject in subjects if subject is not None for hit in subject.hits)

    def top(self, limit: int, now_ns: int) -> list[Risk]:
        """The subjects with most risk now, inherited risk left out; highest first."""
        likely = nlargest(limit * 8, self._subjects.values(), key=_rank)
        risks = [self.risk(subject.kind, subject.id, now_ns) for subject in likely]
        return nlargest(limit, risks, key=lambda risk: risk.score)

    def expire(self, now_ns: int, budget: int) -> None:
        """Forget subjects whose risk has faded; looks at no more than ``budget``, those hit longest ago first."""
        while self._subjects and budget:
            key, subject = next(iter(self._subjects.items()))
            if subject.hits and self._decayed(subject.hits[-1], now_ns) > FADED:
                return
            del self._subjects[key]
            budget -= 1

    # --- inside ---------------------------------------------------------------------------

    def _insert(self, subject: Subject, new: Hit) -> None:
        hits = subject.hits
        insort(hits, new)
        subject.counts[new.rule_id] = subject.counts.get(new.rule_id, 0) + 1
        own = [hit for hit in hits if hit.rule_id == new.rule_id]
        if len(own) > REPEATS_MAX:
            hits.remove(own[0])
        if len(hits) > self._settings.contributions_max:
            self.hits_evicted += 1
            gone = hits.pop(0).rule_id
            if not any(hit.rule_id == gone for hit in hits):
                subject.counts.pop(gone, None)

    def _decayed(self, hit: Hit, now_ns: int) -> float:
        return float(hit.weight * 2.0 ** (-max(0, now_ns - hit.ktime_ns) / self._half_life_ns))

    def _collect(
        self,
        subject: Subject,
        now_ns: int,
        contributions: list[Contribution],
        *,
        is_actionable: bool,
        share: float = 1.0,
        until_ns: int | None = None,
    ) -> float:
        """Add a contribution for each rule; return the product of (1 - weight) of its detections."""
        by_rule: dict[str, list[Hit]] = {}
        for hit in reversed(subject.hits):
            if (hit.is_actionable or not is_actionable) and (until_ns is None or hit.ktime_ns <= until_ns):
                by_rule.setdefault(hit.rule_id, []).append(hit)
        survival = 1.0
        for rule_id, hits in by_rule.items():
            rest = 1.0
            for repeat, hit in enumerate(hits):
                rest *= 1.0 - share * self._settings.repeat_discount**repeat * self._decayed(hit, now_ns)
            newest = hits[0]
            age_s = max(0, now_ns - newest.ktime_ns) / _NS
            decay = 2.0 ** (-age_s / self._settings.half_life_s)
            count = subject.counts.get(rule_id, len(hits)) if until_ns is None else len(hits)
            weight = min(1.0, (1.0 - rest) / decay) if decay else 0.0
            contributions.append(
                Contribution(newest.rule_name, weight, age_s, count, share < 1.0 or until_ns is not None)
            )
            survival *= rest
        return survival

    def _evict(self, newcomer: tuple[str, str]) -> None:
        """Of the subjects hit longest ago, the lightest goes: many small ones do not push out a bad one."""
        self.evicted += 1
        oldest = [key for key, _ in zip(self._subjects, range(EVICTION_SAMPLE), strict=False) if key != newcomer]
        self._subjects.pop(min(oldest, key=lambda key: _rank(self._subjects[key])) if oldest else newcomer)


def _rank(subject: Subject) -> float:
    """What its weightiest detection will weigh, comparable at any time."""
    return subject.hits[-1].rank if subject.hits else float("-inf")
