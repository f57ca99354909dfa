"""Changes of files through the whole service: a rule on a file's name sees whatever way another file takes it."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import Predicate, field, has, is_alert
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service

pytestmark = pytest.mark.kernel

RULE = """\
title: {name}
name: {name}
id: 5b0c8f0a-2f39-4c59-9a0a-3c1d2e4f60{number:02}
status: test
logsource: {{product: linux, category: {category}}}
detection: {{watched: {{{condition}}}, condition: watched}}
level: high
"""
WAYS = {
    "rename": "mv evil {watched}",
    "relative": "cd sub; mv ../evil ./../sub//../$(basename {watched})",
    "link": "ln evil {watched}",
    "symlink": "ln -s evil {watched}",
    "in-place": "sed -i s/a/b/ {watched}",
    "exchange": '{python} -c \'import ctypes; ctypes.CDLL(None).renameat2(-100, b"evil", -100, b"{watched}", 2)\'',
    "truncate": "{python} -c 'import os; os.truncate(\"{watched}\", 0)'",
}
"""By name of the file that each takes: what is run in the folder of the test."""
THERE_BEFORE = {"in-place", "exchange", "truncate"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed")


@pytest.fixture(scope="module")
def service(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    rules = tmp_path_factory.mktemp("rules")
    of_folder = f"TargetFilename|startswith: {folder}/watched-"
    for number, (category, condition) in enumerate(
        [
            ("file_event", of_folder),
            ("file_delete", of_folder),
            ("file_change", f"{of_folder}, file.mode: '4755'"),
            ("file_rename", f"SourceFilename|startswith: {folder}/watched-"),
        ]
    ):
        text = RULE.format(name=f"test_{category}", number=number, category=category, condition=condition)
        (rules / f"{category}.yml").write_text(text)
    (folder / "sub").mkdir()
    for way in THERE_BEFORE:
        (folder / f"watched-{way}").write_text("a")
    with Sandbox(find_modes()[0]) as sandbox, Service(sandbox, "--no-shipped-rules", "--rules", rules) as started:
        yield started


def perform(service: Service, folder: Path, script: str) -> None:
    service.sandbox.run(["sh", "-c", f"cd {shlex.quote(str(folder))} && {{ {script}; }}"])


def is_alert_of(rule: str, path: Path) -> Predicate:
    matches = has(rule__name=rule, file__path=str(path))
    return lambda document: is_alert(document) and matches(document)


@pytest.mark.parametrize("way", WAYS)
def test_a_file_event_rule_sees_whatever_takes_the_name(service: Service, folder: Path, way: str) -> None:
    tail = service.tail("--alerts")
    watched = folder / f"watched-{way}"
    (folder / "evil").write_text("b")

    perform(service, folder, WAYS[way].format(watched=watched, python="/usr/bin/python3"))

    alert = tail.wait_for(is_alert_of("test_file_event", watched))
    assert field(alert, "event.action") in {"rename", "link", "symlink", "truncate"}
    assert field(alert, "file.path_claimed") is True


def test_removing_renaming_and_chmod_have_categories_of_their_own(service: Service, folder: Path) -> None:
    tail = service.tail("--alerts")
    for name in ("gone", "moved", "rooted"):
        (folder / f"watched-{name}").write_text("")

    perform(service, folder, "rm watched-gone; mv watched-moved elsewhere; chmod 4755 watched-rooted")

    tail.wait_for(is_alert_of("test_file_delete", folder / "watched-gone"))
    moved = tail.wait_for(is_alert_of("test_file_rename", folder / "elsewhere"))
    rooted = tail.wait_for(is_alert_of("test_file_change", folder / "watched-rooted"))
    assert field(moved, "file.original.path") == f"{folder}/watched-moved"
    assert (field(rooted, "event.action"), field(rooted, "file.mode")) == ("chmod", "4755")
