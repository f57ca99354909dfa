"""Guard the service itself: load or take over what is pinned, know our unit, beat, let go at the end.

Only in mode enforce with tier ``lsm``, and only where ``enforcement.guards`` is on.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from monitor.bpf.guards import LET_GO_S, Guarded, Guards, list_own_objects
from monitor.bpf.libbpf import LibbpfError, open_pin
from monitor.bpf.pins import PinFolder, list_generations, read_pin_device
from monitor.config.settings import Settings
from monitor.host.cgroups import read_memberships
from monitor.host.mounts import read_mounts
from monitor.model.events import AnyEvent, GuardRefused
from monitor.rules.tiers import LSM
from monitor.runtime.errors import KernelSupportError
from monitor.shipped import get_guard_object

_LOG: Final = logging.getLogger(__name__)
FIRST_PROCESS: Final = 1


class Guarding:
    """The guards of this instance, from READY to the end; does nothing where they are off."""

    def __init__(self, settings: Settings, feed: Callable[[AnyEvent], None]) -> None:
        self._settings = settings
        self._feed = feed
        self._guards: Guards | None = None
        self._folder: PinFolder | None = None
        self._cgroups: list[Guarded] = []
        self._refused: dict[str, int] = {}
        self.obstacle = ""
        """Why nothing is guarded, when it should be."""

    @property
    def is_wanted(self) -> bool:
        """Whether the settings ask for it."""
        return self._settings.enforcement.guards and self._settings.mode == "enforce"

    @property
    def is_on(self) -> bool:
        """Whether the kernel guards us."""
        return self._guards is not None

    @property
    def refused(self) -> dict[str, int]:
        """Attempts that were refused, by what they were aimed at."""
        return {name: count for name, count in self._refused.items() if count}

    def follow(self, tier: str, *, is_pinned: bool) -> None:
        """The rules have been replaced: guard what there is now to be guarded."""
        if self.is_wanted and not self.is_on:
            self._start(tier, is_pinned=is_pinned)
        elif not self.is_wanted:
            self._remove_old(None)
        if self._guards is None:
            return
        if missing := self._guards.replace_guarded([*self._cgroups, *list_own_objects()]):
            _LOG.warning("%d of our BPF objects are not guarded: the table is full", missing)

    def _start(self, tier: str, *, is_pinned: bool) -> None:
        if tier != LSM:
            self.obstacle = f"guards need tier lsm, and this is tier {tier}"
        else:
            try:
                self._guards = self._load(is_pinned=is_pinned)
            except (LibbpfError, FileNotFoundError) as error:
                self.obstacle = f"the guards cannot be loaded: {error.strerror or error}"
        if self._guards is None:
            _LOG.warning("%s: this service is not guarded", self.obstacle)
            return
        self._guards.mark_own_process()
        self._guards.beat()
        self._refused = self._guards.read_refused()

    def _load(self, *, is_pinned: bool) -> Guards:
        guards = Guards(get_guard_object())
        folder = PinFolder(self._settings.pin_dir, guards.generation)
        try:
            if is_pinned and folder.is_complete:
                guards.adopt(folder)
            else:
                guards.load()
            self._know_places(guards, is_pinned=is_pinned)
            if is_pinned and not folder.is_complete:
                folder.remove()
                folder.pin(guards.object)
        except BaseException:
            guards.close()
            raise
        self._folder = folder if is_pinned else None
        self._remove_old(folder)
        return guards

    def _know_places(self, guards: Guards, *, is_pinned: bool) -> None:
        guards.set_bpffs(read_pin_device(self._settings.pin_dir) if is_pinned else 0)
        names = find_unit()
        guards.set_unit(names)
        if names:
            with contextlib.suppress(OSError):
                self._cgroups = _guard_cgroups(guards, names)

    def _remove_old(self, kept: PinFolder | None) -> None:
        for folder in list_generations(self._settings.pin_dir, guards=True):
            if kept is None or folder.path != kept.path:
                folder.remove()

    def on_tick(self) -> None:
        """Beat, and tell what was refused since."""
        if self._guards is None:
            return
        self._guards.beat()
        refused = self._guards.read_refused()
        for name, count in refused.items():
            if more := count - self._refused.get(name, 0):
                self._feed(GuardRefused(0, name, more))
        self._refused = refused

    def stop(self) -> None:
        """Guard no more. Whatever denies on, nobody is left who could let go."""
        if self._guards is None:
            return
        self._guards.let_go()
        if self._folder is not None:
            self._folder.remove()
        self._guards.close()
        self._guards = self._folder = None


def find_unit() -> Sequence[str]:
    """The names of our unit's cgroup, outermost first; none when the first process did not start us as a service."""
    path = read_memberships(os.getpid()).get("", "")
    if os.getppid() != FIRST_PROCESS or not path.endswith(".service"):
        return ()
    return path.strip("/").split("/")


def _guard_cgroups(guards: Guards, names: Sequence[str]) -> list[Guarded]:
    mount = next((each.point for each in read_mounts() if each.filesystem == "cgroup2"), None)
    if mount is None:
        return []
    folders = [mount.joinpath(*names[:count]) for count in range(1, len(names) + 1)]
    inodes = [folder.stat().st_ino for folder in folders]
    return guards.set_cgroups(mount.stat().st_dev, inodes[-1], inodes[:-1])


def require_unguarded(pin_dir: Path) -> None:
    """Refuse early where an earlier run's guards keep this one out.

    Raises:
        KernelSupportError: they do; it says for how long.
    """
    for folder in list_generations(pin_dir, guards=True):
        try:
            os.close(open_pin(folder.path / "map_bss"))
        except LibbpfError as error:
            if error.errno == errno.EPERM:
                raise KernelSupportError(
                    f"an earlier service is guarded ({pin_dir}), and this one was not started by systemd as that: "
                    f"wait {LET_GO_S} s after its end, or start the service (`systemctl start stockade`)"
                ) from error
