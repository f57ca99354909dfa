"""Tier hold on this machine: the real gate denies what rules name, on file systems that the test mounted alone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.gate.policy import HeldContainer
from monitor.gate.supervisor import GateError
from monitor.rules.ir import And, Exists, Flag, Not, Number, Text
from tests.support import oci
from tests.support.gate import (
    BYSTANDER,
    HOLD,
    PARENT,
    ROOT,
    VICTIM,
    GateHouse,
    hold_policy,
    is_denied,
    make_hold_root,
    make_own_runtime,
    path_is,
    policy_of,
    run,
    scope_of,
)
from tests.support.rootfs import BUSYBOX, build_rootfs
from tests.support.sandbox import Sandbox, find_modes

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as made:
        make_hold_root(made)
        yield made


@pytest.fixture
def house(sandbox: Sandbox) -> Iterator[GateHouse]:
    with GateHouse(sandbox.inside(ROOT)) as started:
        yield started


def test_the_self_test_sees_overlays_by_their_own_mark(house: GateHouse) -> None:
    sight = house.supervisor.readiness.overlay
    assert (sight.by_own_mark, sight.obstacle) == (True, "")
    assert house.supervisor.readiness.is_memory_locked


def test_an_exec_is_denied_by_path(sandbox: Sandbox, house: GateHouse) -> None:
    house.put(path_is(f"{ROOT}/{VICTIM}"))

    assert is_denied(sandbox, f"{ROOT}/{VICTIM}", "true")
    assert not is_denied(sandbox, f"{ROOT}/{BYSTANDER}", "true")
    assert house.denied() == [(VICTIM, 0)]


def test_a_denial_says_who_and_what(sandbox: Sandbox, house: GateHouse) -> None:
    house.put(path_is(f"{ROOT}/{VICTIM}"))
    shown = sandbox.inside(f"{ROOT}/{VICTIM}").stat()

    is_denied(sandbox, "--chdir=/", "setpriv", "--reuid=1234", "--clear-groups", f"{ROOT}/{VICTIM}", "true")
    house.report()

    (denial,) = house.told()
    assert (denial.path, denial.event, denial.uid, denial.is_denied) == (f"{ROOT}/{VICTIM}", "exec", 1234, True)
    assert (denial.device, denial.inode) == (shown.st_dev, shown.st_ino)
    assert denial.executable.endswith("/setpriv") and denial.tgid == denial.tid and denial.start_ticks > 0
    assert (denial.generation, denial.cgroup_id) == (1, 0) and denial.cgroup_path.startswith("/")


def test_an_exec_is_denied_by_name_through_links_and_descriptors(sandbox: Sandbox, house: GateHouse) -> None:
    house.put(("process_creation", Text("process.name", "exact", (VICTIM.upper(),))))
    sandbox.run(["ln", "-sf", VICTIM, f"{ROOT}/alias"])

    assert is_denied(sandbox, f"{ROOT}/alias", "true")
    assert is_denied(sandbox, "sh", "-c", f"exec 9<{ROOT}/{VICTIM}; exec /proc/self/fd/9 true") is True
    assert not is_denied(sandbox, f"{ROOT}/{BYSTANDER}", "true")


def test_an_exec_is_denied_by_the_program_that_forked_the_task(sandbox: Sandbox, house: GateHouse) -> None:
    victim = Text("process.name", "exact", (VICTIM,))
    parent = Text("process.parent.executable", "suffix", (f"/{PARENT}",))
    house.put(("process_creation", And((victim, parent))))

    assert is_denied(sandbox, f"{ROOT}/{PARENT}", "sh", "-c", f"{ROOT}/{VICTIM} true; exit $?")
    assert not is_denied(sandbox, f"{ROOT}/{BYSTANDER}", "sh", "-c", f"{ROOT}/{VICTIM} true; exit $?")
    # forked by bystander, whose child becomes parent, and then victim: the one that forked counts
    chain = f"{ROOT}/{PARENT} env {ROOT}/{VICTIM} true; exit $?"
    assert not is_denied(sandbox, f"{ROOT}/{BYSTANDER}", "sh", "-c", chain)


def test_an_exec_is_denied_by_user(sandbox: Sandbox, house: GateHouse) -> None:
    house.put(("process_creation", Number("user.id", "eq", 1234)))

    assert is_denied(sandbox, "setpriv", "--reuid=1234", "--clear-groups", f"{ROOT}/{VICTIM}", "true")
    assert not is_denied(sandbox, f"{ROOT}/{VICTIM}", "true")


def test_the_user_is_that_of_the_thread(sandbox: Sandbox, house: GateHouse) -> None:
    house.put(("process_creation", Number("user.id", "eq", 1234)))
    thread = (
        "import ctypes, os, threading\n"
        "def act():\n"
        "    ctypes.CDLL(None).syscall(117, 1234, -1, -1)\n"
        f"    try: os.execv('{ROOT}/{VICTIM}', ['true'])\n"
        "    except PermissionError: os._exit(126)\n"
        "threading.Thread(target=act).start()\n"
    )

    assert run(sandbox, sys.executable, "-c", thread)[0] == 126
    assert [denial.uid for denial in house.told()] == [1234]
    assert house.told()[0].tid != house.told()[0].tgid


def test_an_exec_is_denied_in_one_container_alone(sandbox: Sandbox, tmp_path: Path) -> None:
    policy = policy_of(("process_creation", And((Text("process.name", "exact", ("busybox",)), Exists("container.id")))))
    rootfs = build_rootfs(tmp_path / "rootfs", {})
    with (
        GateHouse() as house,
        oci.start_container(sandbox, "runc", rootfs) as chosen,
        oci.start_container(sandbox, "runc", rootfs) as other,
    ):
        house.set(
            hold_policy(
                policy,
                containers=[HeldContainer(7, other.cgroup_path, scope_of(policy, is_container=False))],
            )
        )
        house.add_container(HeldContainer(42, chosen.cgroup_path, scope_of(policy, is_container=True)), chosen.pid)
        house.add_container(HeldContainer(7, other.cgroup_path, scope_of(policy, is_container=False)), other.pid)

        done = chosen.exec("/bin/true", check=False)
        assert done.returncode != 0 and "operation not permitted" in done.stderr.lower()
        assert other.exec("/bin/true").returncode == 0
        house.report()
        assert {denial.cgroup_id for denial in house.told()} == {42}
        assert house.told()[0].path == "/bin/busybox"
        assert house.told()[0].cgroup_path == chosen.cgroup_path


def test_a_container_that_nobody_has_named_is_pending(sandbox: Sandbox, tmp_path: Path) -> None:
    policy = policy_of(("process_creation", And((Text("process.name", "exact", ("busybox",)), Exists("container.id")))))
    rootfs = build_rootfs(tmp_path / "rootfs", {})
    with GateHouse() as house, oci.start_container(sandbox, "runc", rootfs) as container:
        house.set(hold_policy(policy))
        house.add_container(HeldContainer(1, "/elsewhere", scope_of(policy, is_container=False)), container.pid)

        assert container.exec("/bin/true", check=False).returncode != 0
        house.report()
        assert [denial.cgroup_id for denial in house.told()] == [0]


def test_a_runtimes_own_steps_are_let_through(sandbox: Sandbox, tmp_path: Path) -> None:
    """It reads the container's users before it executes anything; the container's programs may not."""
    policy = policy_of(("file_access", And((Text("file.path", "exact", ("/etc/passwd",)), Exists("container.id")))))
    rootfs = build_rootfs(tmp_path / "rootfs", {})
    with (
        GateHouse(runtimes=(make_own_runtime(sandbox),)) as house,
        oci.start_container(sandbox, "runc", rootfs) as container,
    ):
        house.set(hold_policy(policy))
        held = HeldContainer(42, container.cgroup_path, scope_of(policy, is_container=True))
        house.add_container(held, container.pid)

        done = container.exec("cat", "/etc/passwd", check=False)
        assert done.returncode == 1 and "Operation not permitted" in done.stderr
        assert container.exec("cat", "/etc/group").returncode == 0
        assert house.report().exempted > 0
        assert {(denial.path, denial.executable) for denial in house.told()} == {("/etc/passwd", "/bin/busybox")}


def test_a_script_is_judged_and_its_interpreter_too(sandbox: Sandbox, house: GateHouse) -> None:
    sandbox.inside(f"{ROOT}/script").write_text(f"#!{ROOT}/{VICTIM} sh\nexit 0\n")
    sandbox.inside(f"{ROOT}/script").chmod(0o755)
    house.put(path_is(f"{ROOT}/script"), path_is(f"{ROOT}/{VICTIM}"))

    assert is_denied(sandbox, f"{ROOT}/script")
    house.put(path_is(f"{ROOT}/{VICTIM}"))
    assert is_denied(sandbox, f"{ROOT}/script")
    assert house.denied() == [("script", 0), (VICTIM, 0)]


def test_a_programs_loader_is_not_taken_for_a_program_but_executing_it_is(sandbox: Sandbox, house: GateHouse) -> None:
    """A rule that allows only some programs would otherwise deny every dynamic one."""
    loader = Path("/lib64/ld-linux-x86-64.so.2").resolve()
    sandbox.run(["cp", str(loader), f"{ROOT}/loader"])
    program = sandbox.inside(f"{ROOT}/own_loader")
    source = sandbox.inside(f"{ROOT}/own_loader.c")
    source.write_text("int main(void) { return 0; }\n")
    sandbox.run(["gcc", f"-Wl,--dynamic-linker={ROOT}/loader", "-o", f"{ROOT}/own_loader", f"{ROOT}/own_loader.c"])
    assert program.exists()
    house.put(("process_creation", Not(Text("process.name", "exact", ("own_loader",)))))

    assert not is_denied(sandbox, f"{ROOT}/own_loader")
    assert is_denied(sandbox, f"{ROOT}/loader", f"{ROOT}/own_loader")
    assert house.report().exempted == 1


def test_a_deleted_program_and_one_on_tmpfs(sandbox: Sandbox) -> None:
    with GateHouse(sandbox.inside(HOLD)) as house:
        house.put(
            ("process_creation", Flag("process.flags.deleted", value=True)),
            ("process_creation", And((Flag("process.flags.tmpfs", value=True), Number("user.id", "eq", 1234)))),
        )
        sandbox.run(["cp", str(BUSYBOX), f"{HOLD}/other/gone"])

        script = f"exec 9<{HOLD}/other/gone; rm {HOLD}/other/gone; exec /proc/self/fd/9 true"
        assert is_denied(sandbox, "sh", "-c", script)
        assert is_denied(sandbox, "setpriv", "--reuid=1234", "--clear-groups", f"{HOLD}/lower/{VICTIM}", "true")
        assert not is_denied(sandbox, f"{HOLD}/lower/{VICTIM}", "true")
        assert house.denied()[0] == ("gone", 0)


def test_an_open_is_denied_by_file_and_program(sandbox: Sandbox, house: GateHouse) -> None:
    sandbox.inside(f"{ROOT}/secret").write_text("x")
    secret, reader = Text("file.name", "exact", ("secret",)), Text("process.name", "exact", (VICTIM,))
    house.put(("file_access", And((secret, reader))))

    status, said = run(sandbox, f"{ROOT}/{VICTIM}", "cat", f"{ROOT}/secret")
    assert status == 1 and "Operation not permitted" in said
    assert run(sandbox, f"{ROOT}/{BYSTANDER}", "cat", f"{ROOT}/secret")[0] == 0
    assert run(sandbox, f"{ROOT}/{VICTIM}", "cat", "/etc/hostname")[0] == 0
    assert [(denial.event, denial.executable) for denial in house.told()] == [("open", f"{ROOT}/{VICTIM}")]


def test_audit_says_what_it_would_deny(sandbox: Sandbox, house: GateHouse) -> None:
    house.put(path_is(f"{ROOT}/{VICTIM}"), enforced=0)

    assert not is_denied(sandbox, f"{ROOT}/{VICTIM}", "true")
    assert (house.report().denied, house.report().audited) == (0, 1)
    assert [denial.is_denied for denial in house.told()] == [False]


def test_a_path_that_the_kernel_cannot_write_rules_nothing_out(sandbox: Sandbox, house: GateHouse) -> None:
    house.put(path_is(f"{ROOT}/{VICTIM}"))
    deep = (
        f"import os, shutil\nos.chdir('{ROOT}')\n"
        "for _ in range(20):\n    os.mkdir('d' * 250)\n    os.chdir('d' * 250)\n"
        f"shutil.copy('{BUSYBOX}', 'x')\nos.execv('x', ['true'])\n"
    )

    assert "PermissionError" in run(sandbox, sys.executable, "-c", deep)[1]
    assert house.denied() == [("", 0)]


def test_what_the_service_forks_and_policies_without_rules_are_let_through(sandbox: Sandbox, house: GateHouse) -> None:
    house.put(("process_creation", Number("user.id", "eq", 0)))
    own = subprocess.run([sandbox.inside(f"{ROOT}/{VICTIM}"), "true"], check=False)
    assert own.returncode == 0
    assert house.report().exempted == 1

    house.put()
    held = house.report().held
    assert not is_denied(sandbox, f"{ROOT}/{VICTIM}", "true")
    assert house.report().held == held


def test_a_path_of_the_settings_that_cannot_be_held_is_said(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "No such file"), (Path("/proc"), "proc, which cannot be held")):
        with pytest.raises(GateError, match=why), GateHouse(path):
            pass
