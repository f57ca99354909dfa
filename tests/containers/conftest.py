"""What the container tests share: one root file system and its programs for the whole run."""

from pathlib import Path

import pytest

from tests.support.programs import build_programs
from tests.support.rootfs import build_rootfs


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The test programs of ``tests/containers/programs``, compiled: name to executable."""
    return build_programs(Path(__file__).parent / "programs", tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory, programs: dict[str, Path]) -> Path:
    """A busybox root file system with the test programs in ``/opt``; each container has its own overlay over it."""
    return build_rootfs(tmp_path_factory.mktemp("rootfs"), {f"/opt/{name}": path for name, path in programs.items()})
