"""Deny rules and pins that cannot be used: told in a line, by exit status; what was in force stays in force."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.model.kernel_policy import RULE_TERMS_MAX, TERMS_MAX
from monitor.sinks.client import ServiceConnection, ServiceRefused
from monitor.sinks.requests import ReloadRequest
from tests.support.enforcement import TIER
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import REPOSITORY, Service, stockade_command

pytestmark = pytest.mark.kernel

WAIT_S = 30
ENV = {"PYTHONPATH": str(REPOSITORY)}
RUNTIME_RULE = rule_text(
    "{s: {Image|endswith: [/runc, /crun]}, condition: s}", extra=f"name: no_runtime\n{DENY}", number=1
)
LSM_RULE = rule_text(
    "{s: {Image: /nonexistent}, condition: s}",
    extra="name: by_lsm\nstatus: stable\nstockade: {response: deny, require_tier: lsm}\n",
    number=2,
)
LARGE = f"terms of the kernel's policy, which has room for {TERMS_MAX}"


def write_large(folder: Path) -> None:
    """More terms than there is room for, as many as may be in each rule."""
    for number in range(TERMS_MAX // RULE_TERMS_MAX + 1):
        detection = "".join(
            f"s{way}: {{Image: /nonexistent/{number}/{way}, ParentImage: /nonexistent/{way}}}\n"
            for way in range(RULE_TERMS_MAX)
        )
        text = rule_text(f"{detection}condition: 1 of s*", extra=f"name: large_{number}\n{DENY}", number=10 + number)
        (folder / f"large_{number}.yml").write_text(text)


@pytest.fixture(scope="module")
def host() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as sandbox:
        yield sandbox


@pytest.fixture
def folder() -> Iterator[Path]:
    """The service's folders, and a rule by which a program of the test's own is denied."""
    path = Path(tempfile.mkdtemp(prefix="stockade-"))
    (path / "rules").mkdir()
    shutil.copy("/bin/true", path / "canary")
    text = rule_text(f"{{s: {{Image: {path}/canary}}, condition: s}}", extra=f"name: the_canary\n{DENY}", number=3)
    (path / "rules" / "the_canary.yml").write_text(text)
    yield path
    shutil.rmtree(path)


def service(host: Sandbox, folder: Path) -> Service:
    return Service(host, "--no-shipped-rules", f"--rules={folder}/rules", "--mode=enforce", folder=folder)


def run(host: Sandbox, folder: Path) -> tuple[int, list[str]]:
    """A service that shall not start: exit status, and the lines that it says."""
    folders = (f"--run-dir={folder}/run", f"--state-dir={folder}/state", f"--pin-dir={folder}/bpf")
    words = ("run", "--no-shipped-rules", f"--rules={folder}/rules", "--mode=enforce", *folders)
    done = host.run(stockade_command(*words), env=ENV, check=False, timeout_s=WAIT_S)
    return done.returncode, done.stderr.splitlines()


def is_denied(host: Sandbox, folder: Path) -> bool:
    return host.run([folder / "canary"], check=False).returncode != 0


def reload(service: Service) -> str:
    with ServiceConnection(service.run_dir / "control.sock") as control:
        try:
            control.ask(ReloadRequest(), "reload", WAIT_S)
        except ServiceRefused as refusal:
            return str(refusal)
    return ""


def test_a_rule_against_the_runtime_is_refused_before_anything_is_loaded(host: Sandbox, folder: Path) -> None:
    (folder / "rules" / "no_runtime.yml").write_text(RUNTIME_RULE)
    status, (refusal, last) = run(host, folder)

    assert status == 2
    assert refusal.startswith(
        f"{folder}/rules/no_runtime.yml:1:1: rule no_runtime would deny a container runtime: /usr/"
    )
    assert last == "stockade: 1 mistake in the rules: nothing was started"
    assert not (folder / "run").exists()


def test_a_policy_larger_than_the_kernels_is_refused_at_the_start(host: Sandbox, folder: Path) -> None:
    write_large(folder / "rules")
    status, said = run(host, folder)

    assert (status, len(said)) == (2, 1), said
    assert LARGE in said[0]


@pytest.mark.skipif(TIER == "lsm", reason="the tier that is asked for is there")
def test_a_tier_that_this_host_lacks_is_refused_at_the_start(host: Sandbox, folder: Path) -> None:
    (folder / "rules" / "by_lsm.yml").write_text(LSM_RULE)
    status, said = run(host, folder)

    assert (status, len(said)) == (3, 1), said
    assert "rule by_lsm asks for tier lsm and would get kill: " in said[0]


def test_a_reload_with_rules_that_must_not_be_leaves_the_old_ones_in_force(host: Sandbox, folder: Path) -> None:
    with service(host, folder) as running:
        (folder / "rules" / "no_runtime.yml").write_text(RUNTIME_RULE)
        assert "rule no_runtime would deny a container runtime" in reload(running)
        (folder / "rules" / "no_runtime.yml").unlink()

        write_large(folder / "rules")
        assert LARGE in reload(running)
        for file in (folder / "rules").glob("large_*.yml"):
            file.unlink()

        if TIER != "lsm":
            (folder / "rules" / "by_lsm.yml").write_text(LSM_RULE)
            assert "rule by_lsm asks for tier lsm and would get kill" in reload(running)
        assert is_denied(host, folder)
        assert running.log.count("reload failed, the old rules stay in force") == (2 if TIER == "lsm" else 3)
        assert "Traceback" not in running.log


def test_pins_that_are_not_ours_or_not_whole_are_replaced(host: Sandbox, folder: Path) -> None:
    """A map of another shape under a name of ours; a folder of somebody else's with folders in it; a half-made one."""
    with service(host, folder) as crashed:
        crashed.kill()
    (ours,) = host.run(["find", folder / "bpf", "-name", "complete"]).stdout.split()
    pin = Path(ours).with_name("map_policy_cgroups")
    host.run(["unlink", pin])
    host.run(["bpftool", "map", "create", pin, "type", "hash", "key", "4", "value", "4", "entries", "1", "name", "x"])
    host.run(["mkdir", "-p", folder / "bpf" / "older" / "deeper" / "still", folder / "bpf" / "half"])

    with service(host, folder) as restarted:
        assert "cannot be taken over" in restarted.log
        assert "Traceback" not in restarted.log
        assert is_denied(host, folder)
    assert not is_denied(host, folder)


def test_a_bpffs_that_cannot_be_written_is_said_and_denial_works(host: Sandbox, folder: Path) -> None:
    (folder / "bpf").mkdir()
    host.run(["mount", "-t", "bpf", "-o", "ro", "bpf", folder / "bpf"])
    with service(host, folder) as running:
        assert is_denied(host, folder)
        assert f"nothing can be pinned at {folder}/bpf: Read-only file system" in running.log
        assert any("denial would not outlive the service" in note for note in running.status()["notes"])
    host.run(["umount", folder / "bpf"])
