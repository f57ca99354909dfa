"""Which terms of the kernel's policy are for tier `hold`, and why the others are not."""

from collections.abc import Sequence
from typing import Final

from monitor.model.held import DIMENSIONS, HELD_FLAGS
from monitor.model.kernel_policy import Dimension
from monitor.rules.ir import AnyNode, Flag
from monitor.rules.kernel_policy import PolicyTerm
from monitor.rules.kernel_terms import tests_of

_REASONS: Final = {
    Dimension.ARGUMENTS: "the arguments that can be read while a program is held are the old program's to change",
    Dimension.ACCESS: "what is held does not say whether the file is opened for reading or writing",
    Dimension.SCRIPT: "which script a program runs is not known while its interpreter is held",
    Dimension.SCRIPT_END: "which script a program runs is not known while its interpreter is held",
    Dimension.CAPABILITIES: "what a program may do is known only once it runs",
}
_FLAG_REASONS: Final = {
    "memfd": "a program in memory alone is on no file system that can be marked",
    "upper_layer": "whether a file was written since the image does not show in its descriptor",
    "tmpfs": "of the program that opens, only its path is known",
    "32bit": "of the program that opens, only its path is known",
}


def find_hold_obstacle(terms: Sequence[PolicyTerm]) -> str:
    """Why tier hold cannot decide a rule, by the first of its terms that it cannot; empty when it can."""
    return next((reason for term in terms if (reason := _find_obstacle(term))), "")


def _find_obstacle(term: PolicyTerm) -> str:
    if term.is_above:
        return ""  # of a term that is asked too
    if term.event not in HELD_FLAGS:
        return "executions and opens can be held, nothing else"
    for dimension, expression in term.asks.items():
        if dimension is Dimension.FLAGS:
            if reason := _find_flag_obstacle(term.event, expression):
                return reason
        elif dimension not in DIMENSIONS:
            return _REASONS.get(dimension, f"what is held does not show {dimension.subject}")
    return ""


def _find_flag_obstacle(event: str, expression: AnyNode) -> str:
    for test in tests_of(expression):
        name = test.field.rpartition(".")[2] if isinstance(test, Flag) else ""
        if name not in HELD_FLAGS[event]:
            return _FLAG_REASONS.get(name, f"{name} is not known of what is held")
    return ""
