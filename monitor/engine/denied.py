"""Which rules a denial was by: the numbers of its terms, and what they meant when it was decided.

Denials may be read long after the policy they were decided by has been replaced, by a
service that was started since: the last policies stay known.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from monitor.model.events import Denial, PolicyChange
from monitor.model.rule import SELF_TEST_RULE, Rule, Severity

KILL: Final = "kill"
GENERATIONS_MAX: Final = 16
FORMER_RULE: Final = "former_rule"


class Policies:
    """What the numbers of terms mean, for the last policies."""

    def __init__(self) -> None:
        self._rule_ids: OrderedDict[int, tuple[str, ...]] = OrderedDict()

    def change(self, event: PolicyChange) -> None:
        """Another policy is in force."""
        self._rule_ids[event.generation] = event.rule_ids
        self._rule_ids.move_to_end(event.generation)
        if len(self._rule_ids) > GENERATIONS_MAX:
            self._rule_ids.popitem(last=False)

    def find_rules(self, event: Denial, find_rule: Callable[[str], Rule | None]) -> list[Rule]:
        """The rules that the event fulfilled; none when it was a test of ours."""
        ids = self._rule_ids.get(event.generation, ())
        found = dict.fromkeys(ids[number] for number in event.terms if number < len(ids))
        if SELF_TEST_RULE in found:
            return []
        return [find_rule(rule_id) or _former(rule_id) for rule_id in found] or [_former("")]


def index_rules(rules: Iterable[Rule]) -> dict[str, Rule]:
    """Rules by id."""
    return {rule.id: rule for rule in rules}


def _former(rule_id: str) -> Rule:
    """A rule that is not loaded any more, or was never told to us."""
    title = "Denied by a rule that is no longer loaded"
    return Rule(rule_id or FORMER_RULE, rule_id or FORMER_RULE, title, Severity.HIGH, "stable", response="deny")
