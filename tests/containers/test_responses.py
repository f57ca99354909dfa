"""What is decided happens to real containers: frozen, thawed and killed, by policy and by command."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import oci
from tests.support.documents import field, has
from tests.support.responses import SIX, WAIT_S, Counter, build_service, mark, read_frozen, wait_until, write_rule
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

FREEZE_FOR_S = 3
RESPONSES = f"""\
- when: {{risk: ">= 60", subject: container}}
  then: freeze
  for: {FREEZE_FOR_S}s
- when: {{rule: marked_kill_it, subject: container}}
  then: kill
- when: {{rule: marked_isolate_it, subject: container}}
  then: isolate
"""
CHAIN = ("one", "two", "three")
KILL_WITHIN_S = 15.0
INSIDE = "scope: container"
"""The mark is in the command lines of nsenter and of the runtime too, which run on the host."""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    for name in CHAIN:
        write_rule(folder, name, block=f"stockade: {{{INSIDE}}}\n")
    for name in ("kill_it", "isolate_it"):
        write_rule(folder, name, block=f"stockade: {{{INSIDE}, score: 1}}\n")
    write_rule(folder, "kill_process", block=f"stockade: {{{INSIDE}, response: kill, score: 1}}\n")
    return folder


class Place(NamedTuple):
    """A host in one cgroup mode with a service that enforces; containers come and go."""

    sandbox: Sandbox
    service: Service
    runtime: str
    tail: Tail


WITHOUT_FLOODS = "not event.action: fork and not event.action: exit"
"""A bomb's forks are more than a subscriber takes; what it loses then would be missed here."""


@pytest.fixture(scope="module", params=oci.find_combinations(), ids="-".join)
def place(request: pytest.FixtureRequest, rules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    runtime, mode = request.param
    folder = tmp_path_factory.mktemp("settings")
    with Sandbox(mode) as sandbox, build_service(sandbox, rules, RESPONSES, "enforce", folder=folder) as service:
        yield Place(sandbox, service, runtime, service.tail("--filter", WITHOUT_FLOODS))


@pytest.fixture
def container(place: Place, rootfs: Path) -> Iterator[oci.Container]:
    with oci.start_container(place.sandbox, place.runtime, rootfs, *SIX) as started:
        yield started


def run_marked(container: oci.Container, *names: str) -> None:
    """Each a process of the container's own; the last may find itself frozen or killed."""
    for name in names:
        process = container.start("true", mark(name))
        if name != names[-1]:
            process.wait(WAIT_S)


def ask(service: Service, *words: str) -> tuple[int, str]:
    done = service.command(*words)
    return done.returncode, (done.stdout or done.stderr).strip()


def of(container: oci.Container, action: str, **more: object) -> object:
    return has(event__action=action, container__id=container.id, **more)


class TestAChainOfMediumAlerts:
    def test_freezes_the_container_until_its_time_is_over(self, place: Place, container: oci.Container) -> None:
        counter = Counter(container)
        run_marked(container, *CHAIN)

        frozen = place.tail.wait_for(of(container, "container-frozen"), WAIT_S)
        assert counter.stands_still()
        assert read_frozen(container.pid) == {"v1 freezer" if place.sandbox.mode == "v1" else "cgroup2"}
        assert field(frozen, "stockade.response.asked_by") == "policy"
        assert field(frozen, "stockade.response.processes") >= 4
        assert field(frozen, "stockade.response.for_s") == FREEZE_FOR_S
        assert "risk" in field(frozen, "event.reason")
        shown = {entry["id"]: entry for entry in place.service.status()["frozen"]}
        assert 0 <= shown[container.id]["left_s"] <= FREEZE_FOR_S

        thawed = place.tail.wait_for(of(container, "container-thawed"), WAIT_S)
        assert field(thawed, "stockade.response.asked_by") == "deadline"
        assert not read_frozen(container.pid)
        assert counter.runs()
        assert container.id not in [entry["id"] for entry in place.service.status()["frozen"]]


class TestByCommand:
    def test_freeze_and_thaw(self, place: Place, container: oci.Container) -> None:
        counter, service, short = Counter(container), place.service, container.id[:12]

        assert ask(service, "thaw", short) == (1, f"stockade: container {short} was not thawed: it is not frozen")
        status, text = ask(service, "freeze", short, "--for", "30m")
        assert (status, text.endswith("for 30m")) == (0, True)
        assert counter.stands_still()
        status, text = ask(service, "freeze", container.id)
        assert status == 1
        assert "it is frozen already, for another 17" in text
        status, text = ask(service, "status")
        assert "frozen containers" in text
        assert short in text
        assert ask(service, "thaw", short) == (0, f"container {short} is thawed")
        assert counter.runs()
        thawed = place.tail.wait_for(of(container, "container-thawed"), WAIT_S)
        assert field(thawed, "stockade.response.asked_by") == "command"
        assert field(thawed, "event.reason").startswith("asked for by uid 0, pid ")

    def test_kill(self, place: Place, container: oci.Container) -> None:
        first = container.pid
        status, text = ask(place.service, "kill", container.id[:12], "-o", "json")

        assert status == 0
        answer = json.loads(text)
        assert (answer["result"], answer["container"]["id"]) == ("done", container.id)
        assert answer["processes"] >= 4
        wait_until(lambda: not Path(f"/proc/{first}/cgroup").exists(), "the container's end")
        place.tail.wait_for(of(container, "container-killed"), WAIT_S)

    def test_a_frozen_one_can_be_killed(self, place: Place, container: oci.Container) -> None:
        assert ask(place.service, "freeze", container.id)[0] == 0
        assert ask(place.service, "kill", container.id)[0] == 0
        assert container.id not in [entry["id"] for entry in place.service.status()["frozen"]]

    def test_one_that_forks_faster_than_it_is_killed(self, place: Place, rootfs: Path) -> None:
        with oci.start_container(place.sandbox, place.runtime, rootfs, "/opt/respawner", "8") as container:
            begin = time.monotonic()
            status, text = ask(place.service, "kill", container.id)

            assert (status, "note" in text) == (0, False), text
            assert time.monotonic() - begin < KILL_WITHIN_S


def has_sleeper(container: oci.Container) -> bool:
    return container.exec("sh", "-c", "ps -o args | grep '^[s]leep 3600'", check=False).returncode == 0


class TestByPolicy:
    def test_a_rule_kills_the_container(self, place: Place, container: oci.Container) -> None:
        run_marked(container, "kill_it")

        killed = place.tail.wait_for(of(container, "container-killed"), WAIT_S)
        assert field(killed, "stockade.response.asked_by") == "policy"

    def test_a_rules_own_kill_is_about_the_process_and_its_children(
        self, place: Place, container: oci.Container
    ) -> None:
        counter = Counter(container)
        script = f"sleep 3600 & (sleep 3600 &); sh -c 'sleep 3600; true' & wait; echo {mark('kill_process')}"
        process = container.start("sh", "-c", script)

        killed = place.tail.wait_for(of(container, "processes-killed"), WAIT_S)
        process.wait(WAIT_S)
        assert field(killed, "stockade.response.subject") == "process"
        assert counter.runs()
        # One was adopted by the first process: its fork was told, and that is looked at twice a second.
        wait_until(lambda: not has_sleeper(container), "all that descends from it to end")

    def test_what_nobody_carries_out_is_said(self, place: Place, container: oci.Container) -> None:
        run_marked(container, "isolate_it")

        alert = place.tail.wait_for(
            lambda document: (
                field(document, "rule.name") == "marked_isolate_it" and field(document, "container.id") == container.id
            ),
            WAIT_S,
        )
        (verdict,) = field(alert, "stockade.verdicts")
        assert verdict["mode"] == "audit"
        assert verdict["reason"].startswith("would isolate, but nothing here carries that out")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as made:
        yield made


RUNTIME = oci.find_runtimes()[0] if oci.find_runtimes() else ""


def test_in_audit_it_says_that_it_would_be_frozen(sandbox: Sandbox, rules: Path, rootfs: Path, tmp_path: Path) -> None:
    with (
        build_service(sandbox, rules, RESPONSES, "audit", folder=tmp_path) as service,
        oci.start_container(sandbox, RUNTIME, rootfs, *SIX) as container,
    ):
        counter, tail = Counter(container), service.tail()
        run_marked(container, *CHAIN)

        alert = tail.wait_for(lambda document: bool(field(document, "stockade.verdicts")), WAIT_S)
        (verdict,) = field(alert, "stockade.verdicts")
        assert (verdict["action"], verdict["mode"], verdict["subject"]) == ("freeze", "audit", "container")
        assert verdict["reason"].startswith("would freeze: risk ")
        assert counter.runs()
        assert service.status()["frozen"] == []


class TestAcrossRestarts:
    def test_after_a_crash_it_is_known_shown_and_thawed_at_its_time(
        self, sandbox: Sandbox, rules: Path, rootfs: Path, tmp_path: Path
    ) -> None:
        state = f"--state-dir={tmp_path}/state"
        with oci.start_container(sandbox, RUNTIME, rootfs, *SIX) as container:
            counter = Counter(container)
            with build_service(sandbox, rules, RESPONSES, "enforce", state, folder=tmp_path) as service:
                assert ask(service, "freeze", container.id, "--for", "8s")[0] == 0
                service.kill()
            assert counter.stands_still()
            with build_service(sandbox, rules, RESPONSES, "enforce", state, folder=tmp_path) as service:
                tail = service.tail()
                (entry,) = service.status()["frozen"]
                assert entry["id"] == container.id
                assert entry["left_s"] < 8
                tail.wait_for(of(container, "container-thawed"), WAIT_S)
                assert counter.runs()

    def test_after_a_stop_it_stays_frozen_until_it_is_thawed(
        self, sandbox: Sandbox, rules: Path, rootfs: Path, tmp_path: Path
    ) -> None:
        state = f"--state-dir={tmp_path}/state"
        with oci.start_container(sandbox, RUNTIME, rootfs, *SIX) as container:
            counter = Counter(container)
            with build_service(sandbox, rules, RESPONSES, "audit", state, folder=tmp_path) as service:
                assert ask(service, "freeze", container.id)[0] == 0
            assert counter.stands_still()
            with build_service(sandbox, rules, RESPONSES, "audit", state, folder=tmp_path) as service:
                assert "is still frozen" in service.log
                assert ask(service, "thaw", container.id)[0] == 0
            assert counter.runs()


def test_a_thaw_by_somebody_else_is_noticed(sandbox: Sandbox, rules: Path, rootfs: Path, tmp_path: Path) -> None:
    with (
        build_service(sandbox, rules, RESPONSES, "audit", folder=tmp_path) as service,
        oci.start_container(sandbox, RUNTIME, rootfs, *SIX) as container,
    ):
        tail = service.tail()
        assert ask(service, "freeze", container.id)[0] == 0
        for mount in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            path = sandbox.inside(f"{mount}{container.cgroup_path}/cgroup.freeze")
            if path.exists():
                path.write_text("0")

        thawed = tail.wait_for(of(container, "container-thawed"), WAIT_S)
        assert "somebody else thawed it" in field(thawed, "message")
        assert service.status()["frozen"] == []


class TestMistakes:
    def test_a_name_that_nothing_has(self, sandbox: Sandbox, rules: Path, rootfs: Path, tmp_path: Path) -> None:
        wish = oci.Wish(id="shop-frontend", cgroup_path="/shop-frontend")
        with (
            build_service(sandbox, rules, RESPONSES, "audit", folder=tmp_path) as service,
            oci.start_container(sandbox, RUNTIME, rootfs, wish=wish),
        ):
            wait_until(lambda: bool(service.status()["containers"]), "the container")
            near = "stockade: no container is called 'shop-frontent'; did you mean 'shop-fronten'?"
            assert ask(service, "kill", "shop-frontent") == (2, near)
            status, text = ask(service, "freeze", "host")
            assert status == 2
            assert text.startswith("stockade: no container is called 'host'; running: ")
            assert "shop-fronten" in text
            assert ask(service, "freeze", "")[0] == 2
            assert ask(service, "freeze", "shop-frontend", "--for", "soon")[0] == 2

    def test_no_service(self, sandbox: Sandbox, tmp_path: Path) -> None:
        nobody = Service(sandbox)
        status, text = ask(nobody, "freeze", "web")
        nobody.folder.rmdir()
        assert status == 3
        assert "no service listens on" in text
        assert "\n" not in text

    def test_a_read_only_cgroup_file_system(self, rules: Path, rootfs: Path, tmp_path: Path) -> None:
        mode = find_modes()[0]
        with Sandbox(mode) as outer, Sandbox(mode) as inner:
            for mount in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/freezer", "/sys/fs/cgroup"):
                outer.run(["mount", "-o", "remount,bind,ro", mount], check=False)
            with (
                build_service(outer, rules, RESPONSES, "audit", folder=tmp_path) as service,
                oci.start_container(inner, RUNTIME, rootfs) as container,
            ):
                wait_until(lambda: bool(service.status()["containers"]), "the container")
                tail = service.tail()
                for action in ("freeze", "kill"):
                    status, text = ask(service, action, container.id)
                    assert status == 3
                    assert "mounted read-only for the service" in text
                failed = tail.wait_for(has(event__kind="alert", rule__name="response_failed"), WAIT_S)
                assert "Read-only file system" in field(failed, "message")
                assert service.status()["frozen"] == []
