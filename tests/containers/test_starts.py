"""Docker, containerd and podman under every ready-made prevention in mode enforce: their containers start, whatever the
machine is busy with, and what the preventions are against does not run in them.

Natively in the tiers that there are without BPF LSM, and only in the containers that are made here, since others may
run on this machine: so they are made first, then the service starts, then they do. In the guest (tests/vm) in tier
``lsm``, for any container. Plain runc and crun: ``test_preventions.py``.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.bpf.features import find_lsm_obstacle
from monitor.config.settings import PREVENTIONS
from tests.support import runtimes
from tests.support.documents import Document, field, summarize
from tests.support.gate import make_own_runtime
from tests.support.images import Image, write_image
from tests.support.rule_texts import rule_text
from tests.support.runtimes import Container, Runtime
from tests.support.sandbox import Sandbox
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

STARTS, MANY_STARTS = 20, 100
AT_ONCE = 5
"""With one command."""
TIER = "auto" if find_lsm_obstacle() else "lsm"
DOCKERS = ((), ("--init",), ("--user=1000",), ("--read-only",), ("--pid=host",), ("--ipc=host", "--uts=host"))
WAYS = {
    "docker": (*DOCKERS, ("--tty", "--interactive"), ("--cap-add=ALL", "--cap-drop=SYS_RESOURCE")),
    "podman": (*DOCKERS, ("--tty", "--interactive"), ("--systemd=always",)),
    "containerd": ((), ("--read-only",), ("--no-pivot",), ("--net-host",), ("--seccomp",), ("--allow-new-privs",)),
}
"""How they are started, one after the other."""
BY_PATH, HELD = "by_path", "/opt/server"
"""A rule like others, and the program that it denies."""
SCRATCH = {
    "docker": "--tmpfs=/scratch:exec",
    "podman": "--tmpfs=/scratch:exec",
    "containerd": "--mount=type=tmpfs,src=tmpfs,dst=/scratch,options=nosuid",
}
"""A tmpfs from which programs may be executed."""


class Scene(NamedTuple):
    sandbox: Sandbox
    runtime: Runtime
    waiting: list[Container]
    """Made, not started yet."""
    attacked: Container
    service: Service
    tail: Tail


@pytest.fixture(scope="module")
def image(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return write_image(rootfs, tmp_path_factory.mktemp("image") / "image.tar", "localhost/stockade/starts:1")


@pytest.fixture(scope="module", params=runtimes.ALL, ids=lambda kind: kind.name)
def scene(request: pytest.FixtureRequest, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    kind: type[Runtime] = request.param
    if not kind.is_installed():
        pytest.skip(f"no {kind.program} here")
    count = MANY_STARTS if request.config.getoption("--long") else STARTS
    with Sandbox(kind.modes()[0], network=True) as sandbox:
        make_own_runtime(sandbox)
        with kind(sandbox) as runtime:
            runtime.load(image)
            ways = itertools.islice(itertools.cycle(WAYS[runtime.name]), count)
            waiting = [runtime.create(image, "sleep", "3600", flags=way) for way in ways]
            attacked = runtime.create(image, "sleep", "3600", flags=(SCRATCH[runtime.name],))
            folder, rules = tmp_path_factory.mktemp("settings"), tmp_path_factory.mktemp("rules")
            (folder / "stockade.yml").write_text(settings_for([*waiting, attacked], rules))
            options = ("--no-shipped-rules", f"--rules={rules}", f"--config={folder}/stockade.yml")
            with Service(sandbox, *options, tier=TIER) as service:
                yield Scene(sandbox, runtime, waiting, attacked, service, service.tail())


def settings_for(containers: list[Container], rules: Path) -> str:
    """All preventions, and a rule that the gate decides, for these containers."""
    ids = ", ".join(f'"{container.id[:12]}"' for container in containers)
    where = "" if TIER == "lsm" else f", containers: [{ids}]"
    scope = "container.id|exists: true" if TIER == "lsm" else f"container.id|startswith: [{ids}]"
    detection = f"{{program: {{Image: {HELD}, {scope}}}, condition: program}}"
    extra = f"name: {BY_PATH}\nstatus: stable\nstockade: {{response: deny, mode: enforce}}\n"
    (rules / "by_path.yml").write_text(rule_text(detection, extra=extra))
    lines = (f"    - {{name: {name}, mode: enforce{where}}}\n" for name in PREVENTIONS)
    return f"mode: audit\nenforcement:\n  prevent:\n{''.join(lines)}"


LOAD = ("sh", "-c", "while :; do /bin/true; done")
"""On the host: executions, one after the other."""


@pytest.fixture
def busy(scene: Scene) -> Iterator[None]:
    """A machine that has other things to do."""
    load = scene.sandbox.start(LOAD)
    yield
    load.kill()
    load.wait()


def is_denial(document: Document) -> bool:
    return str(field(document, "event.action")).endswith("-denied")


@pytest.mark.usefixtures("busy")
def test_all_containers_start(scene: Scene) -> None:
    for first in range(0, len(scene.waiting), AT_ONCE):
        batch = scene.waiting[first : first + AT_ONCE]
        scene.runtime.start(*batch)
        for container in batch:
            container.wait_for_program("sleep")
        assert batch[0].exec("cat", "/etc/os-release").stdout.startswith("ID=stockade-test")
        scene.runtime.remove(*batch)

    scene.attacked.start()
    scene.attacked.exec("sh", "-c", "true", check=False)
    wait_for_denial(scene, "no_shells")
    others = scene.tail.matching(lambda document: is_denial(document) and not is_about(document, scene.attacked))
    assert [summarize(document) for document in others] == []


def is_about(document: Document, container: Container) -> bool:
    return bool(field(document, "container.id") == container.id)


def wait_for_denial(scene: Scene, rule: str, path: str = "") -> Document:
    return scene.tail.wait_for(
        lambda document: (
            is_denial(document)
            and is_about(document, scene.attacked)
            and rule in field(document, "stockade.denial.rules")
            and field(document, "file.path").startswith(path)
        )
    )


NEW = {"no_tmpfs_programs": "/scratch/new", "no_drift": "/root/new"}
ACTS = {
    "no_shells": ("sh", "-c", "exit 7"),
    "no_package_managers": ("busybox", "rpm", "-q"),
    "no_memfd": ("/opt/runner", "memfd", "/opt/status7"),
    "no_tmpfs_programs": (NEW["no_tmpfs_programs"],),
    "no_drift": (NEW["no_drift"],),
    BY_PATH: (HELD,),
}
"""What does not run in them, each by what is against it."""


def test_what_they_are_against_does_not_run(scene: Scene) -> None:
    for folder in ("/root", "/scratch"):
        scene.attacked.exec("cp", "/opt/status7", f"{folder}/new")
    assert scene.attacked.exec("/opt/status7", check=False).returncode == 7

    for name, command in ACTS.items():
        assert scene.attacked.exec(*command, check=False).returncode not in (0, 7), name
        assert field(wait_for_denial(scene, name, NEW.get(name, "")), "stockade.denial.tier") == tier_of(name)


def tier_of(rule: str) -> str:
    """Without BPF LSM the gate decides by paths; what the preventions ask for, it cannot know."""
    return TIER if TIER == "lsm" else "hold" if rule == BY_PATH else "kill"
