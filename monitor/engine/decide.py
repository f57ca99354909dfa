"""Turn detections and risk into verdicts: the response policy, the rules' own responses, the guardrails.

A verdict always says why. Three things take it back to less: in mode ``audit``
nothing is done; only what rules of status ``stable`` detected, in facts that the
kernel confirmed, may cause a response; a guardrail protects what must live. What
is left, in mode ``enforce``, becomes a :class:`Respond` effect.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from monitor.engine.guardrails import GuardrailFacts, find_guardrail, find_lack
from monitor.engine.lineage import Lineage
from monitor.model.alert import Detection, Risk, Verdict
from monitor.model.container import Container
from monitor.model.effects import Respond
from monitor.model.events import AnyEvent, Denial, FileChange, FileOpen, ProcessExec, ProcessExecFailed
from monitor.model.process import Context
from monitor.rules.response import ResponseEntry, ResponsePolicy

COOLDOWNS_MAX: Final = 16_384
ENFORCE: Final = "enforce"
AUDIT: Final = "audit"
MODE_LABEL: Final = "stockade.mode"
_PROCESS_ACTIONS: Final = frozenset({"deny", "kill", "quarantine"})
"""A rule's own response of this kind is about the one process; freeze and isolate are about its container."""
_DONE: Final = frozenset({"alert", "deny"})
"""Nobody is asked to do these: an alert is written, and what was not denied in the kernel has happened."""
_NS: Final = 1_000_000_000


class SubjectRisk(NamedTuple):
    """A subject of an alert, with both of its scores."""

    risk: Risk
    actionable_score: float
    """What stable rules detected in confirmed facts: the score that a response in mode ``enforce`` needs."""


class Situation(NamedTuple):
    """Everything that a decision looks at."""

    context: Context
    detections: tuple[Detection, ...]
    subjects: tuple[SubjectRisk, ...]
    lineage: Lineage
    unit: str
    is_service: bool
    now_ns: int


def is_claimed(context: Context) -> bool:
    """Whether the event rests on what user memory claimed: a failed exec or open, a change by name."""
    event = context.event
    if type(event) is FileChange:
        return event.is_path_claimed
    return type(event) is ProcessExecFailed or (type(event) is FileOpen and (event.is_path_claimed or event.errno > 0))


def is_actionable(detection: Detection) -> bool:
    """Whether a detection may cause a response in mode ``enforce``."""
    return detection.rule.status == "stable" and not is_claimed(detection.context)


def get_mode(mode: str, container: Container | None) -> str:
    """The service's mode; a container's label may make it stricter and never weaker."""
    if mode != ENFORCE and container is not None and (MODE_LABEL, ENFORCE) in container.labels:
        return ENFORCE
    return mode


class Decider:
    """Remembers only cooldowns; at most 16,384 of them (an evicted one errs towards deciding again)."""

    def __init__(self, policy: ResponsePolicy, mode: str) -> None:
        self.policy = policy
        self.mode = mode
        self._cooldowns: OrderedDict[tuple[str, str, bool], int] = OrderedDict()
        self.evicted = 0
        self.weakened = 0

    def __len__(self) -> int:
        return len(self._cooldowns)

    def decide(self, situation: Situation, facts: GuardrailFacts) -> tuple[tuple[Verdict, ...], list[Respond]]:
        """The verdicts on this event, and of these the ones to carry out."""
        verdicts: list[Verdict] = []
        for subject in situation.subjects:
            if (verdict := self._apply_policy(situation, subject, facts)) is not None:
                verdicts.append(verdict)
        for detection in situation.detections:
            if detection.rule.response != "alert":
                verdicts.append(self._apply_rule(situation, detection, facts))
        unique = tuple(dict.fromkeys(verdicts))
        self.weakened += sum(1 for verdict in unique if verdict.weakened_by)
        responses = [
            Respond(verdict, situation.context)
            for verdict in unique
            if verdict.mode == ENFORCE and verdict.action not in _DONE
        ]
        return unique, responses

    # --- the response policy --------------------------------------------------------------

    def _apply_policy(self, situation: Situation, subject: SubjectRisk, facts: GuardrailFacts) -> Verdict | None:
        """First match: later entries say nothing about this subject, also while the first one cools down."""
        for entry in self.policy.entries:
            matching = self._find_matching(entry, situation, subject)
            if not matching:
                continue
            if entry.action == "alert":
                return None
            verdict = self._build_policy_verdict(entry, situation, subject, matching, facts)
            return None if self._is_cooling(entry, verdict, situation.now_ns) else verdict
        return None

    def _find_matching(self, entry: ResponseEntry, situation: Situation, subject: SubjectRisk) -> tuple[Detection, ...]:
        """The detections for which the entry holds; none: it does not hold."""
        risk = subject.risk
        wanted = entry.subject or ("container" if situation.context.container is not None else "lineage")
        if wanted != risk.subject or not entry.is_risk_met(risk.score):
            return ()
        if entry.scope is not None and not entry.scope(situation.context):
            return ()
        return tuple(
            detection
            for detection in situation.detections
            if entry.is_severity_met(detection.rule.severity)
            and (not entry.rules or detection.rule.id in entry.rules or detection.rule.name in entry.rules)
        )

    def _build_policy_verdict(
        self,
        entry: ResponseEntry,
        situation: Situation,
        subject: SubjectRisk,
        matching: tuple[Detection, ...],
        facts: GuardrailFacts,
    ) -> Verdict:
        risk = subject.risk
        reason = f"{matching[0].rule.name} matched; {entry.location}"
        if entry.risk is not None:
            reason = f"risk {risk.score:.1f} {entry.risk[0]} {entry.risk[1]:g}; {entry.location}"
        may_act = any(is_actionable(detection) for detection in matching) and entry.is_risk_met(
            subject.actionable_score
        )
        return self._weaken(
            Verdict(
                entry.action, self._get_mode(situation.context), risk.subject, risk.subject_id, reason, entry.for_s
            ),
            situation,
            facts,
            may_act=may_act,
        )

    def _is_cooling(self, entry: ResponseEntry, verdict: Verdict, now_ns: int) -> bool:
        """Whether the same was decided a moment ago. What was only said does not silence what would be done."""
        if not entry.cooldown_s:
            return False
        key = (entry.text, verdict.subject_id, verdict.mode == ENFORCE and not verdict.weakened_by)
        until_ns = self._cooldowns.get(key)
        if until_ns is not None and now_ns < until_ns:
            return True
        self._cooldowns[key] = now_ns + int(entry.cooldown_s * _NS)
        self._cooldowns.move_to_end(key)
        if len(self._cooldowns) > COOLDOWNS_MAX:
            self._cooldowns.popitem(last=False)
            self.evicted += 1
        return False

    # --- a rule's own response ------------------------------------------------------------

    def _apply_rule(self, situation: Situation, detection: Detection, facts: GuardrailFacts) -> Verdict:
        rule = detection.rule
        subject, subject_id = self._find_subject(situation, rule.response)
        mode = rule.mode or self._get_mode(situation.context)
        verdict = Verdict(rule.response, mode, subject, subject_id, f"rule {rule.name} asks for it")
        done = ""
        if rule.response == "deny":
            done = _tell_denial(situation.context.event, facts.deny_tiers.get(rule.id, ""))
        return self._weaken(verdict, situation, facts, may_act=is_actionable(detection), done=done)

    def _get_mode(self, context: Context) -> str:
        return get_mode(self.mode, context.container)

    def _find_subject(self, situation: Situation, action: str) -> tuple[str, str]:
        container = situation.context.container
        if action in _PROCESS_ACTIONS or container is None:
            return "process", situation.context.entity_id
        return "container", container.id

    # --- what weakens ---------------------------------------------------------------------

    def _weaken(
        self, verdict: Verdict, situation: Situation, facts: GuardrailFacts, *, may_act: bool, done: str = ""
    ) -> Verdict:
        """Guardrails and unproven rules take a verdict back; nothing in here makes one stronger.

        ``done`` says how it has been carried out already, if it has.
        """
        guardrail = find_guardrail(
            facts,
            situation.context,
            situation.lineage,
            verdict.subject,
            is_service=situation.is_service,
            unit=situation.unit,
        )
        action, mode, weakened_by = verdict.action, verdict.mode, ""
        reason = verdict.reason
        if guardrail:
            action, weakened_by = "alert", guardrail
            reason = f"would {verdict.action}, but this is {guardrail}: {reason}"
        elif mode != ENFORCE:
            mode = AUDIT
            reason = f"would {verdict.action}: {reason}"
        elif not done and (lack := find_lack(facts, verdict.action, verdict.subject)):
            mode = AUDIT
            reason = f"would {verdict.action}, but {lack}: {reason}"
        elif not may_act:
            mode = AUDIT
            reason = f"would {verdict.action}, but no stable rule saw it in what the kernel confirmed: {reason}"
        elif done:
            reason = f"{done}: {reason}"
        return Verdict(
            action,
            mode,
            verdict.subject,
            verdict.subject_id,
            reason,
            verdict.for_s if not weakened_by else 0.0,
            weakened_by,
        )


def _tell_denial(event: AnyEvent, tier: str) -> str:
    """How the kernel has denied this; empty when it has not."""
    if type(event) is Denial:
        return f"the kernel denied it (tier {event.tier})"
    if tier == "kill" and type(event) is ProcessExec:
        return f"the kernel ended it before its first instruction (tier {tier})"
    return ""
