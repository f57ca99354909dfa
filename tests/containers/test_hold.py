"""Tier hold in the running service, with real containers: refused in the call itself, and told once."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.bpf.features import find_lsm_obstacle
from tests.support import oci
from tests.support.documents import field, has
from tests.support.gate import make_own_runtime
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

ASKED = "auto" if find_lsm_obstacle() else "hold"
"""In the guest, whose kernel has tier `lsm`, nothing is done about what the gate cannot decide."""

STARTS = 5
MODES = {"runc": find_modes()[0], "crun": find_modes()[-1]}
"""One each: what differs between cgroup modes is the others' to test."""
RULES = {
    "by_path": ("process_creation", "{s: {Image: /opt/status7, container.id|exists: true}, condition: s}"),
    "anywhere": ("process_creation", "{s: {Image|endswith: /busybox-no, container.id|exists: true}, condition: s}"),
    "by_parent": (
        "process_creation",
        "{s: {Image: /bin/busybox, ParentImage|endswith: /busybox-spawner, container.id|exists: true}, condition: s}",
    ),
    "the_secret": ("file_access", "{s: {file.path: /etc/secret, container.id|exists: true}, condition: s}"),
    "by_argument": (
        "process_creation",
        "{s: {Image: /bin/busybox, CommandLine|contains: not-to-run, container.id|exists: true}, condition: s}",
    ),
}


class Scene(NamedTuple):
    sandbox: Sandbox
    runtime: str
    rootfs: Path
    service: Service
    tail: Tail


COMBINATIONS = [
    pytest.param((runtime, mode), marks=[pytest.mark.long] if runtime != oci.find_runtimes()[0] else [])
    for runtime, mode in oci.find_combinations()
    if mode == MODES[runtime]
]


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def scene(request: pytest.FixtureRequest, rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    runtime, mode = request.param
    rules = tmp_path_factory.mktemp("rules")
    for number, (name, (category, detection)) in enumerate(RULES.items()):
        text = rule_text(detection, category=category, extra=f"name: {name}\n{DENY}", number=number)
        (rules / f"{name}.yml").write_text(text)
    with Sandbox(mode, network=True) as sandbox:
        for name in oci.find_runtimes():
            make_own_runtime(sandbox, name)
        options = ("--no-shipped-rules", f"--rules={rules}", "--mode=enforce")
        with Service(sandbox, *options, tier=ASKED) as service:
            yield Scene(sandbox, runtime, rootfs, service, service.tail())


@pytest.fixture
def container(scene: Scene) -> Iterator[oci.Container]:
    with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs) as started:
        yield started


def test_a_named_program_is_refused_in_the_call_and_told_once(scene: Scene, container: oci.Container) -> None:
    container.exec("sh", "-c", "/opt/status7; echo $? >/tmp/status")
    assert container.root("/tmp/status").read_text().strip() == "126"
    container.exec("true")

    wanted = has(event__kind="event", event__action="exec-denied", container__id=container.id)
    denied = scene.tail.wait_for(wanted)
    alert = scene.tail.wait_for(has(event__kind="alert", container__id=container.id))
    assert field(denied, "file.path") == "/opt/status7"
    assert field(denied, "stockade.denial.rules") == ["by_path"]
    assert field(denied, "stockade.denial.tier") == "hold"
    assert field(denied, "process.executable") == "/bin/busybox"
    assert field(alert, "rule.name") == "by_path"
    assert len(scene.tail.matching(wanted)) == 1


def test_the_entry_program_is_refused_too(scene: Scene) -> None:
    done = oci.run_container(scene.sandbox, scene.runtime, scene.rootfs, "/opt/status7", check=False)

    assert done.returncode not in (0, 7) and "operation not permitted" in done.stderr.lower()


def test_a_program_is_refused_by_its_parent_alone(scene: Scene, container: oci.Container) -> None:
    container.exec("sh", "-c", "cp /bin/busybox /opt/busybox-spawner; /bin/busybox true; echo $? >/tmp/status")
    assert container.root("/tmp/status").read_text().strip() == "0"
    container.exec("/opt/busybox-spawner", "sh", "-c", "/bin/busybox true; echo $? >/tmp/status")
    assert container.root("/tmp/status").read_text().strip() == "126"


def test_an_open_is_refused_in_containers_alone(scene: Scene, container: oci.Container) -> None:
    container.exec("sh", "-c", "echo x >/etc/secret; echo $? >/tmp/status")
    assert container.root("/tmp/status").read_text().strip() != "0"
    denied = scene.tail.wait_for(has(event__kind="event", event__action="open-denied", container__id=container.id))
    assert (field(denied, "file.path"), field(denied, "stockade.denial.tier")) == ("/etc/secret", "hold")
    scene.sandbox.run(["sh", "-c", f"echo x >{container.root('/etc/secret')}"])


def test_a_containers_own_tmpfs_is_held(scene: Scene, container: oci.Container) -> None:
    container.exec("sh", "-c", "cp /bin/busybox /dev/shm/busybox-no; /dev/shm/busybox-no true; echo $? >/tmp/status")
    assert container.root("/tmp/status").read_text().strip() == "126"


def test_what_lies_on_a_file_system_of_the_host_is_ended(scene: Scene, tmp_path: Path) -> None:
    """It is not held, and `hold_paths` was not told to."""
    wish = oci.Wish(binds=((str(tmp_path), "/data"),))
    with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs, wish=wish) as started:
        started.exec("sh", "-c", "cp /bin/busybox /data/busybox-no; /data/busybox-no true; echo $? >/tmp/status")
        assert started.root("/tmp/status").read_text().strip() == ("137" if ASKED == "auto" else "0")


def test_what_the_gate_cannot_decide_is_ended(scene: Scene, container: oci.Container) -> None:
    container.exec("sh", "-c", '/bin/busybox echo "not"-"to-run" >/tmp/ran; echo $? >/tmp/status')

    status = container.root("/tmp/status").read_text().strip()
    if ASKED == "auto":
        denied = scene.tail.wait_for(has(event__kind="event", event__action="exec-denied", container__id=container.id))
        assert (status, field(denied, "stockade.denial.tier")) == ("137", "kill")
    else:
        alert = scene.tail.wait_for(has(event__kind="alert", rule__name="by_argument", container__id=container.id))
        assert status == "0"
        assert "would deny" in field(alert, "stockade.verdicts")[0]["reason"]


def test_containers_start_and_are_held_from_their_first_program_on(scene: Scene) -> None:
    for number in range(STARTS):
        wish = oci.Wish(cgroup_path=f"/{oci.free_name()}") if number % 2 else oci.Wish()
        with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs, wish=wish) as started:
            started.exec("true")
            started.exec("sh", "-c", "/opt/status7; true")
            identity = started.cgroup_path.lstrip("/") if number % 2 else started.id
            denied = scene.tail.wait_for(has(event__kind="event", event__action="exec-denied", container__id=identity))
            assert field(denied, "stockade.denial.tier") == "hold"
