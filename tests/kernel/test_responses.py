"""Responses to what processes of the host do: trees and lineages killed, by rules and by policy; protected ones not."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.host.cgroups import find_tag_hierarchy
from monitor.host.protected_files import find_protected_files
from tests.support.documents import Document, Predicate, field, has
from tests.support.oci import find_runtimes
from tests.support.process_trees import Tree, process_tree
from tests.support.responses import WAIT_S, build_service, mark, wait_until, write_rule
from tests.support.sandbox import PATH, Sandbox, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.kernel

RESPONSES = """\
- when: {rule: marked_kill_lineage, subject: lineage, scope: host}
  then: kill
- when: {rule: marked_freeze_lineage, subject: lineage}
  then: freeze
"""
SILENT = "stockade: {score: 1}\n"
KILLS = "stockade: {response: kill, score: 1}\n"
FAMILY = (
    "sleep 300 &",
    "(sleep 300 &)",  # its parent ends at once: the first process adopts it
    "setsid sleep 300 &",
    "sleep 0.3",
)


class Place(NamedTuple):
    service: Service
    tail: Tail


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    rules, folder = tmp_path_factory.mktemp("rules"), tmp_path_factory.mktemp("settings")
    for name in ("kill_tree", "guarded"):
        write_rule(rules, name, block=KILLS)
    write_rule(rules, "unproven", block=KILLS, status="test")
    for name in ("kill_lineage", "freeze_lineage", "probe"):
        write_rule(rules, name, block=SILENT)
    with (
        Sandbox(find_modes()[0]) as sandbox,
        build_service(sandbox, rules, RESPONSES, "enforce", folder=folder) as service,
    ):
        yield Place(service, service.tail())


def write_script(folder: Path, name: str, *lines: str) -> Path:
    """A script, so that a mark stands in the command line of one process alone."""
    path = folder / name
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


def marked(name: str) -> str:
    """The last line of a script: it becomes a process with the mark, its children stay its own."""
    return f"exec sh -c 'sleep 300; true' {mark(name)}"


def count(tree: Tree, words: str) -> int:
    return sum(words in line for line in tree.living().values())


def alert_of(rule: str) -> Predicate:
    def judge(document: Document) -> bool:
        return field(document, "event.kind") == "alert" and field(document, "rule.name") == f"marked_{rule}"

    return judge


def find_marked_sleeps() -> int:
    """Of :data:`FAMILY`, wherever they are now: with a session of its own one is not in the tree's."""
    found = 0
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += entry.read_bytes() == b"sleep\x00300\x00"
        except OSError:
            continue
    return found


def test_a_rule_kills_the_process_that_it_saw_and_all_that_descends_from_it(place: Place, tmp_path: Path) -> None:
    bad = write_script(tmp_path, "bad", *FAMILY, marked("kill_tree"))
    good = write_script(tmp_path, "good", "sleep 301 &", f"{bad} &", "wait", "sleep 302")
    before = find_marked_sleeps()
    with process_tree(good) as tree:
        killed = place.tail.wait_for(has(event__action="processes-killed"), WAIT_S)
        wait_until(lambda: find_marked_sleeps() <= before, "the adopted and the detached to end too")

        assert field(killed, "stockade.response.subject") == "process"
        assert field(killed, "stockade.response.processes") >= 2
        assert field(killed, "event.reason") == "rule marked_kill_tree asks for it"
        assert "container" not in killed
        assert count(tree, "sleep 301") == 1
        assert count(tree, str(good)) == 1


def test_a_rule_that_is_not_stable_kills_nobody(place: Place, tmp_path: Path) -> None:
    with process_tree(write_script(tmp_path, "script", marked("unproven"))) as tree:
        alert = place.tail.wait_for(alert_of("unproven"), WAIT_S)

        (verdict,) = field(alert, "stockade.verdicts")
        assert verdict["reason"].startswith("would kill, but no stable rule saw it")
        assert tree.living()


@pytest.mark.skipif(not find_runtimes(), reason="no container runtime is installed")
def test_a_protected_program_is_not_killed_whatever_a_rule_asks(place: Place) -> None:
    """A real one: the runtime, by the inode of its root-owned file."""
    program = find_runtimes()[0]
    assert "a container runtime" in find_protected_files().values()
    done = subprocess.run([program, "--version", mark("guarded")], env={"PATH": PATH}, capture_output=True, check=False)

    alert = place.tail.wait_for(alert_of("guarded"), WAIT_S)
    (verdict,) = field(alert, "stockade.verdicts")
    assert verdict["weakened_by"] == "a container runtime"
    assert verdict["reason"].startswith("would kill, but this is a container runtime")
    assert done.returncode >= 0


@pytest.fixture
def own_cgroup() -> Iterator[Path]:
    """On a host without systemd a program in another cgroup than its parent's begins a lineage."""
    made = find_tag_hierarchy().mount / f"stockade-test-{os.getpid()}-lineage"
    made.mkdir()
    yield made
    wait_until(lambda: not (made / "cgroup.procs").read_text(), "the cgroup to be empty")
    made.rmdir()


def test_a_policy_kills_a_lineage_and_none_but_that(place: Place, tmp_path: Path, own_cgroup: Path) -> None:
    go = tmp_path / "go"
    lines = (
        f"sh -c true {mark('probe')}",
        *FAMILY,
        f"while [ ! -e {go} ]; do sleep 0.05; done",
        marked("kill_lineage"),
    )
    root = write_script(tmp_path, "root", *lines)
    enter = write_script(tmp_path, "enter", f"echo $$ > {own_cgroup}/cgroup.procs || exit 1", f"exec {root}")
    before = find_marked_sleeps()
    with process_tree("sleep", "300") as other, process_tree(enter):
        begun = place.tail.wait_for(has(event__action="exec", process__script=str(root)), WAIT_S)
        probe = place.tail.wait_for(alert_of("probe"), WAIT_S)
        (risk,) = field(probe, "stockade.risk")
        # Without this the lineage would be that of whoever runs the tests.
        assert (risk["subject"], risk["subject_id"]) == ("lineage", field(begun, "process.entity_id"))
        go.touch()
        killed = place.tail.wait_for(has(stockade__response__subject="lineage"), WAIT_S)

        assert field(killed, "event.action") == "processes-killed"
        assert field(killed, "stockade.response.subject_id") == risk["subject_id"]
        assert field(killed, "stockade.response.processes") >= 5
        wait_until(lambda: find_marked_sleeps() <= before + 1, "the lineage's end")
        assert other.living()


def test_what_only_a_container_can_suffer_is_said(place: Place, tmp_path: Path) -> None:
    with process_tree(write_script(tmp_path, "script", marked("freeze_lineage"))) as tree:
        alert = place.tail.wait_for(alert_of("freeze_lineage"), WAIT_S)

        (verdict,) = field(alert, "stockade.verdicts")
        assert verdict["reason"].startswith("would freeze, but that can be done to a container only")
        assert tree.living()
