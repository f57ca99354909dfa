"""The canary of tier `hold`: a program of our own on a file system of our own, which the gate has to refuse.

The file system is mounted nowhere, and ends with its descriptor; nobody else's is
marked before the gate is proved.
"""

import errno
import os
import secrets
from typing import Final

from monitor.bpf.syscalls import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, open_detached_mount
from monitor.gate.policy import HoldPolicy, pack_policy
from monitor.gate.supervisor import GateSupervisor
from monitor.rules.denials import build_deny_policy, build_deny_rule, select_terms
from monitor.rules.ir import Text
from monitor.runtime.denial_canary import CANARY_RULE
from monitor.runtime.harmless_program import find_harmless_program, spawn_silently

TEST_GENERATION: Final = 1
"""Of the policy that is in force during the test: what it denies is not told."""


async def find_hold_flaw(supervisor: GateSupervisor) -> str:
    """Why what the gate is to deny is not denied; empty when it is.

    Raises:
        GateError: it does not answer.
    """
    name = f"stockade-self-test-{secrets.token_hex(8)}"
    try:
        folder = open_detached_mount("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
    except OSError as error:
        return f"there is no file system to try it on: {error.strerror}"
    try:
        _make_program(folder, name)
        supervisor.set_policy(_build_policy(name))
        supervisor.mark(os.dup(folder))
        await supervisor.report()
        return _find_flaw(f"/proc/self/fd/{folder}/{name}")
    except OSError as error:
        return f"the program that proves it cannot be made: {error.strerror}"
    finally:
        os.close(folder)


def _make_program(folder: int, name: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700, dir_fd=folder)
    try:
        os.write(fd, find_harmless_program().read_bytes())
    finally:
        os.close(fd)


def _build_policy(name: str) -> HoldPolicy:
    """Denies it to everybody, us too. A path on a file system that is mounted nowhere begins at its root."""
    condition = Text("process.executable", "exact", (f"/{name}",))
    policy = build_deny_policy([build_deny_rule(CANARY_RULE, "process_creation", condition)])
    everybody = select_terms(policy, lambda _: True, "enforce")
    return pack_policy(policy.tables, TEST_GENERATION, host=everybody, pending=everybody, is_test=True)


def _find_flaw(program: str) -> str:
    """The gate answers in time, or its watchdog lets the program run."""
    try:
        pid = spawn_silently(program, ["true", "--version"])
    except OSError as error:
        if error.errno == errno.EPERM:
            return ""
        return f"the program that proves it cannot be executed here: {error.strerror}"
    os.waitpid(pid, 0)
    return "a program that had to be refused ran"
