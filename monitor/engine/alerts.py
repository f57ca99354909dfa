"""From detections to an alert: score them, decide, hold back repeats, write.

One alert per event, with every rule that matched it. It is shown when any of them
is not a repeat, or when something was decided; a subject whose risk has crossed the
threshold gets an alert of its own, once until its risk has fallen below again.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from monitor.config.settings import EngineSettings
from monitor.engine.builtin_rules import RISK_THRESHOLD
from monitor.engine.containers import ContainerTable
from monitor.engine.correlate import Correlated
from monitor.engine.decide import Decider, Situation, SubjectRisk, is_actionable
from monitor.engine.enrich import Enricher
from monitor.engine.lineage import Lineage, get_subject_id
from monitor.engine.processes import Row
from monitor.engine.score import Ancestor, Scores
from monitor.engine.suppress import Suppressor, build_key
from monitor.model.alert import Alert, Detection, Risk, Verdict
from monitor.model.effects import Effect, EmitAlert
from monitor.model.events import Denial, FileChange, FileOpen, NetworkConnection, ProcessAccess, ProcessExecFailed
from monitor.model.process import Context

CONTAINER: Final = "container"
LINEAGE: Final = "lineage"
RECENT_SHARE: Final = 2_000
"""What is younger than this part of the half-life has lost less than 0.04 % of its weight."""


class AlertWriter:
    """The second half of the engine: what follows from a detection."""

    def __init__(
        self,
        *,
        enricher: Enricher,
        containers: ContainerTable,
        scores: Scores,
        decider: Decider,
        suppressor: Suppressor,
        settings: EngineSettings,
        boot_id: str,
    ) -> None:
        self._enricher = enricher
        self._containers = containers
        self._scores = scores
        self._decider = decider
        self._suppressor = suppressor
        self._risk_alert_at = settings.risk_alert_at
        self._recent_ns = settings.half_life_s * 1e9 / RECENT_SHARE
        self._boot_id = boot_id
        self.shown = 0
        self.risk_alerts = 0
        self.verdicts = 0

    def write(
        self,
        context: Context,
        detections: Sequence[Detection],
        correlated: Sequence[Correlated],
        now_ns: int,
        effects: list[Effect],
    ) -> None:
        """Turn the detections of one event into at most one alert, and risk alerts."""
        groups = {one.detection.rule.id: one.group for one in correlated}
        visible = (*detections, *(one.detection for one in correlated))
        visible = tuple(detection for detection in visible if detection.rule.generates_alert)
        if not visible:
            return
        row = context.process
        assert isinstance(row, Row)
        lineage = self._enricher.get_lineage(row, context.event.ktime_ns)
        subjects, risen = self._score(context, visible, lineage, now_ns)
        cgroup = self._containers.find_cgroup(row.cgroup_id)
        unit = lineage.unit if cgroup is None else cgroup.unit
        situation = Situation(context, visible, subjects, lineage, unit, row.is_service, now_ns)
        verdicts, responses = self._decider.decide(situation, self._enricher.facts)
        self.verdicts += len(verdicts)
        risks = tuple(subject.risk for subject in subjects)
        keys = [_build_alert_key(detection, risks[0], groups.get(detection.rule.id, "")) for detection in visible]
        keys += [_build_verdict_key(verdict) for verdict in verdicts]
        ktime_ns = context.event.ktime_ns
        if not responses and all(self._suppressor.is_repeat(key, ktime_ns) for key in keys):
            self._suppressor.hold(keys)
        else:
            repeats = max(self._suppressor.show(key, ktime_ns) for key in dict.fromkeys(keys))
            self._emit(Alert(ktime_ns, visible, risks, verdicts, repeats, row.ancestors), effects)
        effects.extend(responses)
        for risk in risen:
            self._write_risk(context, risk, row, effects)

    def write_notice(self, detection: Detection, effects: list[Effect], about: str = "") -> None:
        """An alert about ourselves: no subject, no score, no verdict."""
        ktime_ns = detection.context.event.ktime_ns
        repeats = 0
        if about:
            key = build_key(detection.rule.id, about)
            if self._suppressor.is_repeat(key, ktime_ns):
                self._suppressor.hold([key])
                return
            repeats = self._suppressor.show(key, ktime_ns)
        self._emit(Alert(ktime_ns, (detection,), (), (), repeats), effects)

    # --- inside ---------------------------------------------------------------------------

    def _emit(self, alert: Alert, effects: list[Effect]) -> None:
        self.shown += 1
        effects.append(EmitAlert(alert))

    def _write_risk(self, context: Context, risk: Risk, row: Row, effects: list[Effect]) -> None:
        self.risk_alerts += 1
        reason = f"risk {risk.score:.1f} of this {risk.subject} has reached {self._risk_alert_at:g}"
        detection = Detection(RISK_THRESHOLD, context, reason)
        self._emit(Alert(context.event.ktime_ns, (detection,), (risk,), (), 0, row.ancestors), effects)

    def _score(
        self, context: Context, detections: Sequence[Detection], lineage: Lineage, now_ns: int
    ) -> tuple[tuple[SubjectRisk, ...], list[Risk]]:
        """Count the detections against the container and the lineage; their risks now, and those that crossed."""
        scored: list[tuple[SubjectRisk, bool]] = []
        if context.container is not None:
            scored.append(self._score_subject((CONTAINER, context.container.id), detections, (), now_ns))
        above = tuple(self._find_ancestors(lineage))
        lineage_id = get_subject_id(lineage, self._boot_id)
        scored.append(self._score_subject((LINEAGE, lineage_id), detections, above, now_ns))
        return tuple(subject for subject, _ in scored), [subject.risk for subject, has_risen in scored if has_risen]

    def _score_subject(
        self,
        subject: tuple[str, str],
        detections: Sequence[Detection],
        above: Sequence[Ancestor],
        now_ns: int,
    ) -> tuple[SubjectRisk, bool]:
        """Count the detections against one subject; its risk now, and whether that has just crossed the threshold."""
        kind, subject_id = subject
        scores = self._scores
        known = scores.find(kind, subject_id)
        was_alerted = known is not None and known.is_alerted
        if (
            known is not None
            and was_alerted
            and now_ns - known.hit_ktime_ns > self._recent_ns  # sooner nothing has decayed: spares a flood's cost
            and scores.risk(kind, subject_id, now_ns, above).score < self._risk_alert_at
        ):
            was_alerted = False  # it has decayed since: the next crossing is told again
        for detection in detections:
            rule = detection.rule
            known = scores.add(
                kind,
                subject_id,
                (rule.id, rule.name, rule.score),
                detection.context.event.ktime_ns,
                is_actionable=is_actionable(detection),
            )
        risk = scores.risk(kind, subject_id, now_ns, above)
        actionable = risk
        if scores.has_claims(kind, subject_id, above):
            actionable = scores.risk(kind, subject_id, now_ns, above, is_actionable=True)
        is_above = risk.score >= self._risk_alert_at
        if known is not None:
            known.is_alerted = is_above
            known.hit_ktime_ns = now_ns
        return SubjectRisk(risk, actionable.score), is_above and not was_alerted

    def _find_ancestors(self, lineage: Lineage) -> Iterator[Ancestor]:
        child = lineage
        while (parent := child.parent) is not None:
            yield Ancestor(get_subject_id(parent, self._boot_id), child.started_ktime_ns)
            child = parent


def _build_alert_key(detection: Detection, risk: Risk, group: str) -> bytes:
    """Equal are: rule, subject, program and file (of an exec: the script; the other program, the address); of a
    correlation the group too.
    """
    context = detection.context
    event = context.event
    if isinstance(event, FileOpen | FileChange | Denial):
        file = event.path
    elif isinstance(event, ProcessExecFailed):
        file = event.path_claimed
    elif isinstance(event, ProcessAccess):
        file = event.target_executable
    elif isinstance(event, NetworkConnection):
        file = event.address
    else:
        file = context.image.exec.script
    return build_key(detection.rule.id, risk.subject, risk.subject_id, context.image.executable, file, group)


def _build_verdict_key(verdict: Verdict) -> bytes:
    """A decision that was not told yet makes an alert worth showing."""
    return build_key("verdict", verdict.action, verdict.mode, verdict.subject, verdict.subject_id, verdict.weakened_by)
