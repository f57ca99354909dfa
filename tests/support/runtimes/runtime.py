"""What docker, containerd and podman have in common for a test: images in, containers that run.

A runtime finds its places as hosts have them: sockets and what runs in the sandbox's private /run, images and
containers in a /var/lib that is the sandbox's too, over a new folder on this machine's disk. Its containers' cgroups
are announced to the sandbox, so that they are removed however the test ends, and its containers' environment bears the
mark of the test run (:mod:`tests.support.leftovers`).
"""

import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.support import leftovers, supervisor
from tests.support.images import Image
from tests.support.sandbox import PATH, Sandbox, SandboxError

READY_WAIT_S = 30.0
START_WAIT_S = 60.0
MARK = f"--env={leftovers.VARIABLE}={leftovers.mark()}"
"""An option of each container."""
_OWN_VAR_LIB = """
kept=/run/var-lib-of-the-machine
mountpoint -q $kept && exit
mkdir $kept
mount --bind /var/lib $kept
mount -t tmpfs -o mode=755 tmpfs /var/lib
ln -s -t /var/lib $kept/*
"""
_OWN_STORE = """
rm -f "$0"
mkdir "$0" "$1"
mount --bind "$1" "$0"
mount --make-private "$0"
"""
"""``sh -c``: the store's place; the folder that it is."""


class Runtime(ABC):
    """A context manager: the runtime is at work, with a store of its own, until the end of the block."""

    name: ClassVar[str]
    """As the product calls it."""
    program: ClassVar[str]
    """Whose version is meant."""
    stores: ClassVar[tuple[str, ...]]
    """Folders of /var/lib that are its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.folder = Path()
        """What lies below :attr:`stores`, its settings and its logs, by its name in the sandbox. A tmpfs there where
        the machine's temporary folder is on an overlay, which cannot have another over it."""
        self._containers: list[Container] = []

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which(cls.program, path=PATH) is not None

    @classmethod
    def modes(cls) -> tuple[str, ...]:
        """Cgroup modes that it can have on this machine."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="stockade-"))
        try:
            self._mount_folder()
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.remove(*self._containers)
        finally:
            self._end()

    def _end(self) -> None:
        self._stop()
        for store in self.stores:
            self.sandbox.run(["umount", "--recursive", "--lazy", f"/var/lib/{store}"], check=False)
        shutil.rmtree(self.folder)

    def _mount_folder(self) -> None:
        self.sandbox.run(["sh", "-ec", _OWN_VAR_LIB])
        found = self.sandbox.run(["stat", "--file-system", "--format=%T", self.folder]).stdout.strip()
        if found == "overlayfs":
            self.sandbox.run(["mount", "-t", "tmpfs", "tmpfs", self.folder])
        for store in self.stores:
            self.sandbox.run(["sh", "-ec", _OWN_STORE, f"/var/lib/{store}", str(self.folder / store)])

    def read_version(self) -> str:
        return self.sandbox.run([self.program, "--version"]).stdout.strip()

    def load(self, image: Image) -> None:
        """Take an image from its archive."""
        self.sandbox.run(self._load_command(image), timeout_s=60)

    def create(self, image: Image, *args: str, flags: Sequence[str] = ()) -> "Container":
        """Make a container that does not run yet; ``flags`` as the runtime's own command has them."""
        identity = self._create(image, args, flags)
        container = Container(self, identity)
        self._containers.append(container)
        return container

    def run(
        self, image: Image, *args: str, flags: Sequence[str] = (), check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a container's only process; the container is removed."""
        container = self.create(image, *args, flags=flags)
        try:
            return container.run(check=check)
        finally:
            container.remove()

    def start(self, *containers: "Container") -> None:
        """Have them run, with as few commands as the runtime needs; returns when their programs do."""
        for container in containers:
            self.sandbox.announce_cgroup(container.cgroup_path)
        for command in self.start_commands([container.id for container in containers]):
            self.sandbox.run(command, timeout_s=START_WAIT_S)

    def remove(self, *containers: "Container") -> None:
        """End and remove them."""
        for command in self.remove_commands([container.id for container in containers]):
            self.sandbox.run(command, check=False, timeout_s=START_WAIT_S)
        self._containers = [each for each in self._containers if each not in containers]

    def _wait_for(self, is_ready: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + READY_WAIT_S
        while not is_ready():
            if time.monotonic() > end:
                raise SandboxError(f"{self.name}: {what} is not ready after {READY_WAIT_S:.0f} s")
            time.sleep(0.02)

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _stop(self) -> None: ...

    @abstractmethod
    def _load_command(self, image: Image) -> list[str | Path]: ...

    @abstractmethod
    def _create(self, image: Image, args: Sequence[str], flags: Sequence[str]) -> str:
        """Answers the container's id."""

    @abstractmethod
    def cgroup_path(self, identity: str) -> str:
        """Of a container, as the sandbox shows it."""

    @abstractmethod
    def start_commands(self, identities: Sequence[str]) -> list[list[str]]: ...

    @abstractmethod
    def run_command(self, identity: str) -> list[str]:
        """Starts it and stays until its end, with its output and exit status."""

    @abstractmethod
    def exec_command(self, identity: str, args: Sequence[str]) -> list[str]: ...

    @abstractmethod
    def remove_commands(self, identities: Sequence[str]) -> list[list[str]]:
        """What ends and removes them, in this order; each may find nothing to do."""

    @abstractmethod
    def read_pid(self, identity: str) -> int:
        """Of its first process, as the host sees it."""


class Container:
    """A container of some runtime, running or not."""

    def __init__(self, runtime: Runtime, identity: str) -> None:
        self.runtime = runtime
        self.id = identity
        self.cgroup_path = runtime.cgroup_path(identity)

    @property
    def pid(self) -> int:
        return self.runtime.read_pid(self.id)

    def wait_for_program(self, name: str) -> None:
        """Wait until a process of its runs this: the runtime's command returns a moment before. Raises SandboxError."""
        end = time.monotonic() + READY_WAIT_S
        while name not in (found := self._list_programs()):
            if time.monotonic() > end:
                raise SandboxError(
                    f"{self.runtime.name} container {self.id[:12]} runs {found or 'nothing'}, not {name}"
                )
            time.sleep(0.01)

    def _list_programs(self) -> list[str]:
        mounts = supervisor.cgroup_mounts(self.runtime.sandbox.pid)
        folders = (self.runtime.sandbox.inside(base) / self.cgroup_path.lstrip("/") for base in mounts)
        folder = next((folder for folder in folders if folder.exists()), None)
        pids = supervisor.read_members([folder]) if folder else ()
        return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids]

    def start(self) -> None:
        """Have it run; returns when its program does."""
        self.runtime.start(self)

    def run(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Have it run to its end; its output and exit status."""
        self.runtime.sandbox.announce_cgroup(self.cgroup_path)
        return self.runtime.sandbox.run(self.runtime.run_command(self.id), check=check, timeout_s=START_WAIT_S)

    def exec(self, *args: str, check: bool = True, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a command in it and wait for that."""
        command = self.runtime.exec_command(self.id, args)
        return self.runtime.sandbox.run(command, check=check, timeout_s=timeout_s)

    def remove(self) -> None:
        """End and remove it."""
        self.runtime.remove(self)
