"""Start what denies so that it outlives us: take over what is pinned, else load and pin it.

Two generations may be attached for a moment: either may say no. The older one goes
once the new one has a policy in force, and what it still had to tell is read before.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from monitor.bpf.enforcement import RING_BYTES, Enforcement, EnforcementPlan
from monitor.bpf.libbpf import LibbpfError
from monitor.bpf.pins import PinError, PinFolder, list_generations, open_ring, prepare_pin_dir
from monitor.bpf.ring import RecordHandler, Ring
from monitor.bpf.syscalls import unmount

_LOG: Final = logging.getLogger(__name__)
OLD_RECORDS_MAX: Final = 1_000_000


class Pinned:
    """The pins of this instance. One object is started at most."""

    def __init__(self, pin_dir: Path) -> None:
        self._pin_dir = pin_dir
        self._folder: PinFolder | None = None
        self._has_mounted = False
        self.is_pinned = False
        self.obstacle = ""
        """Why nothing is pinned, when something should be."""

    def start(self, path: Path, plan: EnforcementPlan, earlier: Enforcement | None = None) -> Enforcement:
        """Answer an attached object, with the policy of before if it was found pinned; else it knows what ``earlier``
        knows of tasks and containers.

        Raises:
            LibbpfError: the kernel refused.
        """
        try:
            self._has_mounted = prepare_pin_dir(self._pin_dir)
        except PinError as error:
            self.obstacle = str(error.strerror)
            _LOG.warning("%s: denial ends when this service does", self.obstacle)
            return _start_anew(path, plan, earlier)
        enforcement = self._adopt(path, plan) or _start_anew(path, plan, earlier)
        if not self.is_pinned:
            self._pin(enforcement)
        return enforcement

    def _adopt(self, path: Path, plan: EnforcementPlan) -> Enforcement | None:
        enforcement = Enforcement(path, plan)
        folder = PinFolder(self._pin_dir, enforcement.generation)
        if folder.is_complete:
            try:
                enforcement.adopt(folder)
            except LibbpfError as error:
                _LOG.warning(
                    "what is pinned at %s cannot be taken over (%s): loading anew", folder.path, error.strerror
                )
            else:
                self._folder, self.is_pinned = folder, True
                _LOG.info("took over what denied at %s", folder.path)
                return enforcement
        enforcement.close()
        return None

    def _pin(self, enforcement: Enforcement) -> None:
        folder = PinFolder(self._pin_dir, enforcement.generation)
        try:
            folder.remove()  # half made, or not to be taken over
            folder.pin(enforcement.object)
        except OSError as error:
            self.obstacle = f"nothing can be pinned at {self._pin_dir}: {error.strerror}"
            _LOG.warning("%s: denial ends when this service does", self.obstacle)
        else:
            self._folder, self.is_pinned = folder, True

    def follow(self, other: "Pinned") -> None:
        """Come after another one of the same folder: what it mounted is ours to unmount."""
        self._has_mounted |= other._has_mounted

    def retire(self, handle: RecordHandler) -> None:
        """End every other generation, and read what it had to tell."""
        for folder in list_generations(self._pin_dir):
            if self._folder is None or folder.path != self._folder.path:
                _retire(folder, handle)

    def remove(self) -> None:
        """Unpin ours."""
        if self._folder is not None:
            self._folder.remove()
        self._folder, self.is_pinned = None, False

    def close(self) -> None:
        """Unmount what we mounted, unless something stays pinned in it."""
        if self._has_mounted and not self.is_pinned:
            with contextlib.suppress(OSError):
                unmount(self._pin_dir)
            self._has_mounted = False


def detach_all(pin_dir: Path) -> int:
    """End whatever is pinned there; answers how many generations there were.

    Raises:
        PermissionError: the guards of an earlier run do not let us, yet.
    """
    folders = [*list_generations(pin_dir, guards=True), *list_generations(pin_dir)]
    for folder in folders:
        folder.remove()
    return len(folders)


def _start_anew(path: Path, plan: EnforcementPlan, earlier: Enforcement | None) -> Enforcement:
    enforcement = Enforcement(path, plan)
    try:
        enforcement.load(earlier)
        enforcement.attach()
    except BaseException:
        enforcement.close()
        raise
    return enforcement


def _retire(folder: PinFolder, handle: Callable[[memoryview, int, int], None]) -> None:
    """The ring is opened first, and read when nobody writes any more."""
    _LOG.info("what denied at %s is ended", folder.path)
    with contextlib.ExitStack() as stack:
        ring = None
        with contextlib.suppress(OSError, ValueError):
            fd = open_ring(folder)
            stack.callback(os.close, fd)
            ring = Ring(fd, RING_BYTES)
            stack.callback(ring.close)
        folder.remove()
        if ring is not None:
            ring.drain(handle, OLD_RECORDS_MAX)
