"""The canary of denial: a program of our own that the policy names, and that must not run.

LSM programs that are loaded and attached need not be called: only an execution that
is refused proves it. The program lies in memory alone: no file system's flags or
contents are in its way.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from monitor.model.rule import SELF_TEST_RULE, Rule, Severity
from monitor.rules.denials import DenyRule, build_deny_rule
from monitor.rules.ir import Text

_PROGRAMS: Final = (Path("/bin/true"), Path("/usr/bin/true"), Path("/bin/busybox"))
_RULE: Final = Rule(
    SELF_TEST_RULE,
    SELF_TEST_RULE,
    "Self test of denial",
    Severity.INFORMATIONAL,
    "stable",
    response="deny",
    mode="enforce",
)


class DenialCanary:
    """One name, for the life of a service."""

    def __init__(self) -> None:
        self._name = f"stockade-self-test-{secrets.token_hex(8)}"

    @property
    def rule(self) -> DenyRule:
        """What denies it, everywhere."""
        return build_deny_rule(
            _RULE, "process_creation", Text("process.executable", "exact", (f"/memfd:{self._name}",))
        )

    def is_refused(self) -> bool:
        """Execute it; whether it was refused, or ended before it could do anything.

        Raises:
            OSError: it could not be made.
        """
        program = next(path for path in (*_PROGRAMS, Path(os.path.realpath("/proc/self/exe"))) if path.exists())
        fd = os.memfd_create(self._name, os.MFD_CLOEXEC)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(fd, program.read_bytes())
            actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
            pid = os.posix_spawn(f"/proc/self/fd/{fd}", ["true", "--version"], {}, file_actions=actions)
        except PermissionError:
            return True
        finally:
            os.close(fd)
            os.close(null)
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
