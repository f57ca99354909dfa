"""What BPF LSM denies of connections to Unix sockets: run in the guest by ``test_enforcement``."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.enforcement import Denier
from tests.support.names import DONE, REFUSED, Doer, doing
from tests.support.rule_texts import DENY, rule_text

pytestmark = pytest.mark.kernel

PRELUDE = """
import socket
STREAM, DATAGRAM, PACKETS = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET

def connect(address, kind=STREAM):
    with socket.socket(socket.AF_UNIX, kind) as made:
        made.connect(address)

def send(address):
    with socket.socket(socket.AF_UNIX, DATAGRAM) as made:
        made.sendto(b"x", address)

def pair():
    for kind in (STREAM, DATAGRAM, PACKETS):
        one, other = socket.socketpair(socket.AF_UNIX, kind)
        with one, other:
            one.send(b"x")
            other.recv(1)
"""
NAME = "@stockade-test/shim"


class Scene:
    """Servers outside of the container, and a process in it that connects to them."""

    def __init__(self, denier: Denier, doer: Doer, folder: Path, closing: contextlib.ExitStack) -> None:
        self.denier = denier
        self._doer = doer
        self.folder = folder
        self._closing = closing
        self._bound: dict[str, socket.socket] = {}

    def serve(self, address: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
        server = self._closing.enter_context(socket.socket(socket.AF_UNIX, kind))
        server.bind(address)
        if kind is not socket.SOCK_DGRAM:
            server.listen(64)

    def deny(self, where: str) -> None:
        detection = f"{{s: {{{where}}}, condition: s}}"
        self.denier.deny(self.folder, rule_text(detection, category="network_connection", extra=DENY))
        self.denier.denials()

    def do(self, code: str) -> tuple[str, list[tuple[str, str]]]:
        """What came of it and what was told."""
        outcome = self._doer.do(code)
        return outcome, [(denial.action, denial.path) for denial in self.denier.denials()]


@pytest.fixture
def scene(loaded_denier: Denier, tmp_path: Path) -> Iterator[Scene]:
    folder = tmp_path / "run"
    folder.mkdir()
    with contextlib.ExitStack() as closing, doing(loaded_denier.cgroup, folder, PRELUDE) as doer:
        yield Scene(loaded_denier, doer, folder, closing)


def refused(action: str, path: object) -> tuple[str, list[tuple[str, str]]]:
    return REFUSED, [(action, str(path))]


def test_a_socket_is_denied_to_every_kind_of_call(scene: Scene) -> None:
    stream, datagrams, packets, other = (str(scene.folder / name) for name in ("a.sock", "b.sock", "c.sock", "d.sock"))
    scene.serve(stream)
    scene.serve(datagrams, socket.SOCK_DGRAM)
    scene.serve(packets, socket.SOCK_SEQPACKET)
    scene.serve(other)
    scene.deny(f"destination.address: [{stream}, {datagrams.upper()}, {packets}], network.transport: unix")

    assert scene.do(f"connect({stream!r})") == refused("connect", stream)
    assert scene.do("connect('a.sock')") == refused("connect", stream)
    assert scene.do(f"connect({packets!r}, PACKETS)") == refused("connect", packets)
    assert scene.do(f"connect({datagrams!r}, DATAGRAM)") == refused("send", datagrams)
    assert scene.do(f"send({datagrams!r})") == refused("send", datagrams)
    assert scene.do(f"connect({other!r})") == (DONE, [])
    assert scene.do("pair()") == (DONE, []), "they have no names"


def test_a_socket_is_what_it_was_bound_to(scene: Scene) -> None:
    """Whoever may write the folder can rename it, link to it and mount it, and bind nothing in its name."""
    engine = scene.folder / "engine.sock"
    scene.serve(str(engine))
    os.link(engine, scene.folder / "linked")
    (scene.folder / "symbolic").symlink_to(engine)
    mounted = scene.folder / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "--bind", str(scene.folder), str(mounted)], check=True)
    try:
        scene.deny(f"destination.address: {engine}")
        for name in ("linked", "symbolic", "mounted/engine.sock"):
            assert (name, *scene.do(f"connect('{name}')")) == (name, *refused("connect", engine))
        engine.rename(scene.folder / "renamed")
        assert scene.do("connect('renamed')") == refused("connect", engine)
        (scene.folder / "renamed").unlink()
        assert scene.do("connect('linked')") == refused("connect", engine)
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_name_that_says_nothing_is_where_the_socket_lies(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scene.folder
    monkeypatch.chdir(folder)
    scene.serve("relative.sock")
    scene.serve(f"/var{folder}/run.sock")
    descriptor = os.open(folder, os.O_PATH)
    scene.serve(f"/proc/self/fd/{descriptor}/short.sock")
    os.close(descriptor)
    scene.deny(f"destination.address|startswith: {folder}/")

    for name in ("relative.sock", "run.sock", "short.sock"):
        assert (name, *scene.do(f"connect('{name}')")) == (name, *refused("connect", folder / name))


def test_abstract_names_begin_with_an_at_sign(scene: Scene) -> None:
    for name in ("/1.sock", "/1\0sock", "s"):
        scene.serve(f"\0{NAME[1:]}{name}")
    scene.deny(f"destination.address|startswith: '{NAME}/'")

    assert scene.do(f"connect('\\0{NAME[1:]}/1.sock')") == refused("connect", f"{NAME}/1.sock")
    assert scene.do(f"connect('\\0{NAME[1:]}/1\\0sock')") == refused("connect", f"{NAME}/1@sock")
    assert scene.do(f"connect('\\0{NAME[1:]}s')") == (DONE, [])
    scene.deny(f"destination.address: ['{NAME}/1', '@']")
    assert scene.do(f"connect('\\0{NAME[1:]}/1\\0sock')") == (DONE, []), "what stands behind a NUL counts"


def test_the_host_may_connect(scene: Scene) -> None:
    engine = scene.folder / "engine.sock"
    scene.serve(str(engine))
    scene.deny(f"destination.address: {engine}")

    with doing(scene.denier.cgroup.parent, scene.folder, PRELUDE) as outside:
        assert outside.do("connect('engine.sock')") == DONE
    assert scene.denier.denials() == []
