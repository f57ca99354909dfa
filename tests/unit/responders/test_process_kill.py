"""Killing trees of real processes: all of one, nobody else, whatever they do meanwhile."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from monitor.engine.guardrails import GuardrailFacts
from monitor.model.ids import CgroupId, ProcessKey, TaskFacts, Tgid
from monitor.model.responses import DONE, UNCHANGED, Order, Outcome
from monitor.responders.process_kill import kill_processes
from monitor.responders.signals import send_signal
from tests.support import make
from tests.support.process_trees import process_tree
from tests.support.response_hosts import NO_FACTS, build_host, finish

THREE_DEEP = "sh -c 'sleep 300 & sleep 300 & wait' & sleep 300 & wait"
FORKS_ON = "import os, time\nwhile True:\n if os.fork() == 0:\n  time.sleep(30)\n  os._exit(0)\n time.sleep(0.001)\n"


def order(*keys: ProcessKey, number: int = 1) -> Order:
    return Order(number, "kill", "process", "entity", None, keys)


def kill(*keys: ProcessKey, facts: GuardrailFacts = NO_FACTS) -> Outcome:
    (outcome,) = finish(kill_processes(build_host(facts), [order(*keys)]))
    return outcome


def test_all_that_descends_from_it_ends_and_its_neighbours_do_not() -> None:
    with process_tree("sh", "-c", THREE_DEEP) as tree, process_tree("sleep", "300") as other:
        tree.wait_for(5)
        outcome = kill(tree.key)

        assert (outcome.result, outcome.processes, outcome.note) == (DONE, 5, "")
        assert not tree.living()
        assert other.living()


def test_one_that_forks_all_the_time() -> None:
    with process_tree("python3", "-c", FORKS_ON) as tree:
        tree.wait_for(20)
        outcome = kill(tree.key)

        assert outcome.result == DONE
        assert outcome.processes >= 20
        assert not tree.living()


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone() -> None:
    with process_tree("sleep", "300") as tree:
        key = tree.key
        earlier = ProcessKey(key.tgid, key.start_boottime_ns - 10**9)

        assert kill(earlier) == Outcome(order(earlier), UNCHANGED, 0, "it had ended already")
        assert not send_signal(earlier, signal.SIGKILL, build_host().is_alive)
        assert tree.living()


def test_several_orders_are_one_sweep_and_each_has_its_outcome() -> None:
    with process_tree("sh", "-c", THREE_DEEP) as one, process_tree("sleep", "300") as two:
        one.wait_for(5)
        orders = [order(one.key, number=1), order(two.key, number=2), order(ProcessKey(Tgid(2**22 + 7), 1), number=3)]
        outcomes = finish(kill_processes(build_host(), orders))

        assert [(each.order.number, each.result, each.processes) for each in outcomes] == [
            (1, DONE, 5),
            (2, DONE, 1),
            (3, UNCHANGED, 0),
        ]


def test_a_sweep_that_is_cut_short_leaves_nobody_stopped() -> None:
    with process_tree("sh", "-c", THREE_DEEP) as tree:
        tree.wait_for(5)
        steps = kill_processes(build_host(), [order(tree.key)])
        next(steps)
        assert {state[0] for state in tree.living().values()} <= {"T"}
        steps.close()

        for _ in range(500):
            if not tree.living():
                break
            os.sched_yield()
        assert not tree.living()


# --- guardrails, with real processes ----------------------------------------------------------


@pytest.fixture
def keeper(tmp_path: Path) -> Path:
    """A program that the test's facts protect."""
    return Path(shutil.copy("/bin/sleep", tmp_path / "keeper"))


def protecting(program: Path, what: str) -> GuardrailFacts:
    facts = program.stat()
    return GuardrailFacts(protected_files={(facts.st_dev, facts.st_ino): what})


def test_a_protected_process_outlives_the_tree_that_it_is_in(keeper: Path) -> None:
    with process_tree("sh", "-c", f"{keeper} 300 & sleep 300 & wait") as tree:
        tree.wait_for(3)
        outcome = kill(tree.key, facts=protecting(keeper, "a container runtime"))

        assert (outcome.result, outcome.processes) == (DONE, 2)
        assert outcome.note == "1 protected processes that descend from it were spared"
        assert [line for line in tree.living().values() if str(keeper) in line] == list(tree.living().values())
        assert {state[0] for state in tree.living().values()} == {"S"}


def test_a_protected_process_is_spared_when_it_is_named_itself(keeper: Path) -> None:
    with process_tree(keeper, "300") as tree:
        outcome = kill(tree.key, facts=protecting(keeper, "a container runtime"))

        assert (outcome.result, outcome.note) == (UNCHANGED, "spared: a container runtime")
        assert tree.living()


@pytest.mark.parametrize(("what", "is_left"), [("a container runtime", False), ("the admin's login path", True)])
def test_what_logs_in_is_spared_with_the_login_and_what_a_runtime_started_is_not(
    tmp_path: Path, what: str, is_left: bool
) -> None:
    shell = Path(shutil.copy("/bin/dash", tmp_path / "shell"))
    with process_tree("sh", "-c", f"{shell} -c 'sleep 301; sleep 302' & wait") as tree:
        tree.wait_for(3)
        assert kill(tree.key, facts=protecting(shell, what)).result == DONE

        left = [line.split()[1:] for line in tree.living().values()]
        assert (["sleep", "301"] in left) is is_left


def test_what_runs_in_a_container_is_not_the_hosts() -> None:
    with process_tree("sleep", "300") as tree:
        host = build_host(is_host_cgroup=lambda _: False)
        (outcome,) = finish(kill_processes(host, [order(tree.key)]))

        assert (outcome.result, outcome.note) == (UNCHANGED, "spared: a container")
        inside = order(tree.key)._replace(container=make.container())
        (outcome,) = finish(kill_processes(host, [inside]))
        assert outcome.result == DONE


def test_the_first_process_and_the_monitor_are_never_killed() -> None:
    guard = build_host().guard

    def task(tgid: int, parent: int = 1) -> TaskFacts:
        return TaskFacts(Tgid(tgid), 1, 0, CgroupId(1), Tgid(parent), 1)

    for container in (None, make.container()):
        assert guard(task(1, 0), container) == ("the first process", True)
        assert guard(task(2, 0), container) == ("the kernel", True)
        assert guard(task(os.getpid()), container) == ("the monitor itself", True)
        assert guard(task(4_000_000, os.getpid()), container) == ("the monitor itself", True)
