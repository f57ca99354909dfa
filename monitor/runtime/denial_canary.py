"""The canary of denial: programs of our own that the policy names, and that must not run.

LSM programs that are loaded and attached need not be called: only an execution that
is refused proves it. The program lies in memory alone: no file system's flags or
contents are in its way.
"""

import errno
import os
import secrets
import signal
from typing import Final

from monitor.model.rule import SELF_TEST_RULE, Rule, Severity
from monitor.rules.denials import build_deny_rule, end_by_arguments
from monitor.rules.ir import And, Text
from monitor.runtime.harmless_program import find_harmless_program, spawn_silently

CANARY_RULE: Final = Rule(
    SELF_TEST_RULE,
    SELF_TEST_RULE,
    "Self test of denial",
    Severity.INFORMATIONAL,
    "stable",
    response="deny",
    mode="enforce",
)
_MAGIC: Final = "--stockade-self-test"


class DenialCanary:
    """Two names, for the life of a service: one is denied, one with a certain argument."""

    def __init__(self) -> None:
        token = secrets.token_hex(8)
        self._name = f"stockade-self-test-{token}"
        self._name_of_arguments = f"stockade-arguments-{token}"
        self.rule = build_deny_rule(CANARY_RULE, "process_creation", _is_program(self._name))
        """What denies the first one, everywhere."""
        argument = Text("process.command_line", "contains", (_MAGIC,))
        condition = And((_is_program(self._name_of_arguments), argument))
        self.rule_of_arguments = build_deny_rule(CANARY_RULE, "process_creation", condition)
        """What denies the second one,"""
        self.rule_of_ending = end_by_arguments(self.rule_of_arguments)
        """or ends it."""

    def is_refused(self) -> bool:
        """Execute the first one; whether it was refused, or ended before it could do anything.

        Raises:
            OSError: it could not be made.
        """
        return _is_refused(self._name, "--version")

    def are_arguments_decided(self) -> bool:
        """Execute the second one with its argument and without: the one is refused, the other is not."""
        name = self._name_of_arguments
        return _is_refused(name, _MAGIC) and not _is_refused(name, "--version")


def _is_program(name: str) -> Text:
    return Text("process.executable", "exact", (f"/memfd:{name}",))


def _is_refused(name: str, argument: str) -> bool:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.write(fd, find_harmless_program().read_bytes())
        pid = spawn_silently(f"/proc/self/fd/{fd}", ["true", argument])
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        return True
    finally:
        os.close(fd)
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
