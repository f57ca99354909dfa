"""Every ready-made prevention in mode enforce: containers start all the same, and what each is against does not run.

Natively in tier ``kill``; in the guest (tests/vm) in tier ``lsm``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.config.settings import PREVENTIONS
from tests.support import oci
from tests.support.documents import Document, field, has
from tests.support.enforcement import TIER
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

STARTS = 20
MANY_STARTS = 100
ALL_ON = "mode: audit\nenforcement:\n  prevent:\n" + "".join(
    f"    - {{name: {name}, mode: enforce}}\n" for name in PREVENTIONS
)


class Scene(NamedTuple):
    sandbox: Sandbox
    runtime: str
    rootfs: Path
    service: Service
    tail: Tail


def find_mode(runtime: str) -> str:
    """The first cgroup mode of this machine that a runtime takes."""
    return next(mode for mode in find_modes() if oci.supports(runtime, mode))


@pytest.fixture(scope="module", params=oci.find_runtimes())
def scene(request: pytest.FixtureRequest, rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    settings = tmp_path_factory.mktemp("settings") / "stockade.yml"
    settings.write_text(ALL_ON)
    with (
        Sandbox(find_mode(request.param), network=True) as sandbox,
        Service(sandbox, "--no-shipped-rules", f"--config={settings}") as service,
    ):
        yield Scene(sandbox, request.param, rootfs, service, service.tail())


@pytest.fixture
def container(scene: Scene) -> Iterator[oci.Container]:
    with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs) as started:
        yield started


def start(scene: Scene, count: int) -> None:
    for _ in range(count):
        with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs) as started:
            assert started.exec("cat", "/etc/hostname").stdout == "container\n"
    with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs) as last:
        last.exec("sh", check=False)
        scene.tail.wait_for(has(event__action="exec-denied", container__id=last.id))
    denied = scene.tail.matching(lambda document: is_denial(document) and field(document, "container.id") != last.id)
    assert denied == []


def is_denial(document: Document) -> bool:
    return str(field(document, "event.action")).endswith("-denied")


def test_containers_start(scene: Scene) -> None:
    start(scene, STARTS)


@pytest.mark.long
def test_a_hundred_containers_start(scene: Scene) -> None:
    start(scene, MANY_STARTS)


ACTS = {
    "no_shells": ("sh", "-c", "true"),
    "no_package_managers": ("busybox", "rpm", "-q"),
    "no_memfd": ("/opt/runner", "memfd", "/bin/busybox", "true"),
    "no_tmpfs_programs": ("/dev/shm/new", "true"),
    "no_drift": ("/root/new", "true"),
}
"""What a container does against each of them; natively nothing denies an open."""


def test_each_of_them_denies(scene: Scene, container: oci.Container) -> None:
    for folder in ("/root", "/dev/shm"):
        container.exec("cp", "/bin/busybox", f"{folder}/true")
    container.exec("mv", "/root/true", "/root/new")
    container.exec("mv", "/dev/shm/true", "/dev/shm/new")

    for name, command in ACTS.items():
        done = container.exec(*command, check=False)
        denied = scene.tail.wait_for(
            lambda document, name=name: (
                is_denial(document)
                and field(document, "container.id") == container.id
                and name in field(document, "stockade.denial.rules")
            )
        )
        assert done.returncode != 0, name
        assert field(denied, "stockade.denial.tier") == TIER


def test_the_host_is_left_alone(scene: Scene) -> None:
    """A login session's shell, and a service that a shell starts; package managers too."""
    for command in (("bash", "--login", "-c", "exit 7"), ("sh", "-c", "exit 7"), ("setsid", "sh", "-c", "exit 7")):
        assert scene.sandbox.run(command, check=False).returncode == 7
    assert scene.sandbox.run(["dpkg", "--version"]).returncode == 0
