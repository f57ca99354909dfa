"""A host where cgroup2 looks right at start, and whose containers have cgroups of their own in v1 alone."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import oci
from tests.support.documents import Document, field, has
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

WAIT_S = 15
SHAPES = ("/docker/{id}", "/{free}")


@pytest.fixture(params=oci.find_runtimes())
def runtime(request: pytest.FixtureRequest) -> str:
    """crun too: it refuses hybrid hosts, and here it sees a v1 one."""
    return str(request.param)


@pytest.fixture
def host() -> Iterator[Sandbox]:
    """The host as the service sees it: v1 controllers and cgroup2."""
    if "hybrid" not in find_modes():
        pytest.skip("this machine has no v1 controllers")
    with Sandbox("hybrid") as made:
        yield made


@pytest.fixture
def inner() -> Iterator[Sandbox]:
    """Where runtimes find no cgroup2 that they could join."""
    with Sandbox("v1") as made:
        yield made


@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_container_changes_the_hierarchy_and_is_tagged(
    host: Sandbox, inner: Sandbox, runtime: str, shape: str, rootfs: Path
) -> None:
    identifier = oci.new_id()
    path = shape.format(id=identifier, free=oci.free_name())
    wish = oci.Wish(id=identifier, cgroup_path=path)
    name = path.rpartition("/")[2]
    script = "cat /etc/shadow > /dev/null; exec sleep 3600"
    with Service(host) as service:
        assert service.status()["hierarchy"].startswith("cgroup2 at ")
        tail = service.tail()
        with oci.start_container(inner, runtime, rootfs, "sh", "-c", script, wish=wish) as container:
            first = tail.wait_for(has(event__action="exec", process__args=["sh", "-c", script]), WAIT_S)
            opened = tail.wait_for(
                lambda document: (
                    document["event"]["kind"] == "alert" and field(document, "rule.name") == "shadow_file_read"
                ),
                WAIT_S,
            )
            container.exec("true", "later")
            later = tail.wait_for(has(event__action="exec", process__args=["true", "later"]), WAIT_S)
            status = service.status()

        assert [field(document, "container.id") for document in (first, opened, later)] == [name] * 3
        assert status["hierarchy"].startswith("v1 pids at ")
        assert [each["id"] for each in status["containers"]] == [name]
        assert any("cgroup2" in note and "v1 pids" in note for note in status["notes"])
        assert service.log.count("events are tagged by v1 pids") == 1
        wait_gone(service, name)


def wait_gone(service: Service, name: str) -> None:
    end = time.monotonic() + WAIT_S
    while not all(each["is_gone"] for each in service.status()["containers"] if each["id"] == name):
        assert time.monotonic() < end, "the end of the container's cgroup was not seen"
        time.sleep(0.05)


def test_the_second_container_is_told_apart_from_the_first(host: Sandbox, inner: Sandbox, rootfs: Path) -> None:
    runtime = oci.find_runtimes()[0]
    with (
        Service(host) as service,
        oci.start_container(inner, runtime, rootfs) as one,
        oci.start_container(inner, runtime, rootfs) as two,
    ):
        tail: Tail = service.tail()
        one.exec("true", "in-one")
        two.exec("true", "in-two")
        host.run(["true", "on-the-host"])

        def of(word: str) -> Document:
            return tail.wait_for(has(event__action="exec", process__args=["true", word]), WAIT_S)

        assert field(of("in-one"), "container.id") == one.id
        assert field(of("in-two"), "container.id") == two.id
        assert "container" not in of("on-the-host")


def test_a_container_that_runs_already_is_found_at_the_first_look(host: Sandbox, inner: Sandbox, rootfs: Path) -> None:
    """And on a host whose containers have cgroups in both, nothing changes."""
    runtime = "runc" if "runc" in oci.find_runtimes() else None
    if runtime is None:
        pytest.skip("runc alone joins both hierarchies of a hybrid host")
    with Service(host) as service, oci.start_container(host, runtime, rootfs) as container:
        tail = service.tail()
        container.exec("true", "in-both")
        ran = tail.wait_for(has(event__action="exec", process__args=["true", "in-both"]), WAIT_S)

        assert field(ran, "container.id") == container.id
        assert service.status()["hierarchy"].startswith("cgroup2 at ")
