"""What outlives the service: the pins of one generation of an object, in a folder of a bpffs.

::

    PIN_DIR/GENERATION/map_NAME    every map, those of variables too
    PIN_DIR/GENERATION/link_NAME   every attached program
    PIN_DIR/GENERATION/complete    a folder, made last: without it the generation is half made

A generation's name says what was loaded; one that is the same can be taken over.
A bpffs takes no dots in names.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from monitor.bpf.features import probe_bpffs
from monitor.bpf.libbpf import BpfObject, open_pin
from monitor.bpf.syscalls import mount_bpffs, read_filesystem_magic

BPF_FS_MAGIC: Final = 0xCAFE4A11
GUARDS: Final = "guards_"
"""Begins the names of generations of guards; the others deny."""
_COMPLETE: Final = "complete"
_MAP: Final = "map_"
_LINK: Final = "link_"
_SECTIONS_LEFT_OUT: Final = (".rodata",)
"""Settings of the loaded programs: nobody else reads them."""


class PinError(OSError):
    """Nothing can be pinned there; denial then ends with the service."""


class PinFolder:
    """The folder of one generation."""

    def __init__(self, pin_dir: Path, generation: str) -> None:
        self.path = pin_dir / generation

    @property
    def is_complete(self) -> bool:
        """Whether everything was pinned."""
        return (self.path / _COMPLETE).is_dir()

    def pin(self, bpf_object: BpfObject) -> None:
        """Pin all maps and all links of a loaded and attached object.

        Raises:
            LibbpfError, OSError: the kernel refused; what was pinned so far is removed.
        """
        self.path.mkdir(mode=0o700)
        try:
            for name in _pinned_maps(bpf_object):
                bpf_object.pin_map(name, self.path / (_MAP + name.lstrip(".")))
            for name in bpf_object.attached:
                bpf_object.pin_link(name, self.path / (_LINK + name))
            (self.path / _COMPLETE).mkdir(mode=0o700)
        except OSError:
            self.remove()
            raise

    def adopt(self, bpf_object: BpfObject) -> None:
        """Take all that is pinned over into an object that was not loaded.

        Raises:
            LibbpfError: a pin is missing or of another kind.
        """
        for name in _pinned_maps(bpf_object):
            bpf_object.adopt_map(name, self.path / (_MAP + name.lstrip(".")))
        for pin in self.path.glob(f"{_LINK}*"):
            bpf_object.adopt_link(pin.name.removeprefix(_LINK), pin)
        bpf_object.share()

    def remove(self) -> None:
        """Unpin: what nobody else holds ends with that. Links first, so that no program runs without its maps."""
        with contextlib.suppress(FileNotFoundError):
            _remove(self.path)


def _remove(folder: Path) -> None:
    """A folder of pins, whoever made it: the bpffs is ours."""
    for pin in sorted(folder.iterdir(), key=lambda path: not path.name.startswith(_LINK)):
        if pin.is_dir() and not pin.is_symlink():
            _remove(pin)
        else:
            pin.unlink()
    folder.rmdir()


def prepare_pin_dir(pin_dir: Path) -> bool:
    """Make sure that there is a bpffs; answers whether it was mounted here.

    Raises:
        PinError: there is none, and none can be mounted.
    """
    try:
        pin_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if read_filesystem_magic(pin_dir) == BPF_FS_MAGIC:
            return False
        mount_bpffs(pin_dir)
    except OSError as error:
        raise PinError(
            error.errno or errno.EIO, f"no bpffs at {pin_dir}, and none can be mounted: {error.strerror}"
        ) from error
    return True


def find_pin_obstacle(pin_dir: Path) -> str:
    """Why nothing could be pinned there, as far as can be told without changing anything; empty when it could."""
    place = next(path for path in (pin_dir, *pin_dir.parents) if os.path.lexists(path))
    if not place.is_dir():
        return f"no bpffs at {pin_dir}, and none can be mounted: {place} is no folder"
    if place == pin_dir and read_filesystem_magic(pin_dir) == BPF_FS_MAGIC:
        return ""
    probe = probe_bpffs()
    return "" if probe else f"no bpffs at {pin_dir}, and none can be mounted: {probe.reason}"


def read_pin_device(pin_dir: Path) -> int:
    """``st_dev`` of the bpffs."""
    return pin_dir.stat().st_dev


def list_generations(pin_dir: Path, *, guards: bool = False) -> list[PinFolder]:
    """All that is pinned of what denies, or of the guards, oldest first; empty where there is no bpffs."""
    try:
        if read_filesystem_magic(pin_dir) != BPF_FS_MAGIC:
            return []
        found = [path for path in pin_dir.iterdir() if path.is_dir() and path.name.startswith(GUARDS) is guards]
        folders = sorted(found, key=lambda path: path.stat().st_mtime_ns)
    except OSError:
        return []
    return [PinFolder(pin_dir, path.name) for path in folders]


def open_ring(folder: PinFolder) -> int:
    """Descriptor of a generation's ring of denials, to read what is left in it.

    Raises:
        LibbpfError: there is none.
    """
    return open_pin(folder.path / f"{_MAP}events_urgent")


def _pinned_maps(bpf_object: BpfObject) -> list[str]:
    return [name for name in bpf_object.map_names() if name not in _SECTIONS_LEFT_OUT]
