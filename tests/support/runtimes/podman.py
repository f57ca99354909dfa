"""Podman, without a service: each container has a conmon; containers/storage on overlay or vfs, runc."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.support import leftovers, supervisor
from tests.support.images import Image
from tests.support.runtimes.runtime import MARK, Runtime
from tests.support.sandbox import PATH, Sandbox, find_modes

ENGINE = """\
[containers]
apparmor_profile = ""
default_ulimits = []
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "{runtime}"
conmon_env_vars = ["PATH={path}", "{variable}={mark}"]
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
STORAGE = """\
[storage]
driver = "{driver}"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"""


class Podman(Runtime):
    """Containers without a network, unless ``flags`` say otherwise."""

    name: ClassVar[str] = "podman"
    program: ClassVar[str] = "podman"
    stores: ClassVar[tuple[str, ...]] = ("containers",)

    def __init__(self, sandbox: Sandbox, *, driver: str = "overlay", runtime: str = "runc") -> None:
        super().__init__(sandbox)
        self._driver = driver
        self._runtime = runtime

    @classmethod
    def modes(cls) -> tuple[str, ...]:
        """Not `v2`: in the root of cgroup2 podman moves every process of the machine to a cgroup ``/init``."""
        return tuple(mode for mode in find_modes() if mode != "v2")

    def _start(self) -> None:
        facts = {
            "folder": self.folder,
            "driver": self._driver,
            "runtime": self._runtime,
            "path": PATH,
            "variable": leftovers.VARIABLE,
            "mark": leftovers.mark(),
        }
        for name, text in (("containers.conf", ENGINE), ("storage.conf", STORAGE)):
            (self.sandbox.inside(self.folder) / name).write_text(text.format(**facts))
        self._command = [
            "env",
            f"CONTAINERS_CONF={self.folder}/containers.conf",
            f"CONTAINERS_STORAGE_CONF={self.folder}/storage.conf",
            "podman",
        ]
        # Not one container's, so no one's to remove: whoever goes last.
        self.sandbox.announce_cgroup(f"/libpod_parent/conmon/{leftovers.mark()}")

    def _stop(self) -> None:
        """There is no daemon; but conmon starts a clean-up, which goes on for a moment after a container is removed."""
        self._wait_for(lambda: not self._find_processes(), "its clean-up")

    def _find_processes(self) -> list[int]:
        return [pid for pid in supervisor.find_members_of(self.sandbox.pid) if _read_name(pid) in ("conmon", "podman")]

    def _load_command(self, image: Image) -> list[str | Path]:
        return [*self._command, "load", "--quiet", "--input", image.archive]

    def _create(self, image: Image, args: Sequence[str], flags: Sequence[str]) -> str:
        command = [*self._command, "create", "--network=none", MARK, *flags, image.reference, *args]
        return self.sandbox.run(command).stdout.strip()

    def cgroup_path(self, identity: str) -> str:
        return f"/libpod_parent/libpod-{identity}"

    def start_commands(self, identities: Sequence[str]) -> list[list[str]]:
        return [[*self._command, "start", *identities]]

    def run_command(self, identity: str) -> list[str]:
        return [*self._command, "start", "--attach", identity]

    def exec_command(self, identity: str, args: Sequence[str]) -> list[str]:
        return [*self._command, "exec", identity, *args]

    def remove_commands(self, identities: Sequence[str]) -> list[list[str]]:
        return [[*self._command, "rm", "--force", "--volumes", "--time=0", *identities]] if identities else []

    def read_pid(self, identity: str) -> int:
        return int(self.sandbox.run([*self._command, "inspect", "--format={{.State.Pid}}", identity]).stdout)


def _read_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""  # ended
