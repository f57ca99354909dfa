"""Refuse deny rules that must not be in force: what they would stop keeps the host alive, or they could stop nothing.

A rule's own closure is asked about the executions, opens and connections without which the
first process, container runtimes, logins and we ourselves do not come up on this
host. The kernel lets some of them through whatever the policy says
(``ebpf/enforce.bpf.c``); a rule that would need that is a mistake all the same.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from monitor.host.protected_programs import ProtectedProgram, find_protected_programs
from monitor.model.process import Context
from monitor.rules.errors import RuleError, RuleErrors
from monitor.rules.ruleset import RuleSet
from monitor.rules.samples import build_context, read_samples
from monitor.rules.scopes import can_hold

READ: Final = ("read",)
WRITE: Final = ("write",)
FILES: Final = (
    ("/etc/ld.so.cache", READ),
    ("/usr/lib/x86_64-linux-gnu/libc.so.6", READ),
    ("/etc/passwd", READ),
    ("/dev/null", ("read", "write")),
    ("/proc/self/mountinfo", READ),
)
"""What every program opens, or about so."""
RUNTIME_FILES: Final = (
    ("/sys/fs/cgroup/cgroup.procs", WRITE),
    ("/proc/self/oom_score_adj", WRITE),
    ("/run/containerd/io.containerd.runtime.v2.task/moby/task/init.pid", WRITE),
    ("/var/lib/docker/containers/container/config.v2.json", WRITE),
    ("/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db", WRITE),
    ("/var/lib/containers/storage/overlay-containers/containers.json", WRITE),
)
"""And what runtimes write."""
SOCKETS: Final = ("/run/systemd/journal/dev-log", "/run/systemd/notify", "/run/dbus/system_bus_socket")
"""What services and logins connect to,"""
RUNTIME_SOCKETS: Final = ("/run/containerd/containerd.sock", "/run/docker.sock")
"""and runtimes."""
SHOWN_MAX: Final = 80
"""Characters of a command line, in a message."""
RUNTIME: Final = "a container runtime"


def check_denials(rules: RuleSet, programs: Iterable[ProtectedProgram] | None = None) -> None:
    """Refuse a rule set because of its deny rules.

    Raises:
        RuleErrors: each rule that must not be in force, with the reason.
    """
    if not rules.denials:
        return
    found = [
        *_find_empty_scopes(rules),
        *_find_hits(rules, find_protected_programs() if programs is None else programs),
    ]
    if found:
        raise RuleErrors(found)


def _find_empty_scopes(rules: RuleSet) -> Iterator[RuleError]:
    for deny in rules.denials:
        if not can_hold(deny):
            text = f"rule {deny.rule.name} denies nowhere: no container, and not the host, can meet its scope"
            yield RuleError(deny.rule.location, text)


def _find_hits(rules: RuleSet, programs: Iterable[ProtectedProgram]) -> Iterator[RuleError]:
    """One mistake a rule is enough. Rules that the kernel cannot decide deny nothing."""
    denying = {deny.rule.id for deny in rules.denials if deny.terms}
    hit: set[str] = set()
    for program in programs:
        for context, act in _list_acts(program):
            for candidate in rules.candidates(context):
                rule = candidate.rule
                if rule.id in denying - hit and candidate.matches(context):
                    hit.add(rule.id)
                    text = f"rule {rule.name} would deny {program.what}: {program.executable} {act}"
                    yield RuleError(rule.location, f"{text}; give it `scope: container`, or an exception")


def _list_acts(program: ProtectedProgram) -> Iterator[tuple[Context, str]]:
    """What it does, and that in words."""
    for parent in (*program.parents, ""):
        by = f", by {parent}" if parent else ""
        for argv in program.calls:
            shown = " ".join(argv)
            told = shown if len(shown) <= SHOWN_MAX else f"{shown[:SHOWN_MAX]}..."
            yield _build(program, argv, parent), f"executed as {told!r}{by}"
    for path, access in (*FILES, *(RUNTIME_FILES if program.what == RUNTIME else ())):
        act = {"event": "file_open", "file.path": path, "file.access": access}
        yield _build(program, program.calls[0], "", **act), f"opening {path} ({' and '.join(access)})"

    for address in (*SOCKETS, *(RUNTIME_SOCKETS if program.what == RUNTIME else ())):
        act = {"event": "network_connection", "destination.address": address}
        yield _build(program, program.calls[0], "", **act), f"connecting to {address}"


def _build(program: ProtectedProgram, argv: tuple[str, ...], parent: str, **act: object) -> Context:
    record: dict[str, object] = {
        "event": "process_exec",
        "process.executable": program.executable,
        "process.args": argv,
        "user.id": 0,
        **({"process.parent.executable": parent} if parent else {}),
        **act,
    }
    (sample,), _ = read_samples(program.what, msgspec.json.encode(record))
    return build_context(sample.events[0])
