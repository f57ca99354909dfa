"""This machine as the responders see it, without the kernel's task iterator."""

import os
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from monitor.engine.guardrails import GuardrailFacts
from monitor.host.cgroup_folders import CgroupFolders
from monitor.host.cgroups import find_tag_hierarchy
from monitor.host.lives import is_alive
from monitor.model.ids import CgroupId
from monitor.responders.ports import Host
from monitor.runtime.response_guard import ResponseGuard
from tests.support.proc_facts import list_facts

T = TypeVar("T")
NO_FACTS = GuardrailFacts()


def build_host(facts: GuardrailFacts = NO_FACTS, is_host_cgroup: Callable[[CgroupId], bool] = lambda _: True) -> Host:
    """Everything real; the guardrails' facts are the test's."""
    return Host(
        folders=CgroupFolders(),
        list_tasks=list_facts,
        is_alive=is_alive,
        guard=ResponseGuard(facts, is_host_cgroup, find_tag_hierarchy),
        now_boottime_ns=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        own_tgid=os.getpid(),
    )


def finish(job: Generator[None, None, T], between: Callable[[], Any] = lambda: None) -> T:
    """Let a job go on to its end, as the worker does; ``between`` is called where it waits."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            result: T = end.value
            return result
        between()
        time.sleep(0.01)
