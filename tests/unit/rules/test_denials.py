"""Which deny rules the kernel can decide, in what tier, and what they are for each container."""

from pathlib import Path

import pytest

from monitor.rules.denials import DenyRule, build_deny_policy, select_terms
from monitor.rules.ir import AnyNode, Exists, Text
from monitor.rules.tiers import KILL, LSM, OBSERVE, HostTiers, list_refusals, plan_denials
from tests.support.rule_texts import DENY, load_text, rule_text


def denials(folder: Path, *detections: str, extra: str = DENY, category: str = "process_creation") -> list[DenyRule]:
    texts = [
        rule_text(detection, extra=extra, category=category, number=number)
        for number, detection in enumerate(detections)
    ]
    return list(load_text(folder, *texts).denials)


@pytest.mark.parametrize(
    ("host", "tier"),
    [(HostTiers(), LSM), (HostTiers(lsm="no BPF LSM"), KILL), (HostTiers(lsm="no", kill="no"), OBSERVE)],
)
def test_a_path_gets_the_best_tier_of_the_host(tmp_path: Path, host: HostTiers, tier: str) -> None:
    (planned,) = plan_denials(denials(tmp_path, "{s: {Image: /x}, condition: s}"), host)

    assert (planned.tier, planned.reason) == (tier, host.lsm)


@pytest.mark.parametrize(
    ("detection", "category", "why"),
    [
        ("{s: {Image|contains: x}, condition: s}", "process_creation", "no lookup for process.executable"),
        ("{s: {CommandLine|contains: x}, condition: s}", "file_access", "arguments of the program that opens"),
    ],
)
def test_what_the_kernel_cannot_do_is_only_told(tmp_path: Path, detection: str, category: str, why: str) -> None:
    (planned,) = plan_denials(denials(tmp_path, detection, category=category), HostTiers())

    assert planned.tier == OBSERVE
    assert why in planned.reason


def test_a_tier_that_a_rule_requires_is_given_or_the_set_is_refused(tmp_path: Path) -> None:
    extra = "status: stable\nstockade: {response: deny, require_tier: lsm}\n"
    rules = denials(tmp_path, "{s: {Image: /x}, condition: s}", extra=extra)

    assert list_refusals(plan_denials(rules, HostTiers())) == []
    (refusal,) = list_refusals(plan_denials(rules, HostTiers(lsm="no BPF LSM")))
    assert "asks for tier lsm and would get kill: no BPF LSM" in refusal


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


def test_an_open_is_denied_by_lsm_alone(tmp_path: Path) -> None:
    rules = denials(tmp_path, "{s: {TargetFilename: /x}, condition: s}", category="file_event")

    assert [each.tier for each in plan_denials(rules, HostTiers())] == [LSM]
    (planned,) = plan_denials(rules, HostTiers(lsm="no BPF LSM"))
    assert (planned.tier, "opens cannot be denied (no BPF LSM)" in planned.reason) == (OBSERVE, True)
