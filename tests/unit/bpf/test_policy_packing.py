"""Packing of the kernel's denial policy: what leads to which vector, and what does not fit."""

from pathlib import Path

import pytest

from monitor.bpf.policy_packing import HALF_VECTORS, PolicyDoesNotFit, pack
from monitor.model.kernel_policy import ContainerTerms, Dimension, PolicyTables
from monitor.rules.denials import build_deny_policy
from monitor.wire import _layout as layout
from tests.support.rule_texts import DENY, load_text, rule_text


def tables(folder: Path, *detections: str) -> PolicyTables:
    texts = [rule_text(detection, extra=DENY, number=number) for number, detection in enumerate(detections)]
    return build_deny_policy(load_text(folder, *texts).denials).tables


def test_a_prefix_and_a_suffix_have_keys_of_their_own(tmp_path: Path) -> None:
    packed = pack(
        tables(tmp_path, "{s: {Image|startswith: /OPT/}, condition: s}", "{s: {Image|endswith: /sh}, condition: s}"), {}
    )

    assert set(packed.texts) == {(layout.POLICY_EXECUTABLE, b"/opt/"), (layout.POLICY_EXECUTABLE_END, b"hs/")}
    assert [packed.vectors[place] for place in packed.texts.values()] == [0b11, 0b11]
    assert packed.vectors[packed.unnamed[layout.POLICY_EXECUTABLE]] == 0b10
    asked = {number for number in range(layout.POLICY_DIMENSIONS) if packed.asked >> number & 1}
    assert {layout.POLICY_EXECUTABLE, layout.POLICY_EXECUTABLE_END} <= asked
    assert layout.POLICY_PARENT not in asked


def test_what_cannot_be_read_is_denied_by_rules_that_say_so(tmp_path: Path) -> None:
    lenient = "status: stable\nstockade: {response: deny, on_truncated: alert}\n"
    rules = load_text(
        tmp_path,
        rule_text("{s: {Image|startswith: /a}, condition: s}", extra=DENY, number=0),
        rule_text("{s: {Image|startswith: /b}, condition: s}", extra=lenient, number=1),
    )
    packed = pack(build_deny_policy(rules.denials).tables, {})

    assert packed.vectors[packed.unread[layout.POLICY_EXECUTABLE]] == 0b01


def test_flags_have_a_vector_for_each_combination(tmp_path: Path) -> None:
    packed = pack(
        tables(
            tmp_path,
            "{s: {process.flags.memfd: true}, condition: s}",
            "{s: {process.flags.tmpfs: false}, condition: s}",
        ),
        {},
    )
    bits = packed.bits[layout.POLICY_FLAGS]

    assert bits.masks == (layout.FILE_MEMFD, layout.FILE_TMPFS)
    assert [packed.vectors[place] for place in bits.vectors] == [0b10, 0b11, 0b00, 0b01]


def test_more_containers_than_vectors_are_refused_as_a_whole(tmp_path: Path) -> None:
    policy = tables(tmp_path, *(f"{{s: {{Image: /{number}}}, condition: s}}" for number in range(16)))
    containers = {slot: ContainerTerms(slot, 0) for slot in range(HALF_VECTORS + 1)}

    with pytest.raises(PolicyDoesNotFit, match=r"different vectors, the kernel's policy has room for"):
        pack(policy, containers)


def test_every_dimension_has_a_number() -> None:
    numbers = {name: value for name, value in vars(layout).items() if name.startswith("POLICY_")}

    assert len(Dimension) == numbers["POLICY_DIMENSIONS"]
