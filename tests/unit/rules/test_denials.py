"""Which deny rules the kernel can decide, in what tier, and what they are for each container."""

from pathlib import Path

import pytest

from monitor.model.kernel_hooks import (
    ABOVE_EVENTS,
    ACCESS,
    CONNECT,
    DELETE,
    EXEC,
    FILES,
    MAP,
    MEMORY,
    MODE,
    NAME_EVENTS,
    OPEN,
    OWNER,
    PTRACE,
    RENAME,
    SOCKETS,
)
from monitor.model.kernel_policy import Dimension
from monitor.rules import kernel_terms
from monitor.rules.denials import DenyRule, build_deny_policy, select_terms
from monitor.rules.ir import AnyNode, Exists, Text
from monitor.rules.tiers import (
    HOLD,
    KILL,
    LSM,
    OBSERVE,
    HostTiers,
    asks_upper_layer,
    find_hooks,
    list_refusals,
    plan_denials,
)
from tests.support.rule_texts import DENY, load_text, rule_text


def denials(folder: Path, *detections: str, extra: str = DENY, category: str = "process_creation") -> list[DenyRule]:
    texts = [
        rule_text(detection, extra=extra, category=category, number=number)
        for number, detection in enumerate(detections)
    ]
    return list(load_text(folder, *texts).denials)


IN_CONTAINERS = ", container.id|exists: true"
NO_LSM, NO_GATE, NOTHING = (
    HostTiers("no lsm"),
    HostTiers("no lsm", "no gate"),
    HostTiers("no lsm", "no gate", "no kill"),
)
GATE_ALONE = HostTiers("no lsm", "", "no kill")


@pytest.mark.parametrize(
    ("host", "where", "tiers", "tier"),
    [
        (HostTiers(), "", (LSM,), LSM),
        (NO_LSM, IN_CONTAINERS, (HOLD, KILL), HOLD),
        (NO_LSM, "", (HOLD, KILL), KILL),
        (GATE_ALONE, IN_CONTAINERS, (HOLD,), HOLD),
        (GATE_ALONE, "", (HOLD,), OBSERVE),
        (NO_GATE, IN_CONTAINERS, (KILL,), KILL),
        (NOTHING, IN_CONTAINERS, (), OBSERVE),
    ],
)
def test_a_path_gets_the_best_tiers_of_the_host_and_is_called_by_the_weakest_it_needs(
    tmp_path: Path, host: HostTiers, where: str, tiers: tuple[str, ...], tier: str
) -> None:
    (planned,) = plan_denials(denials(tmp_path, f"{{s: {{Image: /x{where}}}, condition: s}}"), host)

    assert (planned.tiers, planned.tier) == (tiers, tier)
    assert all(reason in planned.reason for reason in (host.lsm, host.hold if not tiers else "") if reason)


@pytest.mark.parametrize(
    ("detection", "category", "tiers"),
    [
        ("{s: {CommandLine|contains: x, container.id|exists: true}, condition: s}", "process_creation", (KILL,)),
        (
            "{s: {process.flags.upper_layer: true, container.id|exists: true}, condition: s}",
            "process_creation",
            (KILL,),
        ),
        ("{s: {process.flags.memfd: true}, condition: s}", "process_creation", (KILL,)),
        ("{s: {file.path: /x, container.id|exists: true}, condition: s}", "file_access", (HOLD,)),
        ("{s: {TargetFilename: /x}, condition: s}", "file_event", ()),
        ("{s: {Image: /x, container.runtime_init: false}, condition: s}", "process_creation", (HOLD,)),
    ],
)
def test_without_lsm_each_rule_gets_what_can_decide_it(
    tmp_path: Path, detection: str, category: str, tiers: tuple[str, ...]
) -> None:
    (planned,) = plan_denials(denials(tmp_path, detection, category=category), NO_LSM)

    assert planned.tiers == tiers


@pytest.mark.parametrize(
    ("detection", "category", "why"),
    [
        ("{s: {Image|contains: x}, condition: s}", "process_creation", "no lookup for process.executable"),
        ("{s: {CommandLine|contains: x}, condition: s}", "file_access", "arguments of the program that does it"),
        ("{s: {Image|endswith: '\\\\xff'}, condition: s}", "process_creation", "a backslash in"),
        ("{s: {process.script: /x}, condition: s}", "file_access", "only when it starts"),
    ],
)
def test_what_the_kernel_cannot_do_is_only_told(tmp_path: Path, detection: str, category: str, why: str) -> None:
    (planned,) = plan_denials(denials(tmp_path, detection, category=category), HostTiers())

    assert planned.tier == OBSERVE
    assert why in planned.reason


def test_which_rules_are_about_drift(tmp_path: Path) -> None:
    drift, other = denials(
        tmp_path,
        "{s: {process.flags.upper_layer: true}, t: {process.flags.other_filesystem: true}, condition: s or t}",
        "{s: {process.flags.tmpfs: true}, condition: s}",
    )

    assert (asks_upper_layer(drift), asks_upper_layer(other)) == (True, False)


def test_a_tier_that_a_rule_requires_is_given_or_the_set_is_refused(tmp_path: Path) -> None:
    extra = "status: stable\nstockade: {response: deny, require_tier: lsm}\n"
    rules = denials(tmp_path, "{s: {Image: /x}, condition: s}", extra=extra)

    assert list_refusals(plan_denials(rules, HostTiers())) == []
    (refusal,) = list_refusals(plan_denials(rules, NO_GATE))
    assert "asks for tier lsm and would get kill: no lsm; no gate" in refusal


def test_tier_hold_can_be_required_where_it_covers_all_that_a_rule_is_about(tmp_path: Path) -> None:
    extra = "status: stable\nstockade: {response: deny, require_tier: hold}\n"
    detections = [f"{{s: {{Image: /x{where}}}, condition: s}}" for where in (IN_CONTAINERS, "")]

    (refusal,) = list_refusals(plan_denials(denials(tmp_path, *detections, extra=extra), NO_LSM))
    assert "rule rule_1 asks for tier hold and would get kill" in refusal


def test_only_stable_rules_in_mode_enforce_deny(tmp_path: Path) -> None:
    rules = [
        *denials(tmp_path, "{s: {Image: /x}, condition: s}"),
        *denials(tmp_path, "{s: {Image: /y}, condition: s}", extra="status: test\nstockade: {response: deny}\n"),
        *denials(
            tmp_path,
            "{s: {Image: /z}, condition: s}",
            extra="status: stable\nstockade: {response: deny, mode: enforce}\n",
        ),
    ]
    policy = build_deny_policy(rules)

    def answer(_: AnyNode) -> bool:
        return True

    assert select_terms(policy, answer, "enforce").enforced == 0b101
    assert select_terms(policy, answer, "audit").enforced == 0b100
    assert select_terms(policy, answer, "audit").scope == 0b111


def test_a_scope_that_is_not_known_yet_does_not_hold_negated_or_not(tmp_path: Path) -> None:
    rules = denials(
        tmp_path,
        "{s: {Image: /x, container.image.name: nginx}, condition: s}",
        "{s: {Image: /x}, f: {container.image.name: nginx}, condition: s and not f}",
        "{s: {Image: /x, container.id|exists: true}, condition: s}",
        "{s: {Image: /x}, condition: s}",
    )
    policy = build_deny_policy(rules)

    def pending(test: AnyNode) -> bool | None:
        return True if isinstance(test, Exists) else None

    def other(test: AnyNode) -> bool | None:
        return not isinstance(test, Text)

    assert select_terms(policy, pending, "enforce").scope == 0b1100
    assert select_terms(policy, other, "enforce").scope == 0b1110


def test_a_changed_file_is_denied_by_lsm_alone(tmp_path: Path) -> None:
    rules = denials(tmp_path, "{s: {TargetFilename: /x}, condition: s}", category="file_event")

    assert [each.tier for each in plan_denials(rules, HostTiers())] == [LSM]
    (planned,) = plan_denials(rules, NO_LSM)
    assert planned.reason == (
        "no lsm; what is held does not say whether the file is opened for reading or writing; "
        "an execution can be ended, what is done to a file cannot be undone"
    )


def find_terms(folder: Path, detection: str, category: str) -> list[tuple[set[str], set[str]]]:
    """What each term is about, and the folders or files that it names."""
    (rule,) = denials(folder, detection, category=category)
    return [(set(term.events), set(_keys_of(term.asks[Dimension.FILE]))) for term in rule.terms]


def _keys_of(expression: AnyNode) -> list[str]:
    return [key for test in kernel_terms.tests_of(expression) for key in kernel_terms.keys_of(test)]


def test_a_rule_about_writing_is_about_all_that_changes_the_file_and_about_the_folders_above(tmp_path: Path) -> None:
    where = "{a: {TargetFilename: /etc/cron.d/X}, b: {TargetFilename|startswith: /etc/ssh/no/}, condition: a and not b}"

    assert find_terms(tmp_path, where, "file_event") == [
        ({OPEN, *NAME_EVENTS}, {"/etc/cron.d/x\0", "/etc/ssh/no/"}),
        (set(ABOVE_EVENTS), {"/etc\0", "/etc/cron.d\0"}),
    ]


@pytest.mark.parametrize(
    ("category", "events"),
    [("file_access", {OPEN}), ("file_rename", {RENAME}), ("file_delete", {DELETE}), ("file_change", {MODE, OWNER})],
)
def test_a_rule_about_one_thing_denies_that_alone(tmp_path: Path, category: str, events: set[str]) -> None:
    assert find_terms(tmp_path, "{s: {TargetFilename: /a/b}, condition: s}", category) == [(events, {"/a/b\0"})]


def test_who_asks_how_a_file_is_opened_asks_for_opens_alone(tmp_path: Path) -> None:
    opened = "{s: {TargetFilename: /a/b, file.created: true}, condition: s}"

    assert find_terms(tmp_path, opened, "file_event") == [({OPEN}, {"/a/b\0"})]


def test_only_rules_about_names_need_the_hooks_for_them(tmp_path: Path) -> None:
    rules = denials(tmp_path, "{s: {TargetFilename: /x}, condition: s}", category="file_delete")
    opens = denials(tmp_path, "{s: {TargetFilename: /x}, condition: s}", category="file_access")
    host = HostTiers(names="no such hooks")

    assert (find_hooks(rules), find_hooks(opens)) == ((FILES,), ())
    assert [(each.tier, each.reason) for each in plan_denials(rules, host)] == [(OBSERVE, "no such hooks")]
    assert [(each.tier, each.reason) for each in plan_denials(opens, host)] == [(LSM, "")]


@pytest.mark.parametrize(
    ("category", "where", "event", "group"),
    [
        ("process_access", "TargetImage: /usr/sbin/sshd", PTRACE, ACCESS),
        ("network_connection", "destination.address: /run/docker.sock", CONNECT, SOCKETS),
    ],
)
def test_getting_hold_of_processes_and_connections_are_denied_by_lsm_alone(
    tmp_path: Path, category: str, where: str, event: str, group: str
) -> None:
    rules = denials(tmp_path, f"{{s: {{{where}}}, condition: s}}", category=category)

    assert [term.events for rule in rules for term in rule.terms] == [(event,)]
    assert find_hooks(rules) == (group,)
    assert [each.tier for each in plan_denials(rules, HostTiers())] == [LSM]
    (planned,) = plan_denials(rules, NO_LSM)
    assert (planned.tier, planned.reason) == (
        OBSERVE,
        "no lsm; executions and opens can be held, nothing else; "
        "nothing but BPF LSM can deny access to a process, or a connection",
    )


def test_a_kernel_without_hooks_for_sockets_denies_no_connection(tmp_path: Path) -> None:
    where = "{s: {network.transport: unix}, condition: s}"
    rules = denials(tmp_path, where, category="network_connection")
    accesses = denials(tmp_path, "{s: {user.id: 0}, condition: s}", category="process_access")
    host = HostTiers(sockets="no such hooks")

    assert [(each.tier, each.reason) for each in plan_denials(rules, host)] == [(OBSERVE, "no such hooks")]
    assert [each.tier for each in plan_denials(accesses, host)] == [LSM]


@pytest.mark.parametrize(
    ("detection", "is_mapped"),
    [
        ("{s: {Image: /usr/bin/nc}, condition: s}", True),
        ("{s: {Image|endswith: /nc, User: root, ParentImage: /bin/sh}, condition: s}", True),
        ("{s: {process.name: nc}, condition: s}", True),
        ("{s: {Image|startswith: /tmp/}, f: {Image: /tmp/a}, condition: s and not f}", True),
        ("{s: {process.flags.upper_layer: true}, condition: s}", True),
        ("{s: {user.id: 0}, condition: s}", False),
        ("{s: {ParentImage: /bin/sh}, condition: s}", False),
        ("{s: {Image|startswith: /usr/}, f: {Image: /usr/bin/a}, condition: s and not f}", False),
        ("{s: {container.id|exists: true}, f: {Image: /app}, condition: s and not f}", False),
        ("{s: {process.flags.memfd: false}, condition: s}", False),
        ("{s: {Image: /usr/bin/nc, CommandLine|contains: -e}, condition: s}", False),
        ("{s: {Image: /x, process.thread.capabilities.effective: CAP_SYS_ADMIN}, condition: s}", False),
    ],
)
def test_what_must_not_be_executed_is_not_mapped_where_programs_need_no_such_libraries(
    tmp_path: Path, detection: str, is_mapped: bool
) -> None:
    (rule,) = denials(tmp_path, detection.replace("User: root", "user.id: 0"))

    assert [term.events for term in rule.terms] == [(EXEC, MAP) if is_mapped else (EXEC,)]
    assert find_hooks([rule]) == ((MEMORY,) if is_mapped else ())
