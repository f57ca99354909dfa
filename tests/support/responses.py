"""A service with a policy of its own, and what the kernel itself says of a container."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from tests.support import oci
from tests.support.sandbox import Sandbox
from tests.support.service import Service

WAIT_S = 20.0
RULE = """\
title: Marked {name}
name: marked_{name}
id: 5e0d9b52-0d4e-4c1f-9e0a-6f1d7c7d5a{number:02}
status: {status}
description: For this test.
logsource: {{product: linux, category: process_creation}}
detection:
  marked: {{CommandLine|contains: {mark}}}
  condition: marked
level: medium
{block}"""


RUN = secrets.token_hex(4)
"""Services see the whole machine: a second run of these tests must not answer to the marks of this one."""


def mark(name: str) -> str:
    """What a command line must contain for the rule of this name."""
    return f"mark-{name}-{RUN}"


def write_rule(folder: Path, name: str, *, block: str = "", status: str = "stable") -> None:
    """A rule of level medium about programs that have its mark in their command line."""
    number = len(list(folder.iterdir()))
    (folder / f"{name}.yml").write_text(
        RULE.format(name=name, mark=mark(name), number=number, block=block, status=status)
    )


def build_service(sandbox: Sandbox, rules: Path, responses: str, mode: str, *options: str, folder: Path) -> Service:
    """Only these rules and this response policy; settings are written into ``folder``."""
    policy, settings = folder / "response.yml", folder / f"{mode}.yml"
    policy.write_text(responses)
    settings.write_text(f"mode: {mode}\nresponse: {policy}\nshipped_rules: false\nrules: [{rules}]\n")
    return Service(sandbox, "--config", settings, *options)


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def read_frozen(tgid: int) -> set[str]:
    """What the kernel says of the cgroups of a process: which freezer holds it."""
    said = set()
    for line in Path(f"/proc/{tgid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        for root in (Path("/sys/fs/cgroup") / (controllers or "unified"), Path("/sys/fs/cgroup")):
            folder = root / path.lstrip("/")
            if number == "0" and _holds(folder / "cgroup.events", "frozen 1"):
                said.add("cgroup2")
            if controllers == "freezer" and _holds(folder / "freezer.state", "FROZEN"):
                said.add("v1 freezer")
    return said


def _holds(path: Path, text: str) -> bool:
    try:
        return text in path.read_text()
    except OSError:
        return False


COUNTER = "while :; do echo -n x >> /count; done"
SIX = ("sh", "-c", "for i in 1 2 3; do (while :; do sleep 0.1; done) & done; " + COUNTER)
"""A container that can be seen to run: a file grows. Six processes, more or less."""


class Counter:
    """Whether a container that runs :data:`SIX` does."""

    def __init__(self, container: oci.Container) -> None:
        self._file = container.root("/count")
        wait_until(self._file.exists, "the container's counter")

    def runs(self) -> bool:
        """Whether it goes on counting; on a busy machine its turn may be a while in coming."""
        before, end = self._file.stat().st_size, time.monotonic() + WAIT_S
        while self._file.stat().st_size == before and time.monotonic() < end:
            time.sleep(0.02)
        return self._file.stat().st_size > before

    def stands_still(self) -> bool:
        """Whether it does not, for a moment."""
        before = self._file.stat().st_size
        time.sleep(0.3)
        return self._file.stat().st_size == before
