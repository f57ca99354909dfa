"""What no_drift makes of volumes and of a root that is no overlay: podman on vfs, beside docker on overlay2.

What is the image's cannot be told without an overlay: containers start, what they have written runs, and ``status``
says so. What lies on another file system is denied all the same, unless settings allow it.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.documents import field, has
from tests.support.enforcement import TIER
from tests.support.images import Image, write_image
from tests.support.runtimes import Container, Docker, Podman
from tests.support.sandbox import Sandbox
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

SETTINGS = """\
mode: audit
enforcement:
  prevent:
    - {{name: no_drift, mode: enforce, containers: [{ids}], allow: [/scratch/allowed/, /data/allowed]}}
"""
VOLUME = f"starts-{secrets.token_hex(4)}"
FLAGS = ("--tmpfs=/scratch:exec", f"--volume={VOLUME}:/data")


class Scene(NamedTuple):
    on_vfs: Container
    on_overlay: Container
    service: Service
    tail: Tail


@pytest.fixture(scope="module")
def scene(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("volumes")
    image = write_image(rootfs, folder / "image.tar", "localhost/stockade/volumes:1")
    mode = Podman.modes()[0]
    with Sandbox(mode, network=True) as sandbox, Docker(sandbox) as docker, Podman(sandbox, driver="vfs") as podman:
        on_vfs, on_overlay = (_create(runtime, image) for runtime in (podman, docker))
        ids = ", ".join(f'"{container.id}"' for container in (on_vfs, on_overlay))
        (folder / "stockade.yml").write_text(SETTINGS.format(ids=ids))
        with Service(sandbox, "--no-shipped-rules", f"--config={folder}/stockade.yml") as service:
            for container in (on_vfs, on_overlay):
                container.start()
                container.wait_for_program("sleep")
            yield Scene(on_vfs, on_overlay, service, service.tail())


def _create(runtime: Docker | Podman, image: Image) -> Container:
    if not runtime.is_installed():
        pytest.skip(f"no {runtime.program} here")
    runtime.load(image)
    return runtime.create(image, "sleep", "3600", flags=FLAGS)


def run_copy(container: Container, path: str) -> int:
    """The exit status of a program that is put there: 7 if it runs."""
    container.exec("mkdir", "-p", str(Path(path).parent))
    container.exec("cp", "/opt/status7", path)
    return container.exec(path, check=False).returncode


def assert_denied(scene: Scene, container: Container, path: str) -> None:
    assert run_copy(container, path) != 7
    wanted = has(event__action="exec-denied", container__id=container.id, file__path=path)
    assert field(scene.tail.wait_for(wanted), "stockade.denial.tier") == TIER


def test_what_was_written_to_an_overlay_or_a_volume_does_not_run(scene: Scene) -> None:
    for path in ("/root/new", "/scratch/new", "/data/new"):
        assert_denied(scene, scene.on_overlay, path)


def test_a_root_on_vfs_is_said_and_only_other_file_systems_are_denied(scene: Scene) -> None:
    notes = [note for note in scene.service.status()["notes"] if "no overlay" in note]
    assert len(notes) == 1
    assert scene.on_vfs.id[:12] in notes[0]
    assert scene.on_overlay.id[:12] not in notes[0]
    assert run_copy(scene.on_vfs, "/root/new") == 7
    assert_denied(scene, scene.on_vfs, "/scratch/new")


def test_a_volume_beside_a_root_on_vfs_is_on_its_file_system(scene: Scene) -> None:
    """Podman keeps both below /var/lib/containers."""
    assert run_copy(scene.on_vfs, "/data/new") == 7


def test_what_settings_allow_runs(scene: Scene) -> None:
    for container in (scene.on_overlay, scene.on_vfs):
        for path in ("/scratch/allowed/new", "/data/allowed"):
            assert run_copy(container, path) == 7, path
