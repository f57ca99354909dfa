"""A tier that loads and does not deny is found out, and given up."""

import asyncio
import errno
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from monitor.bpf.ring import Ring
from monitor.config.settings import EnforcementSettings, Settings
from monitor.gate.supervisor import GateSupervisor
from monitor.gate.wire import Denial as HeldDenial
from monitor.host.cgroups import find_tag_hierarchy
from monitor.model.container import Container
from monitor.model.events import AnyEvent
from monitor.model.ids import CgroupId, FileIdentity, TaskFacts
from monitor.rules.tiers import OBSERVE
from monitor.runtime import denying as denying_module
from monitor.runtime import holding
from monitor.runtime.denial_canary import DenialCanary
from monitor.runtime.denying import Denying
from monitor.runtime.hold_events import HeldTaskIds
from monitor.runtime.host_tiers import find_host_tiers
from tests.support.rule_texts import DENY, load_text, rule_text

pytestmark = pytest.mark.kernel


class Nobody:
    """A service with no containers, that hears and reads nothing."""

    def find_container_of(self, _: CgroupId) -> Container | None:
        return None

    def feed_event(self, _: AnyEvent) -> None: ...

    def feed_record(self, _data: memoryview, _offset: int, _length: int) -> None: ...

    def read_later(self, _: Ring) -> None: ...

    def identify_files(self, _: Iterable[Path]) -> dict[Path, FileIdentity]:
        return {}

    def list_cgroups(self) -> Iterator[tuple[CgroupId, bool]]:
        return iter(())

    def read_tasks(self) -> list[TaskFacts]:
        return []

    def find_held_task(self, _denial: HeldDenial, _path: str) -> HeldTaskIds:
        raise AssertionError("nothing is held")


def cannot_execute(_: DenialCanary) -> bool:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(
    ("canary", "reason"),
    [(lambda _: False, "a program that had to be refused ran"), (cannot_execute, "cannot be executed here")],
    ids=["runs", "cannot be executed"],
)
def test_a_canary_that_proves_nothing_ends_the_tier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: Callable[[DenialCanary], bool], reason: str
) -> None:
    (tmp_path / "file").touch()
    settings = Settings(
        mode="enforce",
        state_dir=tmp_path,
        pin_dir=tmp_path / "file" / "bpf",
        enforcement=EnforcementSettings(tier="kill"),
    )
    rules = load_text(tmp_path, rule_text("{s: {Image: /nonexistent/canary}, condition: s}", extra=DENY))
    denying = Denying(settings, find_tag_hierarchy(), Nobody(), "boot")
    try:
        asyncio.run(denying.replace_rules(rules))
        assert denying.tier == "kill"
        denying.close()

        monkeypatch.setattr(DenialCanary, "is_refused", canary)
        denying = Denying(settings, find_tag_hierarchy(), Nobody(), "boot")
        asyncio.run(denying.replace_rules(rules))

        assert denying.tier == OBSERVE
        assert reason in denying.planned[0].reason
    finally:
        denying.close()


def test_arguments_that_are_not_decided_leave_the_other_rules_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    settings = Settings(
        mode="enforce",
        state_dir=tmp_path,
        pin_dir=tmp_path / "file" / "bpf",
        enforcement=EnforcementSettings(tier="kill"),
    )
    rules = load_text(
        tmp_path,
        rule_text("{s: {Image: /nonexistent/canary}, condition: s}", extra=DENY, number=0),
        rule_text("{s: {Image: /nonexistent/x, CommandLine|contains: x}, condition: s}", extra=DENY, number=1),
    )
    monkeypatch.setattr(DenialCanary, "are_arguments_decided", lambda _: False)
    denying = Denying(settings, find_tag_hierarchy(), Nobody(), "boot")
    try:
        asyncio.run(denying.replace_rules(rules))

        assert [each.tier for each in denying.planned] == ["kill", OBSERVE]
        assert "decided by arguments" in denying.planned[1].reason
    finally:
        denying.close()


@pytest.mark.parametrize(("tier", "falls_to"), [("auto", "kill"), ("hold", OBSERVE)])
def test_a_gate_that_is_not_proved_is_ended_and_the_next_tier_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: str, falls_to: str
) -> None:
    """Before anything is marked but the test's own file system."""
    gates: list[int] = []

    async def find_flaw(supervisor: GateSupervisor) -> str:
        assert supervisor.readiness is not None
        gates.append(supervisor.readiness.gate_tgid)
        return "a program that had to be refused ran"

    (tmp_path / "file").touch()
    enforcement = EnforcementSettings(tier=tier)
    settings = Settings(mode="enforce", state_dir=tmp_path, pin_dir=tmp_path / "file" / "bpf", enforcement=enforcement)
    rules = load_text(tmp_path, rule_text("{s: {Image: /nonexistent, container.id: x}, condition: s}", extra=DENY))
    monkeypatch.setattr(holding, "find_hold_flaw", find_flaw)
    monkeypatch.setattr(denying_module, "find_host_tiers", lambda asked: find_host_tiers(asked, lambda: "no lsm"))
    denying = Denying(settings, find_tag_hierarchy(), Nobody(), "boot")
    try:
        asyncio.run(denying.replace_rules(rules))

        assert (denying.tier, denying.planned[0].tier) == (falls_to, falls_to)
        assert "a program that had to be refused ran" in denying.planned[0].reason
        assert not Path(f"/proc/{gates[0]}").exists()
    finally:
        denying.close()
