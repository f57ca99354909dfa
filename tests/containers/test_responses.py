"""What is decided happens: containers are frozen, thawed and killed, processes killed, by rules and by command."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import oci
from tests.support.documents import field, has
from tests.support.sandbox import Sandbox
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

WAIT_S = 20.0
RULE = """\
title: Marked {name}
name: marked_{name}
id: 5e0d9b52-0d4e-4c1f-9e0a-6f1d7c7d5a{number:02}
status: stable
description: For this test.
logsource: {{product: linux, category: process_creation}}
detection:
  marked: {{CommandLine|contains: mark-{name}}}
  condition: marked
level: medium
{block}"""
FREEZE_FOR_S = 4
RESPONSES = f"""\
- when: {{risk: ">= 60", subject: container}}
  then: freeze
  for: {FREEZE_FOR_S}s
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    for number, name in enumerate(("one", "two", "three", "four")):
        (folder / f"{name}.yml").write_text(RULE.format(name=name, number=number, block=""))
    for number, name in enumerate(("kill",), start=10):
        block = "stockade: {response: kill, score: 1}\n"
        (folder / f"{name}.yml").write_text(RULE.format(name=name, number=number, block=block))
    return folder


@pytest.fixture(scope="module")
def responses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("responses") / "response.yml"
    path.write_text(RESPONSES)
    return path


def start_service(sandbox: Sandbox, rules: Path, responses: Path, mode: str, folder: Path) -> Service:
    settings = folder / f"{mode}.yml"
    settings.write_text(f"mode: {mode}\nresponse: {responses}\nshipped_rules: false\nrules: [{rules}]\n")
    return Service(sandbox, "--config", settings)


class Scene:
    """A host in one cgroup mode, a service that enforces, a container that counts."""

    def __init__(self, sandbox: Sandbox, service: Service, container: oci.Container) -> None:
        self.sandbox, self.service, self.container = sandbox, service, container
        self.tail: Tail = service.tail()

    def command(self, *words: str) -> tuple[int, str]:
        done = self.service.command(*words)
        return done.returncode, done.stdout + done.stderr

    def run_marked(self, name: str) -> None:
        self.container.start("true", f"mark-{name}").wait(WAIT_S)

    def has_stopped(self) -> bool:
        """Whether its counter stands still: what a frozen container is, however it was made so."""
        before = self.count()
        time.sleep(0.3)
        return self.count() == before

    def count(self) -> int:
        return self.container.root("/count").stat().st_size


COUNTER = "while :; do echo -n x >> /count; done"
SIX = ("sh", "-c", "for i in 1 2 3; do (while :; do sleep 0.01; done) & done; " + COUNTER)


@pytest.fixture(params=oci.find_combinations(), ids="-".join)
def scene(
    request: pytest.FixtureRequest, rootfs: Path, rules: Path, responses: Path, tmp_path: Path
) -> Iterator[Scene]:
    runtime, mode = request.param
    with (
        Sandbox(mode) as sandbox,
        start_service(sandbox, rules, responses, "enforce", tmp_path) as service,
        oci.start_container(sandbox, runtime, rootfs, *SIX) as container,
    ):
        wait_until(lambda: container.root("/count").exists(), "the container's counter")
        yield Scene(sandbox, service, container)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def read_frozen(container: oci.Container) -> set[str]:
    """What the kernel itself says of each cgroup that could be frozen."""
    said = set()
    for line in Path(f"/proc/{container.pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        base = "unified" if number == "0" else controllers
        for root in (Path("/sys/fs/cgroup") / base, Path("/sys/fs/cgroup")):
            events, state = root / path.lstrip("/") / "cgroup.events", root / path.lstrip("/") / "freezer.state"
            if number == "0" and events.exists() and "frozen 1" in events.read_text():
                said.add("cgroup.events: frozen 1")
            if "freezer" in controllers and state.exists() and state.read_text().strip() == "FROZEN":
                said.add("freezer.state: FROZEN")
    return said


class TestAChainOfMediumAlerts:
    def test_freezes_the_container_and_time_thaws_it(self, scene: Scene) -> None:
        for name in ("one", "two", "three"):
            scene.run_marked(name)

        frozen = scene.tail.wait_for(has(event__action="container-frozen"), WAIT_S)
        assert scene.has_stopped()
        assert read_frozen(scene.container)
        assert field(frozen, "container.id") == scene.container.id
        assert field(frozen, "stockade.response.asked_by") == "policy"
        assert field(frozen, "stockade.response.processes") >= 4
        assert field(frozen, "stockade.response.for_s") == FREEZE_FOR_S
        assert "risk" in field(frozen, "event.reason")
        (entry,) = scene.service.status()["frozen"]
        assert entry["id"] == scene.container.id
        assert 0 < entry["left_s"] <= FREEZE_FOR_S

        thawed = scene.tail.wait_for(has(event__action="container-thawed"), WAIT_S)
        assert field(thawed, "stockade.response.asked_by") == "deadline"
        wait_until(lambda: not scene.has_stopped(), "the container to run again")
        assert scene.service.status()["frozen"] == []
