"""Loaded sensors, for all tests of a module: those of processes, and the file sensor in each variant."""

from collections.abc import Iterator

import pytest

from monitor.bpf.enforcement import HOOK_PROGRAMS
from tests.support.enforcement import TIER, Denier, denying
from tests.support.open_sensor import VARIANTS, OpenSensor
from tests.support.sensors import Watcher, watching


@pytest.fixture(scope="module")
def watcher() -> Iterator[Watcher]:
    with watching() as running:
        yield running


@pytest.fixture(scope="module", params=VARIANTS)
def loaded(request: pytest.FixtureRequest) -> Iterator[OpenSensor]:
    with OpenSensor(request.param) as sensor:
        yield sensor


@pytest.fixture
def sensor(loaded: OpenSensor) -> Iterator[OpenSensor]:
    """Nothing watched, nothing left to read, no cgroup known."""
    loaded.watch([])
    loaded.read_all()
    yield loaded
    for key, _ in list(loaded.object.map_items("cgroup_tags")):
        loaded.object.map_delete("cgroup_tags", key)


@pytest.fixture(scope="session" if TIER == "lsm" else "module")
def loaded_denier() -> Iterator[Denier]:
    """In a guest with all hooks, once for all: verifying takes an emulated CPU half a minute."""
    with denying(TIER, hooks=tuple(sorted(HOOK_PROGRAMS)) if TIER == "lsm" else ()) as denier:
        yield denier


@pytest.fixture
def denier(loaded_denier: Denier) -> Denier:
    """A tier in force, in a cgroup of its own; nothing told yet."""
    loaded_denier.denials()
    return loaded_denier
