"""The real enforcement without the service: rules in, a tier attached, denials out.

Nothing is denied but in the cgroups that a test makes: the host's slot enforces nothing.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from monitor.bpf.enforcement import Enforcement, EnforcementPlan
from monitor.bpf.inspection import FileInspector
from monitor.host.cgroups import TagHierarchy, find_tag_hierarchy
from monitor.host.exact_files import find_host_files
from monitor.model.events import Denial
from monitor.model.ids import CgroupId
from monitor.model.kernel_policy import ContainerTerms
from monitor.rules.denials import ENFORCE, build_deny_policy, select_terms
from monitor.rules.ir import AnyNode
from monitor.rules.kernel_policy import KernelPolicy
from monitor.rules.ruleset import RuleSet
from monitor.shipped import get_enforcement_object, get_inspection_object
from monitor.wire import _layout as layout
from monitor.wire.decoder import decode_record
from tests.support.rule_texts import load_text

CONTAINER_SLOT = layout.POLICY_FIRST_CONTAINER
TIER = os.environ.get("STOCKADE_TEST_TIER", "kill")
"""Natively programs are killed; the guest says ``lsm``."""
REFUSED = {"kill": -9, "lsm": 126}[TIER]
"""What :meth:`Denier.run` answers for a program that is denied."""


class Denier:
    """A loaded tier, a cgroup of its own as the only container, and what was denied."""

    def __init__(
        self, enforcement: Enforcement, inspector: FileInspector, hierarchy: TagHierarchy, cgroup: Path
    ) -> None:
        self.enforcement = enforcement
        self._inspector = inspector
        self.cgroup = cgroup
        self.policy = KernelPolicy((), {})
        self.cgroup_id = CgroupId(cgroup.stat().st_ino | hierarchy.hierarchy_id << layout.TAG_HIERARCHY_SHIFT)
        enforcement.policy.set_cgroup(self.cgroup_id, CONTAINER_SLOT)

    def apply(self, rules: RuleSet, *, mode: str = ENFORCE) -> int:
        """Put the deny rules in force, in the container."""
        assert not [rule.not_decidable for rule in rules.denials if rule.not_decidable]
        self.policy = build_deny_policy(rules.denials)

        def answer(_: AnyNode) -> bool:
            return True

        inside = select_terms(self.policy, answer, mode)
        containers = {layout.POLICY_HOST: ContainerTerms(inside.scope, 0), CONTAINER_SLOT: inside}
        generation = self.enforcement.policy.apply(self.policy.tables, containers)
        self.enforcement.policy.set_files(CONTAINER_SLOT, find_host_files(self.policy.known, self._inspector.inspect))
        return generation

    def deny(self, folder: Path, *texts: str) -> int:
        """Put rules in force in the container, written to a folder of this one."""
        rules = folder / "rules"
        rules.mkdir(exist_ok=True)
        return self.apply(load_text(rules, *texts))

    def run(
        self,
        *command: str | Path,
        cgroup: Path | None = None,
        uid: int = 0,
        pass_fds: Sequence[int] = (),
        stdout: int | IO[bytes] = subprocess.DEVNULL,
    ) -> int:
        """Run a program in the container; its exit status (negative: the signal), 126 when exec was refused."""

        def enter() -> None:
            (cgroup or self.cgroup).joinpath("cgroup.procs").write_text(str(os.getpid()))
            os.setresuid(uid, uid, uid)

        try:
            done = subprocess.run(command, preexec_fn=enter, stdout=stdout, check=False, pass_fds=pass_fds)
            return done.returncode
        except PermissionError:
            return 126

    def denials(self) -> list[Denial]:
        """What was denied since the last call."""
        found: list[Denial] = []

        def keep(data: memoryview, offset: int, length: int) -> None:
            event = decode_record(data, offset, length)
            assert isinstance(event, Denial)
            found.append(event)

        self.enforcement.ring.drain(keep, 1_000_000)
        return found

    def names(self, denial: Denial) -> list[str]:
        """The rules of a denial."""
        return list(dict.fromkeys(self.policy.terms[number].rule.title for number in denial.terms))


@contextmanager
def denying(tier: str, *, hooks: tuple[str, ...] = (), object_path: Path | None = None) -> Iterator[Denier]:
    """Load and attach a tier, for a cgroup that is made here."""
    hierarchy = find_tag_hierarchy()
    plan = EnforcementPlan(tier, hierarchy.controller, hierarchy.hierarchy_id, hooks=hooks)
    cgroup = hierarchy.mount / f"stockade-test-{os.getpid()}-{time.monotonic_ns()}"
    cgroup.mkdir()
    try:
        with (
            Enforcement(object_path or get_enforcement_object(), plan) as enforcement,
            contextlib.closing(FileInspector(get_inspection_object())) as inspector,
        ):
            enforcement.load()
            enforcement.attach()
            yield Denier(enforcement, inspector, hierarchy, cgroup)
    finally:
        remove_cgroups([*cgroup.rglob("*/"), cgroup])


def remove_cgroups(cgroups: Sequence[Path]) -> None:
    """Remove empty cgroups, the deepest first; one of which a process is ending takes a moment."""
    for cgroup in sorted((each for each in cgroups if each.is_dir()), key=lambda path: -len(path.parts)):
        end = time.monotonic() + 5
        while True:
            try:
                cgroup.rmdir()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
