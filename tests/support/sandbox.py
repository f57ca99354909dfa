"""A place on this machine where tests may mount, make cgroups and start container runtimes.

A :class:`Sandbox` is a child process with a mount namespace (and, if asked, a network namespace)
of its own, which shows one of the cgroup layouts of real hosts. Commands are run *in* it. It ends
with everything that was started in it, also when the test run is killed. What is left all the
same is an error of the test; what it leaves when the supervisor is killed with it,
:mod:`tests.support.leftovers` ends.

=========  =============================================================================================
mode       what a program in the sandbox sees
=========  =============================================================================================
`hybrid`   as this machine boots: v1 controllers, and cgroup2 beside them at ``/sys/fs/cgroup/unified``
`v1`       cgroup2 unmounted: all containers share cgroup2 id 1, only the v1 hierarchies tell them apart
`v2`       cgroup2 at ``/sys/fs/cgroup``, the machine's real root: paths as on a modern host
`v2ns`     the same in a cgroup namespace: containers are ``/stockade-test-.../...`` seen from outside
=========  =============================================================================================
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.support import leftovers, supervisor

PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 21, 24


def find_modes() -> tuple[str, ...]:
    """The cgroup modes that this machine can show: v1 controllers cannot be had where cgroup2 holds them."""
    kinds = supervisor.cgroup_mounts().values()
    if "cgroup2" not in kinds:
        return ("v1",) if "cgroup" in kinds else ()
    return ("hybrid", "v1", "v2", "v2ns") if "cgroup" in kinds else ("v2", "v2ns")


def has_capability(number: int) -> bool:
    """Whether this process could use or hand on that capability."""
    status = Path("/proc/self/status").read_text()
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(effective >> number & 1)


class SandboxError(Exception):
    """The sandbox could not be made, or something is left after its end."""


class Sandbox:
    """A context manager: namespaces and cgroup mode from ``__enter__`` to ``__exit__``."""

    def __init__(self, mode: str = "hybrid", *, network: bool = False) -> None:
        if mode not in find_modes():
            raise SandboxError(f"cgroup mode {mode!r} cannot be had on this machine, only {', '.join(find_modes())}")
        self.mode = mode
        self._network = network
        self._supervisor: subprocess.Popen[str] | None = None
        self.pid = 0
        """Of the supervisor, whose namespaces are the sandbox's."""
        self._own_cgroup = ""

    def __enter__(self) -> Self:
        name = f"stockade-test-{secrets.token_hex(4)}-{leftovers.mark()}"
        command = [sys.executable, "-I", "-S", supervisor.__file__, self.mode, name]
        self._supervisor = subprocess.Popen(
            command + (["--network"] if self._network else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C ends the test run; its end ends the sandbox
        )
        answer = self._read_answer()
        if "ready" not in answer:
            self._supervisor.wait()
            raise SandboxError(f"no sandbox in cgroup mode {self.mode}: {answer.get('failed', 'the supervisor died')}")
        self.pid, self._own_cgroup = answer["ready"]["pid"], answer["ready"]["own_cgroup"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._supervisor and self._supervisor.stdin and self._supervisor.stdout
        self._supervisor.stdin.close()
        left = self._read_answer().get("left", ["the supervisor died"])
        self._supervisor.wait()
        self._supervisor.stdout.close()
        if left and error is None:
            raise SandboxError(f"left after the sandbox's end: {'; '.join(left)}")

    def _read_answer(self) -> dict[str, Any]:
        assert self._supervisor and self._supervisor.stdout
        line = self._supervisor.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        return answer

    def announce_cgroup(self, path: str) -> None:
        """Say which cgroup a runtime is about to make, so that it is removed at the end."""
        assert self._supervisor and self._supervisor.stdin
        if not path.startswith("/"):
            raise ValueError(
                f"cgroup path {path!r} must be absolute: a relative one lands below the caller's own cgroup"
            )
        self._supervisor.stdin.write(json.dumps({"cgroup": path}) + "\n")
        self._supervisor.stdin.flush()
        if not self._read_answer().get("ok"):
            raise SandboxError("the sandbox's supervisor died")

    def inside(self, path: str | Path) -> Path:
        """The outside name of a path in the sandbox's mount namespace."""
        return Path(f"/proc/{self.pid}/root") / str(path).lstrip("/")

    def command(self, args: Sequence[str | os.PathLike[str]]) -> list[str]:
        """The command line that runs ``args`` in the sandbox (and, in mode v2ns, in its cgroup)."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--cgroup", *(["--net"] if self._network else []), "--"]
        words = [*enter, *(os.fspath(word) for word in args)]
        if not self._own_cgroup:
            return words
        root = next(path for path, kind in supervisor.cgroup_mounts().items() if kind == "cgroup2")
        procs = root / self._own_cgroup / "init" / "cgroup.procs"
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(procs), *words]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """A fixed environment: what the caller's shell holds must not change a test."""
        ours = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", leftovers.VARIABLE: leftovers.mark()}
        return {**ours, **(extra or {})}

    def run(
        self,
        args: Sequence[str | os.PathLike[str]],
        *,
        timeout_s: float = 30,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the sandbox and return its output. Raises SandboxError (``check``), TimeoutExpired."""
        done = subprocess.run(
            self.command(args),
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode:
            raise SandboxError(
                f"{' '.join(map(str, args))}: exit status {done.returncode}: {done.stderr or done.stdout}"
            )
        return done

    def start(
        self,
        args: Sequence[str | os.PathLike[str]],
        *,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command in the sandbox; nsenter and sh replace themselves, so the pid is the command's."""
        return subprocess.Popen(
            self.command(args), env=self.environment(env), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )

    def cgroup_ids(self, path: str) -> dict[str, int]:
        """Inode number of this cgroup in each hierarchy of the sandbox, by mount point."""
        found = {}
        for base in supervisor.cgroup_mounts(self.pid):
            directory = self.inside(base) / path.lstrip("/")
            if directory.exists():
                found[str(base)] = directory.stat().st_ino
        return found
