"""A gate for tests: the real processes, fed by the real supervisor, marking only what the test itself mounted."""

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from monitor.gate.policy import HeldContainer, HoldPolicy, Scope, pack_policy, pack_scope, unpack_vector
from monitor.gate.supervisor import GateSettings, GateSupervisor
from monitor.gate.wire import Denial, Ready, Report
from monitor.model.kernel_policy import ContainerTerms, Dimension
from monitor.rules.ir import AnyNode, Exists, Text
from monitor.rules.kernel_policy import KernelPolicy, build_policy, build_rule_terms
from tests.support.make.rules import rule
from tests.support.rootfs import BUSYBOX
from tests.support.sandbox import PATH, Sandbox

PATIENCE = float(os.environ.get("STOCKADE_TEST_PATIENCE", "1"))
WAIT_S = 10.0 * PATIENCE
DEADLINE_MS = int(5000 * PATIENCE)
HOLD = "/run/hold"
RUNTIMES = "/run/own-runtimes"
ROOT = f"{HOLD}/root"
VICTIM, BYSTANDER, PARENT = (f"busybox-{name}" for name in ("victim", "bystander", "parent"))
"""Copies of busybox, which runs the applet of its first argument under such a name."""
T = TypeVar("T")


def policy_of(*rules: tuple[str, AnyNode]) -> KernelPolicy:
    """One policy of rules: (category, condition)."""
    terms = [
        build_rule_terms(rule(f"rule_{number}", on_truncated="deny"), *parts) for number, parts in enumerate(rules)
    ]
    return build_policy([term for found in terms for term in found])


def terms_for(policy: KernelPolicy, *, is_container: bool, enforced: int | None = None) -> ContainerTerms:
    """What applies to tasks of a container without a name, or of the host."""
    scope = policy.select(Dimension.CONTAINER, lambda test: is_container and test == Exists("container.id"))
    return ContainerTerms(scope, policy.everything if enforced is None else enforced)


def scope_of(policy: KernelPolicy, *, is_container: bool) -> Scope:
    return pack_scope(terms_for(policy, is_container=is_container))


def hold_policy(
    policy: KernelPolicy, generation: int = 1, containers: Sequence[HeldContainer] = (), enforced: int | None = None
) -> HoldPolicy:
    host = terms_for(policy, is_container=False, enforced=enforced)
    pending = terms_for(policy, is_container=True, enforced=enforced)
    return pack_policy(policy.tables, generation, host=host, pending=pending, containers=containers)


def path_is(path: str) -> tuple[str, AnyNode]:
    """A rule about one program."""
    return "process_creation", Text("process.executable", "exact", (path,))


def make_hold_root(sandbox: Sandbox) -> None:
    """A tmpfs at :data:`HOLD`, and an overlay over folders of it at :data:`ROOT`, with a few static programs."""
    sandbox.run(["mkdir", "-p", HOLD])
    sandbox.run(["mount", "-t", "tmpfs", "tmpfs", HOLD])
    sandbox.run(["mkdir", *(f"{HOLD}/{name}" for name in ("lower", "upper", "work", "root", "other"))])
    for name in (VICTIM, BYSTANDER, PARENT):
        sandbox.run(["cp", str(BUSYBOX), f"{HOLD}/lower/{name}"])
    layers = f"lowerdir={HOLD}/lower,upperdir={HOLD}/upper,workdir={HOLD}/work"
    sandbox.run(["mount", "-t", "overlay", "overlay", "-o", layers, ROOT])


def make_own_runtime(sandbox: Sandbox, name: str = "runc") -> Path:
    """A copy of runc or crun in the sandbox's place of it: marks on it hold nobody else's containers."""
    original, copy = shutil.which(name, path=PATH), f"{RUNTIMES}/{name}"
    assert original is not None
    place = f"mkdir -p {RUNTIMES} && {{ mountpoint -q {RUNTIMES} || mount -t tmpfs tmpfs {RUNTIMES}; }}"
    act = f"[ {original} -ef {copy} ] || {{ {place} && cp {original} {copy} && mount --bind {copy} {original}; }}"
    sandbox.run(["sh", "-c", act])
    return sandbox.inside(copy)


def run(sandbox: Sandbox, *args: str, timeout_s: float = 30) -> tuple[int, str]:
    """By a shell: what the service itself forks, and that is us, is never denied anything."""
    words = ["sh", "-c", '"$@"; exit $?', "sh", "env", *args]
    done = sandbox.run(words, check=False, timeout_s=timeout_s)
    return done.returncode, done.stderr


def is_denied(sandbox: Sandbox, *args: str, timeout_s: float = 30) -> bool:
    """It was refused with EPERM, or ran; anything else is an error."""
    status, said = run(sandbox, *args, timeout_s=timeout_s)
    if status == 126 and "Operation not permitted" in said:
        return True
    assert status == 0, said
    return False


class GateHouse:
    """A context manager: a supervisor on an event loop of its own."""

    def __init__(self, *hold_paths: Path, deadline_ms: int = DEADLINE_MS, **settings: Any) -> None:
        self._denials: list[Denial] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        chosen = GateSettings(deadline_ms, hold_paths, **{"is_strict": True, **settings})
        self.supervisor = GateSupervisor(chosen, self._denials.append)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait(self.supervisor.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> Ready:
        return self._wait(self.supervisor.start())

    def stop(self) -> None:
        self._wait(self.supervisor.stop())

    def put(self, *rules: tuple[str, AnyNode], enforced: int | None = None) -> KernelPolicy:
        """Put rules in force, and wait until they and the marks are."""
        policy = policy_of(*rules)
        self.set(hold_policy(policy, enforced=enforced))
        return policy

    def set(self, policy: HoldPolicy) -> None:
        self._call(lambda: self.supervisor.set_policy(policy))
        assert self.report().generation == policy.generation

    def add_container(self, container: HeldContainer, pid: int) -> None:
        self._call(lambda: self.supervisor.add_container(container, pid))
        self.report()

    def report(self) -> Report:
        """Its counters, once all that it was told is done and all that it said before has come."""
        return self._wait(self.supervisor.report())

    @property
    def gate_tgid(self) -> int:
        assert self.supervisor.readiness is not None
        return self.supervisor.readiness.gate_tgid

    @contextmanager
    def not_reading(self) -> Iterator[None]:
        """The service's event loop stands still."""
        stands, goes = threading.Event(), threading.Event()

        def stand() -> None:
            stands.set()
            goes.wait()

        self._loop.call_soon_threadsafe(stand)
        stands.wait()
        try:
            yield
        finally:
            goes.set()

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.005)

    def denied(self) -> list[tuple[str, int]]:
        """What was denied: last component of the path, lowest term."""
        return [(Path(one.path).name, lowest(one)) for one in self.told() if one.is_denied]

    def told(self) -> list[Denial]:
        """All that it has said until now, denied or not."""
        self.report()
        return self._denials

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_S * 3)

    def _call(self, act: Callable[[], None]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            try:
                done.set_result(act())
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        done.result(WAIT_S)


def lowest(denial: Denial) -> int:
    """The number of its lowest term."""
    vector = unpack_vector(denial.terms)
    return (vector & -vector).bit_length() - 1


def is_held(pid: int) -> bool:
    """Whether a task waits for a gate's answer, by its kernel stack."""
    return "fanotify_handle_event" in Path(f"/proc/{pid}/stack").read_text()


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
