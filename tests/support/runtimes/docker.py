"""Docker: dockerd over a containerd of its own, as Debian's units start them; overlay2, runc."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.support.images import Image
from tests.support.runtimes.containerd import SOCKET as CONTAINERD_SOCKET
from tests.support.runtimes.containerd import ContainerdDaemon
from tests.support.runtimes.daemon import Daemon
from tests.support.runtimes.runtime import MARK, Runtime
from tests.support.sandbox import find_modes

CLIENT = "/usr/bin/docker"
"""Debian's, whatever a PATH has before it."""
NO_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")


class Docker(Runtime):
    """Containers without a network, unless ``flags`` say otherwise."""

    name: ClassVar[str] = "docker"
    program: ClassVar[str] = "dockerd"
    stores: ClassVar[tuple[str, ...]] = ("docker", "containerd")
    containerd: ContainerdDaemon
    dockerd: Daemon

    @classmethod
    def modes(cls) -> tuple[str, ...]:
        return find_modes()

    def _start(self) -> None:
        self.containerd = ContainerdDaemon(self.sandbox, self.folder)
        self._wait_for(self.containerd.is_ready, CONTAINERD_SOCKET)
        folder = self.folder
        command: list[str | Path] = [
            *("dockerd", "--host=unix:///run/docker.sock", "--group=root"),
            *(f"--containerd={CONTAINERD_SOCKET}", "--storage-driver=overlay2", *NO_NETWORK),
            f"--config-file={folder}/daemon.json",
        ]
        (self.sandbox.inside(folder) / "daemon.json").write_text(
            json.dumps({"deprecated-key-path": f"{folder}/key.json"})
        )
        self.dockerd = Daemon(self.sandbox, command, self.sandbox.inside(folder) / "dockerd.log")
        self._wait_for(self._is_ready, "/run/docker.sock")

    def _is_ready(self) -> bool:
        self.dockerd.check_alive()
        return self.sandbox.run([CLIENT, "version"], check=False).returncode == 0

    def _stop(self) -> None:
        self.dockerd.stop()
        self.containerd.stop()

    def _load_command(self, image: Image) -> list[str | Path]:
        return [CLIENT, "load", "--quiet", "--input", image.archive]

    def _create(self, image: Image, args: Sequence[str], flags: Sequence[str]) -> str:
        command = [CLIENT, "create", "--network=none", MARK, *flags, image.reference, *args]
        return self.sandbox.run(command).stdout.strip()

    def cgroup_path(self, identity: str) -> str:
        return f"/docker/{identity}"

    def start_commands(self, identities: Sequence[str]) -> list[list[str]]:
        return [[CLIENT, "start", *identities]]

    def run_command(self, identity: str) -> list[str]:
        return [CLIENT, "start", "--attach", identity]

    def exec_command(self, identity: str, args: Sequence[str]) -> list[str]:
        return [CLIENT, "exec", identity, *args]

    def remove_commands(self, identities: Sequence[str]) -> list[list[str]]:
        return [[CLIENT, "rm", "--force", "--volumes", *identities]] if identities else []

    def read_pid(self, identity: str) -> int:
        return int(self.sandbox.run([CLIENT, "inspect", "--format={{.State.Pid}}", identity]).stdout)
