"""What becomes of held programs when the gate dies, hangs, or is asked by many at once."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitor.gate.policy import HeldContainer
from monitor.rules.ir import And, Exists, Number, Text
from tests.support import oci
from tests.support.gate import (
    BYSTANDER,
    HOLD,
    ROOT,
    VICTIM,
    WAIT_S,
    GateHouse,
    hold_policy,
    is_denied,
    is_held,
    is_there,
    make_hold_root,
    make_own_runtime,
    path_is,
    policy_of,
    scope_of,
)
from tests.support.rootfs import build_rootfs
from tests.support.sandbox import Sandbox, find_modes

pytestmark = pytest.mark.kernel

DEADLINE_MS = 3000
"""Long enough to start a program meanwhile where a guest's CPU is emulated."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as made:
        make_hold_root(made)
        yield made


@contextmanager
def held_exec(sandbox: Sandbox, house: GateHouse, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that waits for a gate which has been stopped."""
    os.kill(house.gate_tgid, signal.SIGSTOP)
    started = sandbox.start(["sh", "-c", 'exec "$0" "$@"', *args])
    try:
        house.wait_until(lambda: is_held(started.pid))
        yield started
    finally:
        started.kill()
        started.wait()


def test_a_gate_that_is_killed_lets_go_what_it_held_and_another_takes_over(sandbox: Sandbox) -> None:
    with GateHouse(sandbox.inside(ROOT), deadline_ms=60_000) as house:
        house.put(path_is(f"{ROOT}/{VICTIM}"))
        first = house.gate_tgid
        with held_exec(sandbox, house, f"{ROOT}/{VICTIM}", "true") as started:
            os.kill(first, signal.SIGKILL)
            assert started.wait(WAIT_S) == 0

        house.wait_until(lambda: house.supervisor.health.starts == 2 and house.supervisor.readiness is not None)
        assert (house.gate_tgid != first, house.supervisor.health.deaths) == (True, 1)
        house.report()
        assert is_denied(sandbox, f"{ROOT}/{VICTIM}", "true")


def test_the_watchdog_frees_what_a_stopped_gate_holds_within_the_deadline(sandbox: Sandbox) -> None:
    with GateHouse(sandbox.inside(ROOT), deadline_ms=DEADLINE_MS) as house:
        house.put(path_is(f"{ROOT}/{VICTIM}"))
        began = time.monotonic()
        with held_exec(sandbox, house, f"{ROOT}/{VICTIM}", "true") as started:
            assert started.wait(WAIT_S) == 0
            took = time.monotonic() - began

        house.wait_until(lambda: house.supervisor.health.missed_deadlines == 1)
        assert took < DEADLINE_MS / 1000 + WAIT_S / 20  # the second term: starting the program, on a busy machine


def test_a_watchdog_that_is_killed_takes_the_gate_with_it(sandbox: Sandbox) -> None:
    with GateHouse(sandbox.inside(ROOT), deadline_ms=60_000) as house:
        house.put(path_is(f"{ROOT}/{VICTIM}"))
        gate, watchdog = house.gate_tgid, house.supervisor.readiness.watchdog_tgid
        with held_exec(sandbox, house, f"{ROOT}/{VICTIM}", "true") as started:
            os.kill(watchdog, signal.SIGKILL)
            assert started.wait(WAIT_S) == 0
        house.wait_until(lambda: not is_there(gate))


SERVICE = """
    import asyncio, sys
    from pathlib import Path
    from monitor.gate.supervisor import GateSettings, GateSupervisor
    from tests.support.gate import hold_policy, path_is, policy_of

    async def main():
        supervisor = GateSupervisor(GateSettings(60_000, (Path(sys.argv[1]),)), print)
        ready = await supervisor.start()
        supervisor.set_policy(hold_policy(policy_of(path_is(sys.argv[2]))))
        await supervisor.report()
        print(ready.gate_tgid, ready.watchdog_tgid, flush=True)
        await asyncio.sleep(60)

    asyncio.run(main())
"""


def test_a_service_that_is_killed_leaves_no_gate_and_nothing_held(sandbox: Sandbox) -> None:
    words = [sys.executable, "-c", textwrap.dedent(SERVICE), str(sandbox.inside(ROOT)), f"{ROOT}/{VICTIM}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as service:
        gate, watchdog = map(int, service.stdout.readline().split())
        os.kill(gate, signal.SIGSTOP)
        started = sandbox.start(["sh", "-c", 'exec "$0" true', f"{ROOT}/{VICTIM}"])
        while not is_held(started.pid):
            time.sleep(0.005)
        service.kill()

        assert started.wait(WAIT_S) == 0
        end = time.monotonic() + 5
        while (is_there(gate) or is_there(watchdog)) and time.monotonic() < end:
            time.sleep(0.005)
        assert not is_there(gate) and not is_there(watchdog)


LOAD = """
    import os, sys
    counts = [0, 0]
    for turn in range(int(sys.argv[3])):
        name, wanted = (sys.argv[1], 1) if turn % 2 else (sys.argv[2], 0)
        try:
            pid = os.posix_spawn(name, ["busybox", "true"], {})
        except PermissionError:
            counts[1] += wanted
        else:
            counts[0] += os.waitpid(pid, 0)[1] == 0 and not wanted
    print(*counts)
"""


def test_of_a_thousand_execs_at_once_none_is_lost(sandbox: Sandbox) -> None:
    words = [sys.executable, "-c", textwrap.dedent(LOAD), f"{ROOT}/{VICTIM}", f"{ROOT}/{BYSTANDER}", "250"]
    with GateHouse(sandbox.inside(ROOT)) as house, ThreadPoolExecutor(4) as pool:
        # by a user's id too, so that nothing is let go by its name alone
        house.put(path_is(f"{ROOT}/{VICTIM}"), ("process_creation", Number("user.id", "eq", 1234)))
        shown = [done.stdout.split() for done in pool.map(lambda _: sandbox.run(words, timeout_s=120), range(4))]

        assert shown == [["125", "125"]] * 4
        report = house.report()
        assert (report.denied + report.dropped, report.held, report.failed) == (500, 1000, 0)
        assert len(house.told()) + report.dropped == 500
        assert (report.breaches, report.last_breach) == (0, "")


def test_a_service_that_does_not_read_is_not_waited_for(sandbox: Sandbox) -> None:
    script = "import os, sys\n" + textwrap.dedent(LOAD)
    words = [sys.executable, "-c", script, f"{ROOT}/{VICTIM}", f"{ROOT}/{VICTIM}", "1500"]
    with GateHouse(sandbox.inside(ROOT), deadline_ms=60_000) as house:
        house.put(path_is(f"{ROOT}/{VICTIM}"))
        with house.not_reading():
            sandbox.run(words, timeout_s=120)
        report = house.report()
        assert report.denied == 1500
        assert report.dropped > 0 and len(house.told()) + report.dropped == 1500


def test_policies_switch_under_load_and_none_is_undecided(sandbox: Sandbox) -> None:
    words = [sys.executable, "-c", textwrap.dedent(LOAD), f"{ROOT}/{VICTIM}", f"{ROOT}/{BYSTANDER}", "400"]
    with GateHouse(sandbox.inside(ROOT)) as house, ThreadPoolExecutor(1) as pool:
        rules = [path_is(f"{ROOT}/{VICTIM}"), *(path_is(f"/nowhere/{number}") for number in range(500))]
        policy = policy_of(*rules)
        house.set(hold_policy(policy))
        load = pool.submit(sandbox.run, words, timeout_s=120)
        generation = 1
        while not load.done():
            generation += 1
            house.set(hold_policy(policy, generation))
        assert load.result().stdout.split() == ["200", "200"]
        assert generation > 3


def test_a_container_is_held_before_its_entry_program(sandbox: Sandbox, tmp_path: Path) -> None:
    """By the overlay's own mark, the only one that sees it before Linux 6.5: the runtime waits until it is made."""
    policy = policy_of(("process_creation", And((Text("process.name", "exact", ("busybox",)), Exists("container.id")))))
    rootfs = build_rootfs(tmp_path / "rootfs", {})
    with GateHouse(runtimes=(make_own_runtime(sandbox),)) as house:
        house.set(hold_policy(policy))
        for _ in range(10):
            done = oci.run_container(sandbox, "runc", rootfs, "/bin/true", check=False)
            assert done.returncode != 0 and "operation not permitted" in done.stderr.lower()
        assert [denial.path for denial in house.told()] == ["/bin/busybox"] * 10
        assert house.report().hurried == 0


def test_a_runtime_does_not_wait_long_for_a_service_that_stands_still(sandbox: Sandbox, tmp_path: Path) -> None:
    rootfs = build_rootfs(tmp_path / "rootfs", {})
    with GateHouse(runtimes=(make_own_runtime(sandbox),)) as house:
        house.put(path_is("/bin/none"))
        with house.not_reading():
            assert oci.run_container(sandbox, "runc", rootfs, "/bin/true").returncode == 0
        assert house.report().hurried > 0


def test_an_overlay_is_marked_when_it_is_mounted(sandbox: Sandbox) -> None:
    with GateHouse(namespace_pid=sandbox.pid) as house:
        house.put(path_is(f"{HOLD}/other/{VICTIM}"))
        layers = f"lowerdir={HOLD}/lower,upperdir={HOLD}/upper2,workdir={HOLD}/work2"
        sandbox.run(["mkdir", "-p", f"{HOLD}/upper2", f"{HOLD}/work2"])
        sandbox.run(["mount", "-t", "overlay", "overlay", "-o", layers, f"{HOLD}/other"])
        house.wait_until(lambda: house.report().marks > 1)

        assert is_denied(sandbox, f"{HOLD}/other/{VICTIM}", "true")


def test_known_files_that_no_rule_can_name_are_held_once(sandbox: Sandbox, tmp_path: Path) -> None:
    rule = And((Text("process.name", "exact", ("nc",)), Exists("container.id")))
    policy = policy_of(("process_creation", rule))
    rootfs = build_rootfs(tmp_path / "rootfs", {})
    with GateHouse() as house, oci.start_container(sandbox, "runc", rootfs) as container:
        scope = scope_of(policy, is_container=True)
        house.set(hold_policy(policy))
        held = HeldContainer(42, container.cgroup_path, scope)
        house.add_container(held, container.pid)
        container.exec("sh", "-c", "cp /bin/busybox /bin/busybox-tool; /bin/busybox-tool true; /bin/busybox-tool true")
        before = house.report()
        container.exec("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do /bin/busybox-tool true; done")
        after = house.report()
        assert (before.ignored, after.held - before.held) == (2, 0)

        # what is written is asked for again, and so is everything once rules change
        container.exec("sh", "-c", "cat /bin/busybox > /bin/busybox-tool; /bin/busybox-tool true")
        assert house.report().held == after.held + 1
        house.set(hold_policy(policy, 2, containers=[held]))
        container.exec("/bin/busybox-tool", "true")
        assert house.report().held == after.held + 2

        # a file with several names is held each time, by whichever of them
        container.exec("sh", "-c", "ln /bin/busybox-tool /bin/nc")
        assert container.exec("/bin/nc", check=False).returncode != 0
