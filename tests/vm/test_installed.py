"""``scripts/install`` under systemd, from wheels and without a network, and the service's life until it is removed.

In a guest whose root is a Debian tree made for it, with systemd as process 1 (``--vm=all``). What was seen there is
judged here; ``installed_acts`` does it.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.install.tree import CHECKOUT, COPY, Tree, make_tree
from tests.support.vm import RESULTS, Boot, GuestError, run_in_guest
from tests.support.vm_kernel import get_kernel
from tests.support.vm_pool import GuestPool

pytestmark = [pytest.mark.vm, pytest.mark.every_kernel]

GUEST_S = 3000
FETCH_S = 400
PACKAGES = ("systemd", "ca-certificates", "libbpf1", "procps", "python3", "python3-venv")
COLLECT_WHEELS = """
python3 -m venv /tmp/venv
cd "$0"
/tmp/venv/bin/pip wheel --use-pep517 --constraint constraints.txt --wheel-dir wheels . setuptools
rm -rf build *.egg-info
"""
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Installation:
    """A job of :class:`GuestPool`: ``installed_acts`` in a tree of this Debian, under its kernel."""

    suite: str

    def run(self, results: Path) -> Facts:
        kernel = get_kernel(self.suite)
        tree = make_tree(results / "tree", self.suite, PACKAGES)
        try:
            self._prepare(tree)
            self._run_in(tree, results, kernel)
        finally:
            shutil.rmtree(tree.root)
        facts: Facts = json.loads((results / "facts.json").read_text())
        return facts

    @staticmethod
    def _prepare(tree: Tree) -> None:
        copy = tree.root / COPY.relative_to("/")
        shutil.copytree(CHECKOUT / "ebpf" / "build", copy / "ebpf" / "build")
        collected = tree.run("sh", "-euc", COLLECT_WHEELS, str(COPY), timeout=FETCH_S)
        assert collected.returncode == 0, collected.stdout

    @staticmethod
    def _run_in(tree: Tree, results: Path, kernel: Any) -> None:
        command = ["/usr/bin/python3", "-m", "tests.vm.installed_acts", str(RESULTS)]
        boot = Boot(root=tree.root, has_systemd=True)
        try:
            done = run_in_guest(kernel, command, results, folder=COPY, env={}, timeout_s=GUEST_S, boot=boot)
        except GuestError as error:
            raise AssertionError(f"{error}\n{read(results)}") from error
        assert done.status == 0, f"{done.stdout}\n{done.stderr}\n{read(results)}\n{done.console[-3000:]}"
        print(f"Linux {kernel.release}\n{done.stdout}\n{read(results)}")


def read(results: Path) -> str:
    """What the service said, as far as it came."""
    journal = results / "journal"
    return journal.read_text(errors="backslashreplace")[-10_000:] if journal.exists() else ""


@pytest.fixture(scope="module", params=[pytest.param(Installation("bookworm"), id="bookworm")])
def facts(request: pytest.FixtureRequest, guests: GuestPool) -> Facts:
    found: Facts = guests.answer(request.param)
    return found


def test_install_returns_when_the_service_is_ready(facts: Facts) -> None:
    installed = facts["install"]

    assert installed["status"] == 0, installed["output"]
    assert installed["unit"]["Type"] == "notify"
    assert (installed["unit"]["ActiveState"], installed["unit"]["SubState"]) == ("active", "running")
    assert installed["unit"]["NRestarts"] == "0"
    assert installed["asked"][0] == 0, installed["asked"][1]
    assert "lost: none" in installed["asked"][1]


def test_the_host_lacks_nothing(facts: Facts) -> None:
    status, output = facts["install"]["doctor"]

    assert status == 0, output
    assert "with no gaps; deny rules: tier lsm" in output


def test_systemd_accepts_the_units(facts: Facts) -> None:
    assert facts["analyze"]["verify"] == [0, ""]
    status, output = facts["analyze"]["security"]
    assert status == 0, output


def test_an_alert_reaches_tail_and_the_journal(facts: Facts) -> None:
    assert facts["alert"] == {"in_stream": True, "in_journal": True}


def test_a_reload_takes_new_rules_and_survives_broken_ones(facts: Facts) -> None:
    reload = facts["reload"]

    assert reload["reload"][0] == 0, reload["reload"][1]
    assert reload["is_loaded"]
    assert reload["broken"] == [True, True], "told, and the old rules kept"
    assert reload["is_same_process"]
    assert reload["active"] == "active"


def test_a_service_that_stands_still_is_replaced(facts: Facts) -> None:
    assert facts["freeze"] == {"is_back": True, "journal": True, "answers": True}


def test_a_service_that_is_killed_is_replaced(facts: Facts) -> None:
    assert facts["kill"] == {"is_back": True, "answers": True}


def test_it_denies_and_a_crash_leaves_no_gap(facts: Facts) -> None:
    denied = facts["deny"]

    assert denied["restarted"][0] == 0, denied["restarted"][1]
    assert (denied["mode"], denied["tier"], denied["notes"]) == ("enforce", "lsm", [])
    assert denied["is_denied"]
    assert denied["mounted_for_all"], "the bpffs is the host's"
    crash = denied["crash"]
    assert crash["is_back"]
    assert crash["is_adopted"]
    assert (crash["ran"], crash["tries"] > 1) == (0, True)


def test_root_is_refused_and_a_restart_takes_over_at_once(facts: Facts) -> None:
    guarded = facts["guard"]
    refused = dict.fromkeys(("kill", "stop", "unpin", "join", "freeze"), "EPERM") | {"memory": "EACCES"}

    assert guarded["restarted"][0] == 0, guarded["restarted"][1]
    assert guarded["is_on"]
    assert guarded["attacks"] == refused
    crash = guarded["crash"]
    assert (crash["is_back"], crash["ran"], crash["tries"] > 1) == (True, 0, True)
    assert guarded["is_on_after_crash"]
    assert guarded["attacks_after_crash"] == refused
    status, told = guarded["by_hand"]
    assert status == 3, told
    assert "guarded" in told
    assert guarded["restarted_again"][0] == 0, guarded["restarted_again"][1]
    assert (guarded["is_on_again"], guarded["is_denied"]) == (True, True)
    assert guarded["stopped"][0] == 0, guarded["stopped"][1]


def test_its_sandbox_lets_it_respond(facts: Facts) -> None:
    responded = facts["respond"]
    container = responded["container"]

    assert responded["victim"] == -9, "another user's process"
    assert container["is_known"]
    assert container["freeze"][0] == 0, container["freeze"][1]
    assert container["is_frozen"]
    assert container["thaw"][0] == 0, container["thaw"][1]
    assert container["kill"][0] == 0, container["kill"][1]
    assert container["ending"] == -9


def test_denial_outlives_a_stop_until_it_is_detached(facts: Facts) -> None:
    stopped = facts["stop"]

    assert stopped["stopped"][0] == 0, stopped["stopped"][1]
    assert stopped["is_denied"]
    assert stopped["pins"]
    assert stopped["told"], "what was denied meanwhile is told by the next service"
    assert stopped["is_denied_again"]
    assert stopped["detach"][0] == 0, stopped["detach"][1]
    assert stopped["after_detach"] == {"runs": True, "pins": []}


def test_denial_ends_with_a_stop_where_it_shall(facts: Facts) -> None:
    assert facts["stop"]["is_denied_by_another"]
    assert facts["stop"]["after_stop"] == {"runs": True, "pins": []}


def test_the_gate_works_in_the_units_sandbox(facts: Facts) -> None:
    held = facts["hold"]

    assert held["started"][0] == 0, held["started"][1]
    assert held["status"]["tier"] == "hold", held["status"]["notes"]
    assert held["is_denied"]
    assert held["others_run"]
    assert held["is_told"]
    assert held["after_stop"]


def test_uninstall_leaves_nothing_and_denies_nothing(facts: Facts) -> None:
    removed = facts["uninstall"]

    assert removed["was_denied"]
    assert removed["status"] == 0, removed["output"]
    assert removed["runs"]
    left = {name: removed[name] for name in ("units", "files", "runtime", "mounts", "groups")}
    assert left == {"units": "", "files": "", "runtime": "", "mounts": [], "groups": []}
    assert removed["again"][0] == 0, removed["again"][1]


def test_uninstall_leaves_no_program_in_the_kernel(facts: Facts) -> None:
    assert facts["programs_after"] <= facts["programs_before"]
