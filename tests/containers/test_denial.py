"""Denial in real containers: what the policy names does not run, everything else does, and containers start.

Natively in tier ``kill``; in the guest (tests/vm) in tier ``lsm``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import oci
from tests.support.documents import field, has
from tests.support.enforcement import TIER
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

DETECTIONS = {
    "by_path": "{s: {Image: /opt/status7, container.id|exists: true}, condition: s}",
    "written_since_the_image": "{s: {process.flags.upper_layer: true, container.id|exists: true}, condition: s}",
    "not_of_the_image": (
        "{s: {container.id|exists: true}, f: {Image|startswith: [/bin/, /opt/, /usr/, /tmp/, /sbin/]}, "
        "condition: s and not f}"
    ),
}
STARTS = 5


class Scene(NamedTuple):
    sandbox: Sandbox
    runtime: str
    rootfs: Path
    tail: Tail


@pytest.fixture(scope="module", params=oci.find_combinations(), ids="-".join)
def scene(request: pytest.FixtureRequest, rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    runtime, mode = request.param
    rules = tmp_path_factory.mktemp("rules")
    for number, (name, detection) in enumerate(DETECTIONS.items()):
        text = rule_text(detection, extra=f"name: {name}\n{DENY}", number=number)
        (rules / f"{name}.yml").write_text(text)
    with (
        Sandbox(mode, network=True) as sandbox,
        Service(sandbox, "--no-shipped-rules", f"--rules={rules}", "--mode=enforce") as service,
    ):
        yield Scene(sandbox, runtime, rootfs, service.tail())


@pytest.fixture
def container(scene: Scene) -> Iterator[oci.Container]:
    with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs) as started:
        yield started


def test_a_named_program_does_not_run_in_the_container(scene: Scene, container: oci.Container) -> None:
    container.exec("sh", "-c", "/opt/status7; echo $? >/tmp/status; true")

    denied = scene.tail.wait_for(has(event__action="exec-denied", container__id=container.id))
    assert container.root("/tmp/status").read_text().strip() != "7"
    assert field(denied, "file.path") == "/opt/status7"
    assert field(denied, "stockade.denial.rules") == ["by_path"]
    assert field(denied, "stockade.denial.tier") == TIER
    assert field(denied, "process.executable") in ("/bin/busybox", "/opt/status7")


def test_what_was_written_since_the_image_does_not_run(scene: Scene, container: oci.Container) -> None:
    container.exec("sh", "-c", "cp /bin/busybox /tmp/true; /tmp/true && touch /tmp/ran; true")

    denied = scene.tail.wait_for(has(event__action="exec-denied", file__path="/tmp/true", container__id=container.id))
    assert field(denied, "stockade.denial.rules") == ["written_since_the_image"]
    assert not container.root("/tmp/ran").exists()


@pytest.mark.parametrize("is_named", [False, True])
def test_containers_start_whatever_the_policy_is(scene: Scene, *, is_named: bool) -> None:
    """With a path of the usual shape, and with one that no shape tells."""
    for _ in range(STARTS):
        wish = oci.Wish(cgroup_path=f"/{oci.free_name()}") if is_named else oci.Wish()
        with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs, wish=wish) as started:
            started.exec("true")
            started.exec("sh", "-c", "/opt/status7; true")
            identity = started.cgroup_path.lstrip("/") if is_named else started.id
            scene.tail.wait_for(has(event__action="exec-denied", container__id=identity))
