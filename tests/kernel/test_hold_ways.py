"""The ways round a rule about a program's path, in tier `hold`: the gate itself, on a file system of the test's own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.gate.policy import pack_policy
from monitor.gate.wire import Denial
from monitor.model.kernel_policy import ContainerTerms
from monitor.rules.denials import build_deny_policy
from tests.support.denial_ways import DYNAMIC, HELD_BY_PATH, HELD_STOPS, SCRIPT, STATIC, WAYS, Stop, Way
from tests.support.gate import GateHouse
from tests.support.programs import build_programs
from tests.support.rule_texts import DENY, load_text, rule_text
from tests.support.sandbox import Sandbox, find_modes

pytestmark = pytest.mark.kernel

MOUNT = Path("/run/held-ways")
REFUSED, UNKNOWN = 126, 77
STOPS = [(way, stop) for way in WAYS for stop in way.stops if stop in HELD_STOPS and not way.by_file_system]
"""A file that is mounted nowhere has no name in user space: tier `kill` beside it sees more."""


class Scene:
    """A tmpfs of its own in the sandbox, which is held, and a folder in it for each test."""

    def __init__(self, sandbox: Sandbox, house: GateHouse, programs: dict[str, Path]) -> None:
        self._sandbox, self._house, self._programs = sandbox, house, programs
        self._told = 0
        self._number = 0
        self.program = MOUNT

    def go(self, way: Way, what: str, category: str, rules: Path) -> int:
        """Go this way round a rule that denies ``what``; the exit status of who tries."""
        self._place(way)
        where = what.format(program=self.program, folder=self.program.parent)
        text = rule_text(f"{{s: {{{where}}}, condition: s}}", category=category, extra=DENY)
        policy = build_deny_policy(load_text(rules, text).denials)
        everybody = ContainerTerms(policy.everything, policy.everything)
        self._told = len(self._house.told())
        earlier = os.open(self._sandbox.inside(self.program), os.O_PATH | os.O_CLOEXEC)
        try:
            self._house.set(pack_policy(policy.tables, 1, host=everybody, pending=everybody))
            words = [self._programs["round"], way.name, self.program.parent, str(earlier)]
            # By a shell: what the service itself forks, and that is us, is never denied anything.
            line = self._sandbox.command(["sh", "-c", '"$@"; exit $?', "sh", *words])
            return subprocess.run(line, pass_fds=(earlier,), check=False, stderr=subprocess.DEVNULL).returncode
        finally:
            os.close(earlier)

    def _place(self, way: Way) -> None:
        self._number += 1
        folder = MOUNT / str(self._number) / "image"
        self.program = folder / "canary"
        inside = self._sandbox.inside(self.program)
        for path in (inside.parent, inside.parents[1] / "links"):
            path.mkdir(parents=True)
        if way.kind == SCRIPT:
            inside.write_text("#!/bin/sh\n: >mark\n")
            inside.chmod(0o700)
        else:
            shutil.copy(self._programs[{STATIC: "canary", DYNAMIC: "canary_dynamic"}[way.kind]], inside)
        for name in ("before", "beside", "../links/before"):
            (inside.parent / name).hardlink_to(inside)

    @property
    def has_run(self) -> bool:
        return self._sandbox.inside(self.program.with_name("mark")).exists()

    def denials(self) -> list[Denial]:
        return self._house.told()[self._told :]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    sources = Path(__file__).parent / "programs"
    programs = build_programs(sources, tmp_path_factory.mktemp("programs"), "canary", "canary_dynamic", "round")
    with Sandbox(find_modes()[0]) as sandbox:
        sandbox.run(["mkdir", "-p", MOUNT])
        sandbox.run(["mount", "-t", "tmpfs", "tmpfs", MOUNT])
        with GateHouse(sandbox.inside(MOUNT)) as house:
            yield Scene(sandbox, house, programs)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.name}-{way.kind}")
def test_a_rule_about_the_exact_path(scene: Scene, way: Way, tmp_path: Path) -> None:
    status = scene.go(way, "Image: {program}", "process_creation", tmp_path)

    told = [(denial.path, denial.event) for denial in scene.denials()]
    if way.name == "asked" and status == UNKNOWN:
        assert told == []
    elif way.name in HELD_BY_PATH:
        assert (status, scene.has_run, told) == (REFUSED, False, [(str(scene.program), "exec")])
    else:
        assert (status, scene.has_run, told) == (0, True, [])


@pytest.mark.parametrize(("way", "stop"), STOPS, ids=lambda each: each.name)
def test_what_else_denies_it(scene: Scene, way: Way, stop: Stop, tmp_path: Path) -> None:
    status = scene.go(way, stop.detection, stop.category, tmp_path)

    assert status != 0
    assert (scene.has_run, len(scene.denials())) == (False, 1)
