"""Every ready-made prevention in mode enforce: containers start all the same, and what each is against does not run.

Natively in tier ``kill``, and only for the containers that are made here, since others may run on this machine; in the
guest (tests/vm) in tier ``lsm``, for any container.
"""

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from monitor.config.settings import PREVENTIONS
from tests.support import leftovers, oci
from tests.support.documents import Document, field, has, summarize
from tests.support.enforcement import TIER
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

STARTS = 20
MANY_STARTS = 100
IDS = secrets.token_hex(6)
"""How the ids of all containers here begin."""
WHERE = f", containers: [{IDS}]" if TIER == "kill" else ""
ALL_ON = f"mode: audit\nenforcement:\n  tier: {TIER}\n  prevent:\n" + "".join(
    f"    - {{name: {name}, mode: enforce{WHERE}}}\n" for name in PREVENTIONS
)


WAITING = (
    "cp /bin/busybox /dev/shm/true; mkfifo /tmp/word; echo > /tmp/ready; read word < /tmp/word; "
    "chroot /dev/shm /true; sleep 3600"
)
"""What a container does that ran before the service: in the end it takes a tmpfs for its root."""


class Scene(NamedTuple):
    sandbox: Sandbox
    runtime: str
    rootfs: Path
    early: oci.Container
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
        oci.start_container(sandbox, request.param, rootfs, "sh", "-c", WAITING, wish=wish()) as early,
        Service(sandbox, "--no-shipped-rules", f"--config={settings}") as service,
    ):
        yield Scene(sandbox, request.param, rootfs, early, service, service.tail())


def wish(**facts: Any) -> oci.Wish:
    """A container of ours: 12 digits, 4 of its own, and the mark of this test run."""
    return oci.Wish(id=f"{IDS}{secrets.token_hex(2)}{leftovers.mark()}", **facts)


@pytest.fixture
def container(scene: Scene) -> Iterator[oci.Container]:
    with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs, wish=wish()) as started:
        yield started


LOAD = ("sh", "-c", "while :; do /bin/true; done")
"""On the host: executions, one after the other."""


def start(scene: Scene, count: int) -> None:
    load = scene.sandbox.start(LOAD)
    try:
        for _ in range(count):
            with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs, wish=wish()) as started:
                assert started.exec("cat", "/etc/hostname").stdout == "container\n"
    finally:
        load.kill()
        load.wait()
    with oci.start_container(scene.sandbox, scene.runtime, scene.rootfs, wish=wish()) as last:
        last.exec("sh", check=False)
        scene.tail.wait_for(has(event__action="exec-denied", container__id=last.id))
    denied = scene.tail.matching(lambda document: is_denial(document) and field(document, "container.id") != last.id)
    assert [summarize(document) for document in denied] == []


def is_denial(document: Document) -> bool:
    return str(field(document, "event.action")).endswith("-denied")


def wait_for_denial(scene: Scene, container: oci.Container, rule: str, path: str = "") -> Document:
    return scene.tail.wait_for(
        lambda document: (
            is_denial(document)
            and field(document, "container.id") == container.id
            and rule in field(document, "stockade.denial.rules")
            and (not path or field(document, "file.path") == path)
        )
    )


def test_containers_start_under_load(scene: Scene) -> None:
    start(scene, STARTS)


@pytest.mark.long
def test_a_hundred_containers_start_under_load(scene: Scene) -> None:
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
        assert done.returncode != 0, name
        assert field(wait_for_denial(scene, container, name), "stockade.denial.tier") == TIER


CONTACTS = (
    ("no_ptrace", ("trace",), "ptrace-traceme", "traceme-denied"),
    ("no_ptrace", ("read",), "memory-read", "process-access-denied"),
    ("no_runtime_sockets", ("connect", "/run/docker.sock"), "connect", "connect-denied"),
    ("no_runtime_sockets", ("connect", "/var/run/podman/../crio/crio.sock"), "", ""),
)
"""What BPF LSM alone denies, what is told where there is none, and of its denial. No runtime binds the last one so."""
DONE, REFUSED = 0, 3


def test_what_bpf_lsm_alone_denies_is_told_without_it(scene: Scene, container: oci.Container) -> None:
    container.exec("mkdir", "-p", "/var/run/podman", "/var/run/crio")
    for name, words, action, denial in CONTACTS:
        is_denied = TIER == "lsm" and denial

        assert container.exec("/opt/contact", *words, check=False).returncode == (REFUSED if is_denied else DONE)
        if is_denied:
            told = scene.tail.wait_for(has(event__kind="event", event__action=denial, container__id=container.id))
            assert field(told, "stockade.denial.rules") == [name]
        elif action:
            scene.tail.wait_for(has(event__kind="event", event__action=action, container__id=container.id))
            scene.tail.wait_for(has(event__kind="alert", rule__name=name, container__id=container.id))


def test_what_lies_in_a_volume_is_drift_whatever_is_the_root_directory(scene: Scene) -> None:
    volume = scene.rootfs.with_name("volume")
    (volume / "proc").mkdir(parents=True, exist_ok=True)
    shutil.copy(scene.rootfs / "opt/status7", volume / "status7")
    with oci.start_container(
        scene.sandbox, scene.runtime, scene.rootfs, wish=wish(binds=((str(volume), "/data"),))
    ) as container:
        assert container.exec("/opt/status7", check=False).returncode == 7
        for command, path in (
            (("/data/status7",), "/data/status7"),
            (("chroot", "/data", "/status7"), "/data/status7"),
        ):
            assert container.exec(*command, check=False).returncode != 7
            wait_for_denial(scene, container, "no_drift", path)


def oci_program(scene: Scene) -> Path:
    return scene.rootfs / "opt/status7"


def test_a_container_that_ran_before_has_its_root(scene: Scene) -> None:
    assert scene.early.root("/tmp/ready").exists()
    with scene.early.root("/tmp/word").open("w") as word:
        word.write("go\n")

    wait_for_denial(scene, scene.early, "no_drift")


def test_a_root_that_is_no_overlay_is_said(scene: Scene) -> None:
    """As of podman with storage driver vfs: what was written since the image runs, and ``status`` says why."""
    plain = scene.rootfs.with_name(f"plain-{scene.runtime}")
    shutil.copytree(scene.rootfs, plain, symlinks=True)
    with oci.start_container(scene.sandbox, scene.runtime, plain, wish=wish(is_overlay=False)) as container:
        container.exec("cp", "/opt/status7", "/root/new")
        assert container.exec("/root/new", check=False).returncode == 7
        assert [note for note in scene.service.status()["notes"] if f"no overlay: {container.id[:12]}" in note]


def test_the_host_is_left_alone(scene: Scene) -> None:
    """A login session's shell, and a service that a shell starts; package managers too."""
    for command in (("bash", "--login", "-c", "exit 7"), ("sh", "-c", "exit 7"), ("setsid", "sh", "-c", "exit 7")):
        assert scene.sandbox.run(command, check=False).returncode == 7
    assert scene.sandbox.run(["dpkg", "--version"]).returncode == 0
