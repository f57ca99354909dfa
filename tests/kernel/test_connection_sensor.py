"""The sensor for connections to Unix sockets, on real calls."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.model.interest import PatternKind
from monitor.wire import _layout as layout
from tests.support.activity_sensor import ConnectionSensor, connections_to

pytestmark = pytest.mark.kernel

STREAM, DATAGRAM, PACKETS = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET


@pytest.fixture(scope="module")
def loaded() -> Iterator[ConnectionSensor]:
    with ConnectionSensor() as sensor:
        yield sensor


@pytest.fixture
def sensor(loaded: ConnectionSensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectionSensor]:
    """Everything below a folder is watched; the working folder."""
    loaded.watch([connections_to(f"{tmp_path}/", PatternKind.PREFIX)])
    loaded.read_all()
    monkeypatch.chdir(tmp_path)
    yield loaded
    for key, _ in list(loaded.object.map_items("cgroup_tags")):
        loaded.object.map_delete("cgroup_tags", key)


@contextlib.contextmanager
def serving(address: str, kind: socket.SocketKind = STREAM) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(address)
        if kind is not DATAGRAM:
            server.listen(64)
        yield


def connect(address: str, kind: socket.SocketKind = STREAM) -> None:
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(address)


def told(sensor: ConnectionSensor) -> list[str]:
    return [event.address for event in sensor.read()]


@pytest.mark.parametrize("kind", [STREAM, DATAGRAM, PACKETS])
def test_every_kind_of_connection_is_told(sensor: ConnectionSensor, tmp_path: Path, kind: socket.SocketKind) -> None:
    with serving(f"{tmp_path}/a.sock", kind):
        connect("a.sock", kind)

        (event,) = sensor.read()
        stat = (tmp_path / "a.sock").stat()
    assert (event.transport, event.address) == ("unix", f"{tmp_path}/a.sock")
    assert (event.inode, event.device) == (stat.st_ino, stat.st_dev)


def test_a_socket_is_what_it_was_bound_to(sensor: ConnectionSensor, tmp_path: Path) -> None:
    with serving(f"{tmp_path}/engine.sock"):
        engine = Path("engine.sock")
        Path("linked").hardlink_to(engine)
        Path("symbolic").symlink_to(engine)
        connect("symbolic")
        renamed = engine.rename("renamed")
        for name in ("linked", "renamed"):
            connect(name)
        renamed.unlink()
        connect("linked")

        assert told(sensor) == [f"{tmp_path}/engine.sock"] * 4


def test_a_name_that_says_nothing_is_where_the_socket_lies(sensor: ConnectionSensor, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_PATH)
    with serving("relative"), serving(f"/proc/self/fd/{descriptor}/short"):
        os.close(descriptor)
        connect("relative")
        connect("short")
        Path("relative").rename("elsewhere")
        connect("elsewhere")

        assert told(sensor) == [f"{tmp_path}/{name}" for name in ("relative", "short", "elsewhere")]


def test_abstract_names_begin_with_an_at_sign(sensor: ConnectionSensor) -> None:
    name = f"stockade-test-{os.getpid()}"
    sensor.watch([connections_to(f"@{name}", PatternKind.PREFIX)])
    longest = name.ljust(107, "x")
    with serving(f"\0{name}"), serving(f"\0{name}\0\0more"), serving(f"\0{longest}"):
        for address in (name, f"{name}\0\0more", longest):
            connect(f"\0{address}")

    (first, second, third) = sensor.read()
    assert [event.address for event in (first, second, third)] == [f"@{name}", f"@{name}@@more", f"@{longest}"]
    assert not first.inode


def test_the_longest_path_is_whole(sensor: ConnectionSensor, tmp_path: Path) -> None:
    path = f"{tmp_path}/{'x' * (107 - len(str(tmp_path)) - 1)}"
    with serving(path):
        connect(path)

        assert told(sensor) == [path]


def test_what_is_no_connection_to_a_watched_socket_is_not_told(sensor: ConnectionSensor, tmp_path: Path) -> None:
    for kind in (STREAM, DATAGRAM, PACKETS):
        one, other = socket.socketpair(socket.AF_UNIX, kind)
        one.close()
        other.close()
    with socket.socket(socket.AF_INET, DATAGRAM) as client, contextlib.suppress(OSError):  # there may be no network
        client.connect(("127.0.0.1", 9))
    with contextlib.suppress(FileNotFoundError):
        connect("missing")
    with serving(f"{tmp_path}/a.sock"):
        sensor.watch([connections_to(f"{tmp_path}/b.sock")])
        connect("a.sock")

    assert told(sensor) == []


def test_scopes_are_told_apart_by_the_cgroup(sensor: ConnectionSensor, tmp_path: Path) -> None:
    with serving(f"{tmp_path}/a.sock"):
        connect("a.sock")
        (event,) = sensor.read()
        sensor.watch([connections_to(event.address, in_containers=False)])
        sensor.tag_cgroup(event.cgroup_id, layout.CGROUP_CONTAINER)
        connect("a.sock")
        assert told(sensor) == []
        sensor.tag_cgroup(event.cgroup_id, layout.CGROUP_HOST)
        connect("a.sock")
        assert told(sensor) == [event.address]
