"""Ask every rule that could match an event; each that does gives a detection.

A predicate that raises is a defect of the rule, not of the event: the rule is
disabled until the next load, once, and the rest goes on.
"""

import logging
from collections.abc import Sequence

from monitor.model.alert import Detection
from monitor.model.process import Context
from monitor.model.rule import Rule
from monitor.rules.ruleset import RuleSet

logger = logging.getLogger(__name__)
_NOTHING: list[Detection] = []


class Detector:
    """The rules of one load, and which of them were disabled since."""

    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules
        self.disabled: dict[str, str] = {}
        """Rule id -> why."""

    def detect(self, context: Context, failures: list[tuple[Rule, str]]) -> Sequence[Detection]:
        """All rules that match. A rule that raised is added to ``failures``, once, and off from then on."""
        detections = _NOTHING
        disabled = self.disabled
        for compiled in self.rules.candidates(context):
            try:
                is_match = compiled.matches(context)
            except Exception as error:  # one of three broad ones: a rule is foreign code, see CONVENTIONS
                self._disable(compiled.rule, error, failures)
                continue
            if is_match and not (disabled and compiled.rule.id in disabled):
                if detections is _NOTHING:
                    detections = []
                detections.append(Detection(compiled.rule, context))
        return detections

    def _disable(self, rule: Rule, error: Exception, failures: list[tuple[Rule, str]]) -> None:
        """Once; until the next load the rule still costs its evaluation and matches nothing."""
        if rule.id in self.disabled:
            return
        reason = f"{type(error).__name__}: {error}"[:200]
        self.disabled[rule.id] = reason
        failures.append((rule, reason))
        logger.debug("rule %s raised", rule.name, exc_info=True)
