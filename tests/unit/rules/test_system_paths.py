"""What files of the kernel's own are called, by where they usually lie, and back."""

from pathlib import Path

import pytest

from monitor.model.interest import PatternKind
from monitor.model.kernel_policy import PATH_END, Dimension
from monitor.rules.denials import build_deny_policy
from monitor.rules.system_paths import PLACES, find_system_path, find_usual_path
from tests.support.rule_texts import DENY, event, load_text, matching, rule_text

DETECTION = """\
s: {file.system_path|startswith: 'proc:/sys/'}
t: {file.system_path: 'cgroup:/x'}
condition: s or t
"""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/proc/sys/kernel/core_pattern", "proc:/sys/kernel/core_pattern"),
        ("/proc/sys/fs/binfmt_misc/register", "binfmt_misc:/register"),
        ("/sys/kernel/uevent_helper", "sysfs:/kernel/uevent_helper"),
        ("/sys/kernel/debug/x", "debugfs:/x"),
        ("/sys/fs/cgroup/release_agent", "cgroup:/release_agent"),
        ("/sys", "sysfs:/"),
        ("/system/x", ""),
        ("/tmp/proc/sys/x", ""),
        ("", ""),
    ],
)
def test_a_name_by_place(path: str, name: str) -> None:
    assert find_system_path(path) == name
    if name and path != "/sys":
        assert find_usual_path(name) == path


def test_a_text_that_names_no_kind_has_no_place() -> None:
    assert {find_usual_path(text) for text in ("", "proc", "nfs:/x", "/proc/x")} == {""}
    assert set(PLACES) == {"proc", "sysfs", "cgroup", "debugfs", "tracefs", "securityfs", "binfmt_misc"}


def test_a_rule_by_name_sees_opens_and_is_decided_by_the_kernel(tmp_path: Path) -> None:
    detection = (
        "{s: {file.system_path|startswith: 'PROC:/sys/'}, t: {file.system_path: 'cgroup:/x'}, condition: s or t}"
    )
    rules = load_text(tmp_path, rule_text(detection, category="file_event", extra=DENY))
    (deny,) = rules.denials
    (term,) = deny.terms

    assert matching(rules, event(file__path="/proc/sys/vm/x", file__access=["write"])) == ["rule_0"]
    assert matching(rules, event(file__path="/proc/vm/x", file__access=["write"])) == []
    assert {Dimension.SYSTEM_FILE, Dimension.ACCESS} == set(term.asks)
    assert {(each.kind, each.text) for each in rules.open_patterns} == {
        (PatternKind.PREFIX, "/proc/sys/"),
        (PatternKind.EXACT, "/sys/fs/cgroup/x"),
    }


def test_the_keys_are_as_the_kernel_walks(tmp_path: Path) -> None:
    detection = (
        "{s: {file.system_path|startswith: 'proc:/sys/'}, t: {file.system_path: 'cgroup:/x'}, condition: s or t}"
    )
    rules = load_text(tmp_path, rule_text(detection, category="file_event", extra=DENY))
    entries = build_deny_policy(rules.denials).vectors[Dimension.SYSTEM_FILE].entries

    assert set(entries) == {"/proc:/sys/", f"/cgroup:/x{PATH_END}"}
