"""Model events, rules and engines for tests of the pure parts.

The functions make one thing each with sensible facts; name what matters to the test.
A :class:`Story` makes a coherent run of events.
"""

from tests.support.make.contexts import CONTAINER_CGROUP, CONTAINER_ID, container, context, image
from tests.support.make.engines import BOOT_ID, alerts, contexts, engine, names, play
from tests.support.make.events import (
    HOST_CGROUP,
    HOST_MOUNTS,
    SECOND,
    SHELL,
    Actor,
    cgroup_attach,
    cgroup_create,
    cgroup_remove,
    connection,
    exec,
    exec_failed,
    exit,
    file_change,
    file_open,
    fork,
    later,
    loss,
    process_access,
    tick,
)
from tests.support.make.rules import correlation, is_file, is_program, rule, rule_set
from tests.support.make.stories import Story

__all__ = [
    "BOOT_ID",
    "CONTAINER_CGROUP",
    "CONTAINER_ID",
    "HOST_CGROUP",
    "HOST_MOUNTS",
    "SECOND",
    "SHELL",
    "Actor",
    "Story",
    "alerts",
    "cgroup_attach",
    "cgroup_create",
    "cgroup_remove",
    "connection",
    "container",
    "context",
    "contexts",
    "correlation",
    "engine",
    "exec",
    "exec_failed",
    "exit",
    "file_change",
    "file_open",
    "fork",
    "image",
    "is_file",
    "is_program",
    "later",
    "loss",
    "names",
    "play",
    "process_access",
    "rule",
    "rule_set",
    "tick",
]
