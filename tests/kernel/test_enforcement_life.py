"""Denial outlives the service: a crash, a restart, an end. One program of the test's own is denied, nothing else."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import field, has
from tests.support.enforcement import TIER
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import REPOSITORY, Service, stockade_command

pytestmark = pytest.mark.kernel

DENY_CANARY = f"name: the_canary\n{DENY}"


@pytest.fixture
def folder() -> Iterator[Path]:
    """The service's folders. What it mounts ends with the sandbox."""
    path = Path(tempfile.mkdtemp(prefix="stockade-"))
    (path / "canary").mkdir()
    (path / "rules").mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def canary(folder: Path) -> Path:
    program = Path(shutil.copy("/bin/true", folder / "canary" / "program"))
    text = rule_text(f"{{s: {{Image: {program}}}, condition: s}}", extra=DENY_CANARY)
    (folder / "rules" / "the_canary.yml").write_text(text)
    return program


@pytest.fixture
def host() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as sandbox:
        yield sandbox


def service(host: Sandbox, folder: Path, *options: str) -> Service:
    return Service(host, "--no-shipped-rules", f"--rules={folder}/rules", "--mode=enforce", *options, folder=folder)


def list_pins(host: Sandbox, folder: Path) -> list[str]:
    """Generations that are pinned. (A bpffs has files of its own, with a dot in their names.)"""
    return [name for name in host.run(["ls", f"{folder}/bpf"]).stdout.split() if "." not in name]


def is_denied(host: Sandbox, program: Path) -> bool:
    """Whether it cannot be run: refused, or ended before it could do anything."""
    done = host.run([str(program)], check=False)
    return done.returncode != 0


def test_a_crash_leaves_denial_in_place_and_a_restart_takes_it_over(host: Sandbox, folder: Path, canary: Path) -> None:
    assert not is_denied(host, canary)
    with service(host, folder) as crashed:
        assert is_denied(host, canary)
        crashed.kill()
    assert is_denied(host, canary), "nobody runs, and it is denied"

    with service(host, folder) as restarted:
        tail = restarted.tail()
        told = tail.wait_for_count(has(event__action="exec-denied", file__path=str(canary)), 1)
        assert "taken over from an earlier run" in restarted.log
        assert is_denied(host, canary)
        tail.wait_for_count(has(event__action="exec-denied", file__path=str(canary)), len(told) + 1)
        assert field(told[0], "stockade.denial.rules") == ["the_canary"]
        assert restarted.status()["tier"] == TIER
    assert not is_denied(host, canary), "a service that was stopped denies no more"
    assert list_pins(host, folder) == []


def test_denial_goes_on_after_a_stop_where_it_shall(host: Sandbox, folder: Path, canary: Path) -> None:
    (folder / "stockade.yml").write_text("enforcement: {on_exit: keep}\n")
    with service(host, folder, f"--config={folder}/stockade.yml") as stopped:
        stopped.stop(keeps_programs=True)
    assert is_denied(host, canary)
    assert list_pins(host, folder) != []

    with service(host, folder, "--mode=audit"):
        assert not is_denied(host, canary), "in audit, what denied before is ended"
    assert list_pins(host, folder) == []


def test_another_generation_takes_over_and_tells_what_the_old_one_saw(
    host: Sandbox, folder: Path, canary: Path
) -> None:
    with service(host, folder) as crashed:
        crashed.kill()
    assert is_denied(host, canary)
    (old,) = list_pins(host, folder)

    (folder / "stockade.yml").write_text("limiter: {exec_per_s: 12345}\n")
    with service(host, folder, f"--config={folder}/stockade.yml") as restarted:
        denied = restarted.tail().wait_for(has(event__action="exec-denied", file__path=str(canary)))
        assert field(denied, "stockade.denial.rules") == ["the_canary"]
        (new,) = list_pins(host, folder)
        assert new != old
        assert is_denied(host, canary)


def test_a_half_made_generation_is_replaced(host: Sandbox, folder: Path, canary: Path) -> None:
    with service(host, folder) as crashed:
        crashed.kill()
    (generation,) = list_pins(host, folder)
    host.run(["rmdir", f"{folder}/bpf/{generation}/complete"])

    with service(host, folder) as restarted:
        assert "taken over" not in restarted.log
        assert is_denied(host, canary)
    assert not is_denied(host, canary)


def test_without_a_bpffs_denial_ends_with_the_service_and_status_says_so(
    host: Sandbox, folder: Path, canary: Path
) -> None:
    (folder / "file").touch()
    with service(host, folder, f"--pin-dir={folder}/file/bpf") as running:
        assert is_denied(host, canary)
        assert any("denial would not outlive the service" in note for note in running.status()["notes"])
        running.kill()
    assert not is_denied(host, canary)


def test_detach_ends_what_a_crash_has_left_and_leaves_a_running_service_alone(
    host: Sandbox, folder: Path, canary: Path
) -> None:
    words = stockade_command("detach", f"--run-dir={folder}/run", f"--pin-dir={folder}/bpf")
    with service(host, folder) as crashed:
        refused = host.run(words, check=False, env={"PYTHONPATH": str(REPOSITORY)})
        assert (refused.returncode, is_denied(host, canary)) == (2, True)
        assert "another stockade" in refused.stderr
        crashed.kill()
    assert is_denied(host, canary)

    done = host.run(words, env={"PYTHONPATH": str(REPOSITORY)})

    assert done.stdout.startswith("denial is ended")
    assert not is_denied(host, canary)
    assert host.run(words, env={"PYTHONPATH": str(REPOSITORY)}).stdout == "nothing is attached\n"


def test_a_rule_about_arguments_comes_through_the_whole_service(host: Sandbox, folder: Path, canary: Path) -> None:
    text = rule_text(f"{{s: {{Image: {canary}, CommandLine|endswith: ' --evil'}}, condition: s}}", extra=DENY_CANARY)
    (folder / "rules" / "the_canary.yml").write_text(text)
    with service(host, folder) as running:
        assert host.run([str(canary), "--good"], check=False).returncode == 0
        assert host.run([str(canary), "--evil"], check=False).returncode != 0
        denied = running.tail().wait_for(has(event__action="exec-denied", file__path=str(canary)))
        assert field(denied, "stockade.denial.rules") == ["the_canary"]
