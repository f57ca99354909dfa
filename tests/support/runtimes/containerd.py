"""containerd with its own client, ``ctr``: the daemon, its shims, overlayfs snapshots, runc."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.support.images import Image
from tests.support.leftovers import new_id
from tests.support.runtimes.daemon import Daemon
from tests.support.runtimes.runtime import MARK, Runtime
from tests.support.sandbox import Sandbox, find_modes

SOCKET = "/run/containerd/containerd.sock"
SETTINGS = """\
version = 2
# The one makes folders in /opt, the other serves a kubelet.
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.grpc.v1.cri"]
"""
NO_SHARES = ("--cpu-shares=0",)
"""The default needs a controller that cgroup2 may not have."""
_exec_ids = itertools.count()


class ContainerdDaemon:
    """The daemon alone: docker uses one, too."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self._sandbox = sandbox
        settings = sandbox.inside(folder) / "containerd.toml"
        settings.write_text(SETTINGS)
        command = ["containerd", "--config", folder / "containerd.toml"]
        self._daemon = Daemon(sandbox, command, sandbox.inside(folder) / "containerd.log")
        self.kill, self.stop = self._daemon.kill, self._daemon.stop

    def is_ready(self) -> bool:
        self._daemon.check_alive()
        return self._sandbox.run(["ctr", "--connect-timeout=1s", "version"], check=False).returncode == 0


class Containerd(Runtime):
    """Containers of ``ctr``, in its namespace ``default``."""

    name: ClassVar[str] = "containerd"
    program: ClassVar[str] = "containerd"
    stores: ClassVar[tuple[str, ...]] = ("containerd",)
    daemon: ContainerdDaemon

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._wishes: dict[str, tuple[list[str], list[str]]] = {}
        """Of a container: options and image; its program."""

    @classmethod
    def modes(cls) -> tuple[str, ...]:
        return find_modes()

    def _start(self) -> None:
        self.daemon = ContainerdDaemon(self.sandbox, self.folder)
        self._wait_for(self.daemon.is_ready, SOCKET)

    def _stop(self) -> None:
        self.daemon.stop()

    def _load_command(self, image: Image) -> list[str | Path]:
        return ["ctr", "images", "import", image.archive]

    def _create(self, image: Image, args: Sequence[str], flags: Sequence[str]) -> str:
        """Only noted: ``ctr containers create`` takes options of the program for its own."""
        identity = new_id()
        self._wishes[identity] = ([MARK, *NO_SHARES, *flags, image.reference], list(args))
        return identity

    def cgroup_path(self, identity: str) -> str:
        return f"/default/{identity}"

    def start_commands(self, identities: Sequence[str]) -> list[list[str]]:
        return [self._start_command(identity, "--detach") for identity in identities]

    def run_command(self, identity: str) -> list[str]:
        return self._start_command(identity)

    def _start_command(self, identity: str, *options: str) -> list[str]:
        flags, args = self._wishes[identity]
        return ["ctr", "run", *options, *flags, identity, *args]

    def exec_command(self, identity: str, args: Sequence[str]) -> list[str]:
        return ["ctr", "tasks", "exec", f"--exec-id=exec{next(_exec_ids)}", identity, *args]

    def remove_commands(self, identities: Sequence[str]) -> list[list[str]]:
        tasks = [["ctr", "tasks", "delete", "--force", *identities], ["ctr", "containers", "delete", *identities]]
        return tasks if identities else []

    def read_pid(self, identity: str) -> int:
        shown = self.sandbox.run(["ctr", "tasks", "list"]).stdout.splitlines()
        return next(int(line.split()[1]) for line in shown if line.startswith(identity))
