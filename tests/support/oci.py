"""Containers of runc and crun, run as the runtimes are run everywhere: a bundle and its ``config.json``.

Each container has an overlay of its own over the shared root file system, in the sandbox's private
mount namespace: what a test writes in it is gone with it, and is "new since the image" to the kernel.

Runtimes refuse what a host's root lacks the privilege for. :func:`build_spec` asks for no more than
this machine gives: no resource limits, no ``oom_score_adj``, no capability outside our own set, and
(crun on cgroup2 without CAP_SYS_RESOURCE, since it raises RLIMIT_MEMLOCK to load its device program)
no device rules.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.support import leftovers
from tests.support.leftovers import new_id
from tests.support.sandbox import CAP_SYS_RESOURCE, PATH, Sandbox, SandboxError, find_modes, has_capability

CAPABILITIES = (
    *("CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD"),
    *(
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ),
)
"""Docker's default set."""

STATE = Path("/run/stockade-test")
"""In the sandbox: bundles, overlays and the runtimes' own state, on its private tmpfs."""

START_WAIT_S = 20.0


def find_runtimes() -> tuple[str, ...]:
    """Which of runc and crun are installed."""
    return tuple(name for name in ("runc", "crun") if shutil.which(name, path=PATH))


def supports(runtime: str, mode: str) -> bool:
    """crun refuses hybrid hosts ("cgroups in hybrid mode not supported")."""
    return not (runtime == "crun" and mode == "hybrid")


def find_combinations() -> tuple[tuple[str, str], ...]:
    """Each container runtime in each cgroup mode that it has on this machine."""
    return tuple((name, mode) for mode in find_modes() for name in find_runtimes() if supports(name, mode))


def free_name() -> str:
    """Of a container or a cgroup, as somebody might choose it: nothing in it tells of a runtime."""
    return f"a-free-name-{leftovers.mark()}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a container shall be, apart from its command."""

    cgroup_path: str = ""
    """Absolute; empty: ``/docker/ID``, the commonest shape."""
    id: str = ""
    """Empty: a new 64-digit one."""
    capabilities: tuple[str, ...] = CAPABILITIES
    env: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")
    uid: int = 0
    cwd: str = "/"
    is_overlay: bool = True
    """False: the root is the folder itself, which the container then writes to."""
    binds: tuple[tuple[str, str], ...] = ()
    """(source in the sandbox, target in the container)."""


def wish_below(parent: str) -> Wish:
    """A container in another cgroup than docker's."""
    identifier = new_id()
    return Wish(id=identifier, cgroup_path=f"/{parent}/{identifier}")


def build_spec(runtime: str, mode: str, args: Sequence[str], wish: Wish) -> dict[str, Any]:
    """An OCI runtime configuration (runtime-spec 1.0.2) within this machine's privileges."""
    is_cgroup2 = mode in ("v2", "v2ns")
    no_device_program = runtime == "crun" and is_cgroup2 and not has_capability(CAP_SYS_RESOURCE)
    namespaces = ["pid", "network", "ipc", "uts", "mount", *(["cgroup"] if is_cgroup2 else [])]
    return {
        "ociVersion": "1.0.2",
        "hostname": "container",
        "root": {"path": "rootfs", "readonly": False},
        "process": {
            "terminal": False,
            "user": {"uid": wish.uid, "gid": wish.uid},
            "args": list(args),
            "env": list(wish.env),
            "cwd": wish.cwd,
            "capabilities": {kind: list(wish.capabilities) for kind in ("bounding", "effective", "permitted")},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666"],
            },
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            *(
                {"destination": target, "type": "bind", "source": source, "options": ["rbind", "rw"]}
                for source, target in wish.binds
            ),
        ],
        "linux": {
            "cgroupsPath": wish.cgroup_path,
            "namespaces": [{"type": kind} for kind in namespaces],
            "resources": {"devices": [] if no_device_program else [{"allow": False, "access": "rwm"}]},
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
        },
    }


class Container:
    """A running container; its first process is whatever was asked for."""

    def __init__(self, sandbox: Sandbox, runtime: str, wish: Wish, process: subprocess.Popen[bytes]) -> None:
        self.sandbox = sandbox
        self.runtime = runtime
        self.id = wish.id
        self.cgroup_path = wish.cgroup_path
        self._process = process
        self._wish = wish

    @property
    def pid(self) -> int:
        """Of the first process, as the host sees it."""
        return int(self.sandbox.inside(_folder(self.id) / "pid").read_text())

    def exec(self, *args: str, check: bool = True, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a command in the container and wait for it. ``args`` may hold any text but NUL."""
        return self.sandbox.run(self._exec_command(args), check=check, timeout_s=timeout_s)

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Run a command in the container without waiting (end and reap it, or let the container's end do so)."""
        return self.sandbox.start(self._exec_command(args))

    def _exec_command(self, args: Sequence[str]) -> list[str]:
        return [*_runtime_command(self.runtime), "exec", self.id, *args]

    def root(self, path: str) -> Path:
        """The outside name of a path in the container's root file system."""
        return self.sandbox.inside(_folder(self.id) / "rootfs" / path.lstrip("/"))

    def wait_running(self) -> None:
        end = time.monotonic() + START_WAIT_S
        while True:
            shown = self.sandbox.run([*_runtime_command(self.runtime), "state", self.id], check=False)
            if shown.returncode == 0 and json.loads(shown.stdout)["status"] == "running":
                return
            if self._process.poll() is not None or time.monotonic() > end:
                log = self.sandbox.inside(_folder(self.id) / "log").read_text(errors="backslashreplace")
                raise SandboxError(f"{self.runtime} did not start container {self.id[:12]}: {log}")
            time.sleep(0.01)

    def kill_runtime(self) -> None:
        """Kill the runtime's process, not the container's: what a crash of it leaves behind."""
        self._process.kill()
        self._process.wait(START_WAIT_S)

    def stop(self) -> None:
        """Kill every process of the container and wait for the runtime."""
        self.sandbox.run([*_runtime_command(self.runtime), "kill", "--all", self.id, "KILL"], check=False)
        self._process.wait(START_WAIT_S)


@contextmanager
def start_container(
    sandbox: Sandbox,
    runtime: str,
    rootfs: Path,
    *args: str,
    wish: Wish = Wish(),
) -> Iterator[Container]:
    """Run a command as a container's first process, in the background, until the end of the block."""
    wish = _complete(wish)
    _prepare(sandbox, runtime, rootfs, args or ("sleep", "3600"), wish)
    with sandbox.inside(_folder(wish.id) / "log").open("wb") as log:
        process = sandbox.start(_run_command(runtime, wish), stdout=log, stderr=log)
    container = Container(sandbox, runtime, wish, process)
    try:
        container.wait_running()
        yield container
    finally:
        container.stop()
        _remove(sandbox, wish)


def run_container(
    sandbox: Sandbox,
    runtime: str,
    rootfs: Path,
    *args: str,
    wish: Wish = Wish(),
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command as a container's only process and return its output."""
    wish = _complete(wish)
    _prepare(sandbox, runtime, rootfs, args, wish)
    try:
        return sandbox.run(_run_command(runtime, wish), check=check)
    finally:
        _remove(sandbox, wish)


def _complete(wish: Wish) -> Wish:
    identifier = wish.id or new_id()
    return replace(wish, id=identifier, cgroup_path=wish.cgroup_path or f"/docker/{identifier}")


def _folder(identifier: str) -> Path:
    return STATE / identifier


def _runtime_command(runtime: str) -> list[str]:
    return [runtime, f"--root={STATE / runtime}"]


def _run_command(runtime: str, wish: Wish) -> list[str]:
    folder = _folder(wish.id)
    return [*_runtime_command(runtime), "run", f"--bundle={folder}", f"--pid-file={folder / 'pid'}", wish.id]


def _prepare(sandbox: Sandbox, runtime: str, rootfs: Path, args: Sequence[str], wish: Wish) -> None:
    folder = _folder(wish.id)
    for name in ("rootfs", "upper", "work"):
        sandbox.inside(folder / name).mkdir(parents=True)
    layers = f"lowerdir={rootfs},upperdir={folder}/upper,workdir={folder}/work"
    kind = ["-t", "overlay", "overlay", "-o", layers] if wish.is_overlay else ["--bind", rootfs]
    sandbox.run(["mount", *kind, folder / "rootfs"])
    spec = build_spec(runtime, sandbox.mode, args, wish)
    sandbox.inside(folder / "config.json").write_text(json.dumps(spec), errors="surrogateescape")
    sandbox.announce_cgroup(wish.cgroup_path)


def _remove(sandbox: Sandbox, wish: Wish) -> None:
    """Give the tmpfs its space back; the rest goes with the sandbox, which may be gone already."""
    sandbox.run(["umount", "--lazy", _folder(wish.id) / "rootfs"], check=False)
    sandbox.run(["rm", "-rf", _folder(wish.id)], check=False)
