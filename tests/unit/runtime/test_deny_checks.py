"""Deny rules that would stop what keeps the host alive are refused, with place and reason."""

from pathlib import Path

import pytest

from monitor.config.settings import PREVENTIONS
from monitor.host.protected_programs import ProtectedProgram
from monitor.rules.errors import RuleErrors
from monitor.rules.loader import load_rules
from monitor.rules.preventions import PreventionChoice
from monitor.runtime.deny_checks import check_denials
from monitor.shipped import get_shipped_rules
from tests.support.rule_texts import DENY, load_text, rule_text

SHIM = "/usr/bin/containerd-shim-runc-v2"
RUNC = ProtectedProgram("a container runtime", "/usr/sbin/runc", (("runc", "create", "x"), ("runc", "init")), (SHIM,))
INIT = ProtectedProgram("the first process", "/usr/lib/systemd/systemd", (("/sbin/init",),))
OURS = ProtectedProgram("Stockade itself", "/usr/bin/python3.11", (("/opt/stockade", "run"),))
PROGRAMS = (RUNC, INIT, OURS)


def refusals(folder: Path, detection: str, category: str = "process_creation", extra: str = DENY) -> list[str]:
    rules = load_text(folder, rule_text(detection, category=category, extra=extra))
    try:
        check_denials(rules, PROGRAMS)
    except RuleErrors as errors:
        assert all(error.location.line for error in errors.errors)
        return [error.message for error in errors.errors]
    return []


@pytest.mark.parametrize(
    ("detection", "whom"),
    [
        (
            "{s: {Image|endswith: /runc}, condition: s}",
            "a container runtime: /usr/sbin/runc executed as 'runc create x'",
        ),
        ("{s: {CommandLine|endswith: ' init'}, condition: s}", "'runc init'"),
        (f"{{s: {{ParentImage: {SHIM}}}, condition: s}}", f"by {SHIM}"),
        ("{s: {user.id: 0}, f: {Image|startswith: /usr/bin/}, condition: s and not f}", "a container runtime"),
        ("{s: {Image|startswith: /usr/lib/systemd}, condition: s}", "the first process: /usr/lib/systemd/systemd"),
        ("{s: {Image|endswith: /python3.11, process.args: run}, condition: s}", "Stockade itself"),
    ],
)
def test_an_execution_without_which_the_host_is_lost(tmp_path: Path, detection: str, whom: str) -> None:
    (refusal,) = refusals(tmp_path, detection)

    assert refusal.startswith("rule rule_0 would deny ")
    assert whom in refusal
    assert refusal.endswith("give it `scope: container`, or an exception")


@pytest.mark.parametrize(
    ("detection", "category"),
    [
        ("{s: {TargetFilename: /etc/passwd}, condition: s}", "file_access"),
        ("{s: {TargetFilename|startswith: /sys/fs/cgroup/}, condition: s}", "file_event"),
        ("{s: {Image|endswith: /runc}, condition: s}", "file_access"),
    ],
)
def test_an_open_without_which_the_host_is_lost(tmp_path: Path, detection: str, category: str) -> None:
    (refusal,) = refusals(tmp_path, detection, category)

    assert "opening " in refusal


def test_a_connection_without_which_the_host_is_lost(tmp_path: Path) -> None:
    (everything,) = refusals(tmp_path, "{s: {network.transport: unix}, condition: s}", "network_connection")
    (engine,) = refusals(tmp_path, "{s: {destination.address: /run/docker.sock}, condition: s}", "network_connection")

    assert "connecting to /run/systemd/" in everything
    assert "a container runtime: /usr/sbin/runc connecting to /run/docker.sock" in engine


@pytest.mark.parametrize(
    ("detection", "extra"),
    [
        ("{s: {Image|endswith: /runc}, condition: s}", "stockade: {response: deny, scope: container}\n"),
        ("{s: {Image|endswith: /runc}, condition: s}", "stockade: {response: kill}\n"),
        ("{s: {Image|endswith: /runc, process.args: --privileged}, condition: s}", DENY),
        ("{s: {Image|endswith: /python3.11, CommandLine|contains: evil}, condition: s}", DENY),
        ("{s: {Image|endswith: /nmap}, condition: s}", DENY),
        ("{s: {ParentImage|endswith: /nginx}, condition: s}", DENY),
    ],
)
def test_what_hits_none_of_them(tmp_path: Path, detection: str, extra: str) -> None:
    assert refusals(tmp_path, detection, extra=extra) == []


def test_an_exception_is_a_way_out(tmp_path: Path) -> None:
    extra = (
        "stockade:\n  response: deny\n  exceptions:\n"
        "    - {when: {Image|endswith: [/runc, /systemd]}, owner: ops, reason: needed, expires: never}\n"
    )

    assert refusals(tmp_path, "{s: {Image|endswith: [/runc, /systemd, /x]}, condition: s}", extra=extra) == []


def test_a_scope_that_nothing_can_meet(tmp_path: Path) -> None:
    (refusal,) = refusals(
        tmp_path, "{s: {Image: /x, container.id|exists: false}, t: {container.id: a}, condition: s and t}"
    )

    assert refusal == "rule rule_0 denies nowhere: no container, and not the host, can meet its scope"


def test_the_preventions_hit_nothing_on_this_host() -> None:
    rules = load_rules([get_shipped_rules()], preventions={name: PreventionChoice() for name in PREVENTIONS})

    check_denials(rules)
    check_denials(rules, PROGRAMS)
