"""`stockade doctor`: its output and exit status."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from monitor.cli import doctor as module
from monitor.cli.doctor import doctor
from monitor.runtime.host_checks import HostFacts
from tests.support.hosts import GOOD, refused, with_features


def run(monkeypatch: pytest.MonkeyPatch, facts: HostFacts, *arguments: str) -> Result:
    monkeypatch.setattr(module, "gather_facts", lambda pin_dir: facts)
    return CliRunner().invoke(doctor, arguments)


def test_a_good_host(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, GOOD)

    assert result.exit_code == 0
    assert all(line.startswith("ok ") for line in result.stdout.splitlines()[:-2])
    assert result.stdout.splitlines()[-1] == "Observation can run here, with no gaps; deny rules: tier lsm."


def test_a_gap_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, with_features(lsm_programs=refused()))

    assert result.exit_code == 0
    gap = result.stdout.splitlines().index(next(line for line in result.stdout.splitlines() if line.startswith("gap")))
    assert result.stdout.splitlines()[gap + 1].strip().startswith("costs: rules with deny are tier hold where")
    assert result.stdout.splitlines()[gap + 2].strip().startswith("mend:  ")
    assert result.stdout.endswith("with 1 gap; deny rules: tier hold.\n")


def test_a_blocker_is_exit_status_3(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, with_features(btf=refused("not there")))

    assert result.exit_code == 3
    assert result.stdout.endswith("Observation cannot run here: btf.\n")


def test_hostile_text_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, with_features(release="6.1\x1b[31m\nok   everything"))

    assert "\x1b" not in result.stdout
    assert "\nok   everything" not in result.stdout


def test_a_host_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(pin_dir: Path) -> HostFacts:
        raise FileNotFoundError(2, "No such file or directory", "/proc/self/status")

    monkeypatch.setattr(module, "gather_facts", fail)
    result = CliRunner().invoke(doctor, [])

    assert result.exit_code == 3
    assert "is /proc mounted?" in result.stderr


def test_json_of_this_very_host() -> None:
    """Nothing is replaced here: whatever this machine is, doctor tells it."""
    result = CliRunner().invoke(doctor, ["-o", "json"])

    document = json.loads(result.stdout_bytes)
    assert document["can_observe"] == (result.exit_code == 0)
    assert document["denial_tier"] in {"lsm", "hold", "kill", "unknown"}
    for check in document["checks"]:
        assert set(check) == {"name", "state", "finding", "cost", "fix"}
        assert bool(check["cost"]) == (check["state"] in {"gap", "blocker"})
        assert bool(check["fix"]) == bool(check["cost"])
