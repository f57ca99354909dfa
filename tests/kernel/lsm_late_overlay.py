"""Overlayfs' module comes after the service: what was written since an image cannot be told until that is reloaded or
started again, and ``status`` says so. For ``test_late_overlay``, in a guest (tests/vm) that has not loaded it.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.test_reload import reload
from tests.support import oci
from tests.support.documents import field, has
from tests.support.programs import build_programs
from tests.support.rootfs import build_rootfs
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service

pytestmark = pytest.mark.containers

LATE = Path("/run/late")
REMOVAL_WAIT_S = 20.0
SETTINGS = "mode: audit\nenforcement:\n  prevent: [{name: no_drift, mode: enforce}]\n"
UNKNOWN = "what was written since a container's image cannot be told"


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = Path(__file__).parents[1] / "containers/programs"
    programs = build_programs(sources, tmp_path_factory.mktemp("programs"), "status7")
    return build_rootfs(tmp_path_factory.mktemp("rootfs"), {"/opt/status7": programs["status7"]})


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    settings = tmp_path_factory.mktemp("settings") / "stockade.yml"
    settings.write_text(SETTINGS)
    return ("--no-shipped-rules", f"--config={settings}")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0], network=True) as made:
        yield made


@pytest.fixture
def insert() -> Iterator[Callable[[], None]]:
    """Loads the module; it is removed in the end."""
    (module,) = LATE.iterdir()
    yield lambda: busybox("insmod", str(module))
    end = time.monotonic() + REMOVAL_WAIT_S
    while subprocess.run(["/run/busybox", "rmmod", "overlay"], check=False).returncode:  # something is mounted still
        assert time.monotonic() < end
        time.sleep(0.1)


def busybox(*words: str) -> None:
    subprocess.run(["/run/busybox", *words], check=True)


def list_unknown(service: Service) -> list[str]:
    return [note for note in service.status()["notes"] if note.startswith(UNKNOWN)]


def is_drift_denied(service: Service, rootfs: Path) -> bool:
    with oci.start_container(service.sandbox, "runc", rootfs) as container:
        container.exec("cp", "/opt/status7", "/root/new")
        if container.exec("/root/new", check=False).returncode == 7:
            return False
        wanted = has(event__action="exec-denied", container__id=container.id, file__path="/root/new")
        assert field(service.tail().wait_for(wanted), "stockade.denial.tier") == "lsm"
        return True


def test_a_reload_learns_of_it(
    sandbox: Sandbox, rootfs: Path, options: tuple[str, ...], insert: Callable[[], None]
) -> None:
    with Service(sandbox, *options) as service:
        assert "a module that is not loaded" in list_unknown(service)[0]
        insert()
        assert "loaded after Stockade" in list_unknown(service)[0]
        assert not is_drift_denied(service, rootfs)

        reload(service)

        assert list_unknown(service) == []
        assert is_drift_denied(service, rootfs)


def test_a_restart_takes_nothing_over_that_does_not_know_it(
    sandbox: Sandbox, rootfs: Path, options: tuple[str, ...], insert: Callable[[], None], tmp_path: Path
) -> None:
    with Service(sandbox, *options, folder=tmp_path) as service:
        service.kill()
    insert()
    with Service(sandbox, *options, folder=tmp_path) as service:
        assert list_unknown(service) == []
        assert is_drift_denied(service, rootfs)
