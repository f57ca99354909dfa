"""The gate in the life of a service: started when a rule needs it, again when it ends, and gone with the service."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.sinks.client import ServiceConnection
from monitor.sinks.requests import ReloadRequest
from tests.support.documents import field, has
from tests.support.gate import BYSTANDER, ROOT, VICTIM, is_denied, is_there, make_hold_root, make_own_runtime, run
from tests.support.oci import find_runtimes
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.kernel

WAIT_S = 20
RULE = rule_text(f"{{s: {{Image: {ROOT}/{VICTIM}}}, condition: s}}", extra=f"name: the_victim\n{DENY}")
REPEATS = 40


class Scene:
    """A service in tier `hold` alone, so that what the gate lets through runs."""

    def __init__(self, sandbox: Sandbox, service: Service, tail: Tail, rules: Path) -> None:
        self.sandbox, self.service, self.tail, self._rules = sandbox, service, tail, rules

    def runs(self, name: str = VICTIM) -> bool:
        return not is_denied(self.sandbox, f"{ROOT}/{name}", "true")

    def hold(self) -> dict[str, int]:
        return self.service.status()["denial"]["hold"] or {}

    def gates(self) -> list[int]:
        """The watchdog, and the gate that it watches."""
        return list(list_descendants(self.service.pid))

    def wait_until_denied(self) -> None:
        wait_for(lambda: not self.runs())

    def reload(self, *texts: str) -> None:
        for path in self._rules.iterdir():
            path.unlink()
        for number, text in enumerate(texts):
            (self._rules / f"rule_{number}.yml").write_text(text)
        with ServiceConnection(self.service.run_dir / "control.sock") as control:
            control.ask(ReloadRequest(), "reload", WAIT_S)


def list_descendants(pid: int) -> Iterator[int]:
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from list_descendants(child)


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as made:
        make_hold_root(made)
        for name in find_runtimes():
            make_own_runtime(made, name)
        yield made


@pytest.fixture(scope="module")
def scene(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("service")
    rules, config = folder / "rules", folder / "stockade.yml"
    rules.mkdir()
    (rules / "rule_0.yml").write_text(RULE)
    config.write_text("enforcement: {hold_deadline: 2s}\n")
    options = ("--no-shipped-rules", f"--rules={rules}", "--mode=enforce", f"--config={config}")
    with Service(sandbox, *options, tier="hold") as service:
        yield Scene(sandbox, service, service.tail(), rules)


def test_what_is_denied_is_told_and_counted(scene: Scene) -> None:
    assert scene.service.status()["tier"] == "hold"
    assert scene.hold()["denied"] == scene.hold()["missed_deadlines"] == 0, "the self test is not counted"

    assert not scene.runs() and scene.runs(BYSTANDER)
    denied = scene.tail.wait_for(has(event__kind="event", event__action="exec-denied"))
    assert (field(denied, "file.path"), field(denied, "stockade.denial.tier")) == (f"{ROOT}/{VICTIM}", "hold")
    assert field(denied, "stockade.denial.rules") == ["the_victim"]
    assert field(denied, "process.command_line").endswith(f"{ROOT}/{VICTIM} true")
    wait_for(lambda: scene.hold()["denied"] == 1)
    assert "  gate: 1 rules on" in scene.service.command("status").stdout


def test_equal_denials_are_one_event_and_another_with_their_number(scene: Scene) -> None:
    loop = f"i=0; while [ $i -lt {REPEATS} ]; do {ROOT}/{VICTIM} true; i=$((i + 1)); done; true"
    run(scene.sandbox, "sh", "-c", loop)

    def is_told(document: dict[str, object]) -> bool:
        """Told of this loop."""
        return has(event__kind="event", event__action="exec-denied")(document) and field(
            document, "process.command_line"
        ).startswith("sh -c i=0")

    def count() -> int:
        return sum(field(each, "stockade.denial").get("count", 1) for each in scene.tail.matching(is_told))

    wait_for(lambda: count() == REPEATS)
    assert len(scene.tail.matching(is_told)) <= REPEATS / 4


def test_a_gate_that_is_killed_is_told_of_and_started_again(scene: Scene) -> None:
    before = scene.hold()["deaths"]
    os.kill(scene.gates()[-1], signal.SIGKILL)

    wait_for(lambda: scene.hold()["deaths"] == before + 1)
    scene.wait_until_denied()
    told = scene.tail.wait_for(has(event__kind="alert", rule__name="service_failure"))
    assert "gate" in field(told, "message")


def test_a_gate_that_stands_still_holds_nobody_for_longer_than_its_deadline(scene: Scene) -> None:
    before = scene.hold()["missed_deadlines"]
    os.kill(scene.gates()[-1], signal.SIGSTOP)
    assert scene.runs(), "fail-open"

    wait_for(lambda: scene.hold()["missed_deadlines"] == before + 1)
    scene.wait_until_denied()


def test_a_gate_runs_while_a_rule_needs_it(scene: Scene) -> None:
    first = scene.gates()
    scene.reload()
    assert scene.runs() and scene.service.status()["denial"]["hold"] is None
    assert not any(map(is_there, first))

    scene.reload(RULE)
    assert not scene.runs()
    scene.reload(RULE.replace("response: deny", "response: deny, mode: audit"))
    assert scene.runs() and scene.gates() == []
    scene.reload(RULE)
    assert not scene.runs(), scene.service.log


def test_a_service_that_is_killed_holds_nothing(scene: Scene) -> None:
    gates = scene.gates()
    assert len(gates) == 2 and not scene.runs()
    scene.service.kill()
    wait_for(lambda: not any(map(is_there, gates)))
    assert scene.runs()
