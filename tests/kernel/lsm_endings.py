"""A kernel that does not tell where its memory is mapped: arguments cannot be read before a program runs, so a program
that a rule finds by them is ended when it does; everything else is denied. For ``test_enforcement``, in the guest."""

from pathlib import Path

import pytest

from tests.kernel.test_enforcement_life import canary, folder, host, is_denied, list_pins
from tests.kernel.test_reload import reload
from tests.support.documents import has
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox
from tests.support.service import Service

pytestmark = pytest.mark.kernel
__all__ = ["canary", "folder", "host"]


def service(host: Sandbox, folder: Path) -> Service:
    """Whichever tiers there are."""
    options = ("--no-shipped-rules", f"--rules={folder}/rules", "--mode=enforce")
    return Service(host, *options, folder=folder, tier="auto")


def deny_by_arguments(folder: Path, program: str) -> None:
    detection = f"{{s: {{Image: {program}, CommandLine|contains: --evil}}, condition: s}}"
    (folder / "rules" / "by_arguments.yml").write_text(rule_text(detection, extra=DENY, number=1))


def run(host: Sandbox, *words: str) -> int:
    return host.run(["sh", "-c", '"$@"; exit $?', "sh", *words], check=False).returncode


@pytest.fixture(autouse=True)
def forgetful_kernel(host: Sandbox) -> None:
    host.run(["mount", "--bind", "/dev/null", "/proc/kallsyms"])


@pytest.mark.parametrize("comes", ["at the start", "by a reload"])
def test_what_cannot_be_denied_by_its_arguments_is_ended(host: Sandbox, folder: Path, canary: Path, comes: str) -> None:
    program = str(Path("/bin/echo").resolve())
    if comes == "at the start":
        deny_by_arguments(folder, program)
    with service(host, folder) as running:
        tail = running.tail()
        if comes == "by a reload":
            deny_by_arguments(folder, program)
            reload(running)
        status = running.status()
        assert (status["tier"], status["denial"]["rules"]) == ("lsm", {"lsm": 1, "kill": 1})
        assert "it is ended when it does" in running.log
        assert is_denied(host, canary)
        assert run(host, program, "--good") == 0
        assert run(host, program, "--evil") == 128 + 9
        told = tail.wait_for(has(event__action="exec-denied", file__path=program))
        assert told["stockade"]["denial"]["tier"] == "kill"
        told = tail.wait_for(has(event__action="exec-denied", file__path=str(canary)))
        assert told["stockade"]["denial"]["tier"] == "lsm"
        assert len(list_pins(host, folder)) == 1
        running.kill()

    assert run(host, program, "--evil") == 128 + 9, "nobody runs, and it is ended"
    with service(host, folder):
        assert run(host, program, "--evil") == 128 + 9
        assert len(list_pins(host, folder)) == 1
    assert run(host, program, "--evil") == 0
