"""A reload brings rules that need other hooks than those that are attached: for ``test_enforcement``, in the guest."""

from pathlib import Path

import pytest

from tests.kernel.test_enforcement_life import canary, folder, host, is_denied, list_pins, service
from tests.kernel.test_reload import reload
from tests.support.documents import has
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.kernel
__all__ = ["canary", "folder", "host"]


def test_a_reload_attaches_what_its_rules_need(host: Sandbox, folder: Path, canary: Path) -> None:
    kept = folder / "kept"
    kept.write_text("kept")
    with service(host, folder) as running:
        tail = running.tail()
        (before,) = list_pins(host, folder)
        text = rule_text(
            f"{{s: {{TargetFilename: {kept}}}, condition: s}}", category="file_event", extra=DENY, number=1
        )
        (folder / "rules" / "the_file.yml").write_text(text)
        reload(running)

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
