"""What the container tests share: one root file system and its programs for the whole run, a service for a module."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import oci
from tests.support.programs import build_programs, find_loader
from tests.support.rootfs import build_rootfs
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, Tail
from tests.support.traces import find_cgroups


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The test programs of ``tests/containers/programs``, compiled: name to executable."""
    return build_programs(Path(__file__).parent / "programs", tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory, programs: dict[str, Path]) -> Path:
    """A busybox root file system with the test programs in ``/opt``; each container has its own overlay over it."""
    tools = {**programs, "loader": find_loader()}
    return build_rootfs(tmp_path_factory.mktemp("rootfs"), {f"/opt/{name}": path for name, path in tools.items()})


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in this machine's own cgroup mode, with a network of its own."""
    with Sandbox(find_modes()[0], network=True) as made:
        yield made


@pytest.fixture
def parent() -> Iterator[str]:
    """Name of a cgroup for containers of this test alone: other test runs may be about. In the end it must be gone."""
    name = f"parent-{secrets.token_hex(8)}"
    yield name
    assert find_cgroups(name) == []


@pytest.fixture(scope="module")
def service(sandbox: Sandbox) -> Iterator[Service]:
    """A running service with the shipped rules and the tests' own."""
    with Service(sandbox, "--rules", Path(__file__).parent / "rules") as started:
        yield started


@pytest.fixture(scope="module")
def tail(service: Service) -> Tail:
    """All events and alerts of the module's service."""
    return service.tail()


@pytest.fixture
def container(sandbox: Sandbox, service: Service, rootfs: Path) -> Iterator[oci.Container]:
    """A fresh container: no earlier alert of it can hold back one that a test waits for."""
    with oci.start_container(sandbox, oci.find_runtimes()[0], rootfs) as started:
        yield started
