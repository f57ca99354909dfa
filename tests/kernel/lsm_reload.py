"""A reload brings rules that need other hooks than those that are attached: for ``test_enforcement``, in the guest."""

import os
import shutil
from pathlib import Path

import pytest

from tests.kernel.test_enforcement_life import canary, folder, host, is_denied, list_pins, service
from tests.kernel.test_reload import reload
from tests.support.documents import has
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.kernel
__all__ = ["canary", "folder", "host"]

ORPHAN = "( (read line <'{start}'; exec '{program}' '{mark}') >/dev/null 2>&1 & )"
"""Whoever forked it has ended when it executes."""


def deny_by_forker(folder: Path) -> None:
    """A rule by the program that forked."""
    for name, original in (("forker", "/bin/dash"), ("touch", "/bin/touch")):
        shutil.copy(original, folder / name)
    detection = f"{{s: {{ParentImage: {folder}/forker, Image: {folder}/touch}}, condition: s}}"
    (folder / "rules" / "the_forker.yml").write_text(rule_text(detection, extra=DENY, number=2))


def make_orphan(host: Sandbox, folder: Path) -> Path:
    """A process that the forker forked; a line into what is answered lets it go on."""
    start = folder / "start"
    os.mkfifo(start)
    script = ORPHAN.format(start=start, program=folder / "touch", mark=folder / "mark")
    host.run([str(folder / "forker"), "-c", script])
    return start


def test_a_reload_attaches_what_its_rules_need(host: Sandbox, folder: Path, canary: Path) -> None:
    kept = folder / "kept"
    kept.write_text("kept")
    deny_by_forker(folder)
    with service(host, folder) as running:
        tail = running.tail()
        (before,) = list_pins(host, folder)
        start = make_orphan(host, folder)
        text = rule_text(
            f"{{s: {{TargetFilename: {kept}}}, condition: s}}", category="file_event", extra=DENY, number=1
        )
        (folder / "rules" / "the_file.yml").write_text(text)
        reload(running)

        start.write_text("go\n")
        tail.wait_for(has(event__action="exec-denied", file__path=str(folder / "touch")))
        assert not (folder / "mark").exists()

        assert host.run(["mv", str(kept), f"{kept}.old"], check=False).returncode != 0
        assert is_denied(host, canary)
        tail.wait_for(has(event__action="rename-denied", file__path=str(kept)))
        tail.wait_for(has(event__action="exec-denied", file__path=str(canary)))
        (after,) = list_pins(host, folder)
        assert after != before
        running.kill()
    assert host.run(["rm", str(kept)], check=False).returncode != 0
    with service(host, folder) as restarted:
        restarted.tail().wait_for(has(event__action="deletion-denied", file__path=str(kept)))
        assert list_pins(host, folder) == [after]
    assert list_pins(host, folder) == []
    kept.unlink()
