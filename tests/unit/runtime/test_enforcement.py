"""Whose the kernel's slots are, and what the policy is for each: before a policy, under it, after a takeover."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from monitor.bpf.kernel_policy import KernelPolicyWriter
from monitor.config.settings import Settings
from monitor.model.container import Container
from monitor.model.ids import CgroupId
from monitor.rules.denials import DenyRule, build_deny_policy
from monitor.runtime.enforcement import Enforcer
from monitor.wire import _layout as layout
from tests.support import make
from tests.support.policy_maps import PolicyMemory
from tests.support.rule_texts import DENY, load_text, rule_text

EVERYWHERE, IN_CONTAINERS, IN_ONE, ON_HOST = 1, 2, 4, 8
ONE, OTHER = make.container("1" * 64, cgroup_id=CgroupId(10)), make.container("2" * 64, cgroup_id=CgroupId(20))


class World:
    """An enforcer, the memory it writes to, and the containers that there are."""

    def __init__(self, memory: PolicyMemory | None = None) -> None:
        self.memory = memory or PolicyMemory()
        self.containers: dict[int, Container] = {}
        self.told: list[int] = []
        holder = SimpleNamespace(policy=KernelPolicyWriter(self.memory))
        self.enforcer = Enforcer(
            holder,  # type: ignore[arg-type]  # its policy is all that is asked for
            Settings(mode="enforce"),
            self.containers.get,
            lambda generation, _: self.told.append(generation),
        )

    def tag(self, cgroup_id: int, container: Container | None) -> None:
        if container is not None:
            self.containers[cgroup_id] = container
        self.enforcer.tag_cgroup(CgroupId(cgroup_id), is_container=container is not None)

    def scope(self, cgroup_id: int) -> int:
        slot = self.memory.slot_of(cgroup_id)
        assert slot is not None
        return self.memory.terms_of_slot(slot)[0]


@pytest.fixture
def rules(tmp_path: Path) -> tuple[DenyRule, ...]:
    wheres = ["", ", container.id|exists: true", f", container.id: '{ONE.id}'", ", container.id|exists: false"]
    texts = [
        rule_text(f"{{s: {{Image: /x{where}}}, condition: s}}", extra=DENY, number=number)
        for number, where in enumerate(wheres)
    ]
    return load_text(tmp_path, *texts).denials


def test_each_cgroup_has_the_policy_of_its_container(rules: tuple[DenyRule, ...]) -> None:
    world = World()
    world.tag(1, None)
    world.tag(10, ONE)
    world.tag(11, ONE)
    world.enforcer.apply(build_deny_policy(rules))
    world.tag(20, OTHER)

    assert world.scope(1) == EVERYWHERE | ON_HOST
    assert world.scope(10) == world.scope(11) == EVERYWHERE | IN_CONTAINERS | IN_ONE
    assert world.scope(20) == EVERYWHERE | IN_CONTAINERS
    assert world.memory.terms_of_slot(layout.POLICY_PENDING)[0] == EVERYWHERE | IN_CONTAINERS
    assert world.told == [1]


def test_a_slot_of_nobody_is_some_containers(rules: tuple[DenyRule, ...]) -> None:
    world = World()
    world.enforcer.apply(build_deny_policy(rules))

    assert world.memory.terms_of_slot(77) == (EVERYWHERE | IN_CONTAINERS, EVERYWHERE | IN_CONTAINERS)


def test_before_the_first_policy_what_is_found_is_left_alone(rules: tuple[DenyRule, ...]) -> None:
    """The policy of an earlier service is in force until then."""
    earlier = World()
    earlier.tag(10, ONE)
    earlier.enforcer.apply(build_deny_policy(rules))
    slot, before = earlier.memory.slot_of(10), bytes(earlier.memory.variable_view("policy_vectors"))

    later = World(earlier.memory)
    later.tag(20, OTHER)
    later.tag(10, ONE)
    assert bytes(later.memory.variable_view("policy_vectors")) == before
    assert later.memory.slot_of(20) is None

    later.enforcer.apply(build_deny_policy(rules))
    assert later.memory.slot_of(10) == slot, "a container keeps its slot"
    assert later.memory.slot_of(20) not in {None, slot}
    assert later.told == [2]


def test_a_slot_is_given_again_when_its_container_is_gone(rules: tuple[DenyRule, ...]) -> None:
    world = World()
    world.enforcer.apply(build_deny_policy(rules))
    world.tag(10, ONE)
    slot = world.memory.slot_of(10)
    world.enforcer.untag_cgroup(CgroupId(10))
    world.tag(20, OTHER)

    assert world.memory.slot_of(20) == slot
    assert world.scope(20) == EVERYWHERE | IN_CONTAINERS


def test_what_the_kernel_took_for_a_container_is_the_hosts_only_after_a_while(
    rules: tuple[DenyRule, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("monitor.runtime.enforcement.time.monotonic", lambda: now)
    world = World()
    world.enforcer.apply(build_deny_policy(rules))
    pending = (30).to_bytes(8, "little"), layout.POLICY_PENDING.to_bytes(4, "little")
    world.memory.map_update("policy_cgroups", *pending)
    world.tag(30, None)
    world.enforcer.on_tick()
    assert world.memory.slot_of(30) == layout.POLICY_PENDING

    now += 6
    world.enforcer.on_tick()
    assert world.memory.slot_of(30) == layout.POLICY_HOST


def test_a_policy_that_the_kernel_refuses_leaves_the_old_one_in_force(rules: tuple[DenyRule, ...]) -> None:
    world = World()
    world.enforcer.apply(build_deny_policy(rules[:1]))
    world.memory.full = "policy_texts"

    with pytest.raises(OSError, match="full"):
        world.enforcer.apply(build_deny_policy(rules))
    assert world.memory.terms_of_slot(layout.POLICY_HOST)[0] == EVERYWHERE
    world.tag(10, ONE)
    assert world.scope(10) == EVERYWHERE
