"""What tier hold costs an exec while the whole service runs, which sees every exec too; against it without deny rules.

``python -m scripts.bench.hold_service_cost [--rounds N]``: needs root, gcc and busybox-static. The variants take turns,
by reload; as in :mod:`scripts.bench.gate_cost`, whose loop this is, each spawn is timed by itself.
"""

import argparse
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from monitor.sinks.client import ServiceConnection
from monitor.sinks.requests import ReloadRequest
from scripts.bench.gate_cost import SPAWNS, build, show, spawn_known, spawn_new
from tests.support.gate import make_hold_root, make_own_runtime
from tests.support.oci import find_runtimes
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service

RELOAD_S = 120.0
BY_NAME = tuple(f"{{s: {{Image|startswith: /opt/{number}/}}, condition: s}}" for number in range(500))
BY_USER = ("{s: {user.id: 4321}, condition: s}",)
BY_PARENT = ("{s: {process.parent.name: nginx, Image|endswith: /static_true}, condition: s}", *BY_NAME)
KNOWN = {
    "asked each time: a rule about a user": BY_USER,
    "asked each time: a rule about a parent, and 500 others": BY_PARENT,
    "known: 500 rules about names": BY_NAME,
}
NEW = {"first exec: 500 rules about names": BY_NAME}
RULE = """\
title: Denied in the bench {number}
id: {id}
status: stable
level: low
logsource: {{product: linux, category: process_creation}}
detection: {detection}
stockade: {{response: deny}}
"""


class Rules:
    """The folder that the service reads, of which each variant is another content."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._service, self._folder = service, folder

    def put(self, detections: tuple[str, ...]) -> None:
        """In force when this returns, marks included."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()
        for number, detection in enumerate(detections):
            identity = uuid.uuid5(uuid.NAMESPACE_OID, detection)
            text = RULE.format(number=number, id=identity, detection=detection)
            (self._folder / f"denied_{number}.yml").write_text(text)
        with ServiceConnection(self._service.run_dir / "control.sock") as control:
            control.ask(ReloadRequest(), "reload", RELOAD_S)
        for gate in list_descendants(self._service.pid):
            subprocess.run(["chrt", "--fifo", "--pid", "11", str(gate)], check=True)


def list_descendants(pid: int) -> Iterator[int]:
    """The watchdog and the gate."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from list_descendants(child)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print("| variant | us a spawn, median [quartiles] | added to the quartiles | ratio |\n|---|---|---|---|")
    with Sandbox(find_modes()[0]) as sandbox, tempfile.TemporaryDirectory() as name:
        make_hold_root(sandbox)
        for runtime in find_runtimes():
            make_own_runtime(sandbox, runtime)
        build(sandbox)
        (folder := Path(name, "rules")).mkdir()
        with Service(sandbox, "--no-shipped-rules", f"--rules={folder}", "--mode=enforce", tier="auto") as service:
            rules = Rules(service, folder)
            for read, variants in ((spawn_known, KNOWN), (spawn_new, NEW)):
                times: dict[str, list[float]] = {f"{read.__name__.removeprefix('spawn_')}, no deny rules": []}
                for _ in range(rounds):
                    for variant, detections in {next(iter(times)): (), **variants}.items():
                        rules.put(detections)
                        times.setdefault(variant, []).extend(read(sandbox))
                show(times)
            held = service.status()["denial"]["hold"]
            assert held["denied"] == held["unread"] == 0 and held["file_systems"] > 0 and held["held"] > SPAWNS, held


if __name__ == "__main__":
    main()
