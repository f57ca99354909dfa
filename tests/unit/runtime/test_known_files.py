"""Files at exact paths are looked for, told, and remembered when they are moved away."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from monitor.model.ids import InodeKey
from monitor.runtime import known_files
from monitor.runtime.known_files import KnownFiles
from monitor.wire._layout import POLICY_HOST

PATIENCE_S = 10.0
SLOT = 7


class World:
    """Told files by slot; ``gate`` holds a look while it is not set."""

    def __init__(self) -> None:
        self.told: dict[int, dict[InodeKey, frozenset[str]]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.is_closed = False
        self.files = KnownFiles(self, self.tell, lambda _: None)

    def tell(self, slot: int, files: Mapping[InodeKey, frozenset[str]]) -> None:
        self.told[slot] = dict(files)

    def inspect(self, fd: int) -> tuple[InodeKey, ...]:
        self.gate.wait(PATIENCE_S)
        facts = os.fstat(fd)
        return (InodeKey(facts.st_dev, facts.st_ino, 0),)

    def close(self) -> None:
        self.is_closed = True

    def paths(self) -> list[frozenset[str]]:
        return list(self.told.get(POLICY_HOST, {}).values())


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_text("x")
    return path


def test_the_host_s_files_are_told(program: Path) -> None:
    world, path = World(), str(program).lower()
    world.files.replace_paths([path, "/nothing/is/there"])
    world.files.finish(PATIENCE_S)
    assert world.paths() == [frozenset({path})]


def test_a_file_that_another_has_replaced_is_known_with_it(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_files, "AGAIN_S", 0.0)
    world, path = World(), str(program).lower()
    world.files.replace_paths([path])
    world.files.finish(0.5)
    program.rename(program.with_name("moved"))
    program.write_text("another")
    world.files.on_tick()
    world.files.finish(0.5)
    assert world.paths() == [frozenset({path})] * 2


def test_what_no_rule_names_any_more_is_forgotten(program: Path) -> None:
    world, path = World(), str(program).lower()
    world.files.replace_paths([path])
    world.files.finish(PATIENCE_S)
    world.files.replace_paths(["/another"])
    assert world.paths() == []


def test_a_look_that_hangs_is_not_waited_for(program: Path) -> None:
    world = World()
    world.gate.clear()
    world.files.replace_paths([str(program).lower()])
    world.files.finish(0.05)
    world.files.on_tick()
    assert world.told == {}
    world.files.close()
    assert not world.is_closed, "it may still be asked"
    world.gate.set()


def test_a_container_is_looked_at_when_a_process_of_it_is_known() -> None:
    world = World()
    world.files.replace_paths(["/bin/sh"])
    world.files.add(SLOT)
    world.files.look_at(SLOT, os.getpid())  # has the host's root: it is not the container's
    world.files.finish(PATIENCE_S)
    assert SLOT not in world.told
    world.files.forget(SLOT)
    world.files.look_at(SLOT, os.getpid())
    world.files.finish(PATIENCE_S)
    assert SLOT not in world.told
    world.files.close()
    assert world.is_closed


def test_what_cannot_be_looked_at_is_not_looked_at_for_each_program(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def find(pid: int, *_: object) -> None:
        looks.append(pid)
        raise OSError

    monkeypatch.setattr(known_files, "find_container_files", find)
    world = World()
    world.files.replace_paths(["/bin/sh"])
    world.files.add(SLOT)
    for pid in range(10, 20):
        world.files.look_at(SLOT, pid)
        world.files.finish(0.1)
    assert looks == [10]


def test_looks_that_hang_do_not_keep_others_waiting(
    program: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(known_files, "HANGS_S", -1.0)
    never = threading.Event()

    def hang(*_: object) -> None:
        never.wait(PATIENCE_S)
        raise OSError

    monkeypatch.setattr(known_files, "find_container_files", hang)
    world, path = World(), str(program).lower()
    for slot in range(1, known_files.LOOKS_MAX):
        world.files.add(slot)
    world.files.replace_paths([path])
    for slot in range(1, known_files.LOOKS_MAX):
        world.files.look_at(slot, slot)
    world.files.finish(0.5)
    assert world.paths() == [frozenset({path})]
    assert not caplog.records

    world.files.add(known_files.LOOKS_MAX)
    world.files.look_at(known_files.LOOKS_MAX, 1)
    world.files.add(known_files.LOOKS_MAX + 1)
    for _ in range(3):
        world.files.look_at(known_files.LOOKS_MAX + 1, 1)
    assert len(caplog.records) == 1
    never.set()
