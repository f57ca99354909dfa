"""The containers that we froze, and until when: in memory and in a file that a crash outlives.

The file is written before a container is frozen, whole and at once. It is read as
hostile input: ours alone may have written it, everything in it is typed and bounded, and
of another boot nothing holds (a freezer's state dies with the kernel).
"""

import contextlib
import logging
import os
import stat
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from monitor.model.ids import CgroupId
from monitor.model.responses import FrozenContainer

_LOG: Final = logging.getLogger(__name__)
FILE_NAME: Final = "frozen.json"
FILE_BYTES_MAX: Final = 4 << 20
ENTRIES_MAX: Final = 1_024

Text = Annotated[str, Meta(max_length=4_096)]
Name = Annotated[str, Meta(min_length=1, max_length=4_096)]
Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class _Entry(Struct, frozen=True, forbid_unknown_fields=True):
    container_id: Name
    name: Text
    cgroup_id: Number
    freezer_id: Number
    since_boottime_ns: Number
    until_boottime_ns: Number
    reason: Text


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    boot_id: Text
    frozen: Annotated[list[_Entry], Meta(max_length=ENTRIES_MAX)]


class FrozenBook:
    """Changed by one thread, read by any."""

    def __init__(self, folder: Path, boot_id: str) -> None:
        self._folder = folder
        self._boot_id = boot_id
        self._entries: dict[str, FrozenContainer] = {}
        self.entries: tuple[FrozenContainer, ...] = ()
        """As of now; replaced, never changed."""
        self.save_error = ""
        """Why the file is not as it should be; empty when it is."""

    def find(self, container_id: str) -> FrozenContainer | None:
        """The entry of a container that we froze."""
        return self._entries.get(container_id)

    def add(self, entry: FrozenContainer) -> None:
        """Add or replace. Raises ``ValueError`` when there are too many."""
        if entry.container_id not in self._entries and len(self._entries) >= ENTRIES_MAX:
            raise ValueError(f"{ENTRIES_MAX} containers are frozen already")
        self._entries[entry.container_id] = entry
        self._save()

    def remove(self, container_id: str) -> None:
        """Forget; unknown is fine."""
        if self._entries.pop(container_id, None) is not None:
            self._save()

    def find_due(self, now_boottime_ns: int) -> list[FrozenContainer]:
        """Those whose time is over."""
        return [entry for entry in self.entries if 0 < entry.until_boottime_ns <= now_boottime_ns]

    def load(self) -> None:
        """Read what an earlier run left. What cannot be believed is said and left out."""
        try:
            content = _read_own(self._folder / FILE_NAME)
        except FileNotFoundError:
            return
        except OSError as error:
            _LOG.error("%s cannot be read: %s; containers frozen earlier stay so", FILE_NAME, error.strerror)
            return
        try:
            if content is None:
                raise ValueError("it is not a file of ours alone, or too long")
            found = msgspec.json.decode(content, type=_File)
        except (ValueError, RecursionError) as error:
            _LOG.error("%s/%s is not believed: %s; containers frozen earlier stay so", self._folder, FILE_NAME, error)
            return
        if found.boot_id == self._boot_id:
            self._entries = {each.container_id: _to_container(each) for each in found.frozen}
            self.entries = tuple(self._entries.values())

    def _save(self) -> None:
        self.entries = tuple(self._entries.values())
        entries = [_Entry(**entry._asdict()) for entry in self.entries]
        content = msgspec.json.format(msgspec.json.encode(_File(self._boot_id, entries)), indent=1)
        try:
            _replace(self._folder / FILE_NAME, content)
            self.save_error = ""
        except OSError as error:
            self.save_error = f"{self._folder / FILE_NAME}: {error.strerror}"
            _LOG.error("%s: after a crash nobody would thaw what is frozen now", self.save_error)


def _to_container(entry: _Entry) -> FrozenContainer:
    facts = msgspec.structs.asdict(entry)
    return FrozenContainer(**facts | {"cgroup_id": CgroupId(entry.cgroup_id), "freezer_id": CgroupId(entry.freezer_id)})


def _read_own(path: Path) -> bytes | None:
    """The content, if the file is ours and nobody else can write it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        facts = os.fstat(descriptor)
        is_ours = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022
        return stream.read(FILE_BYTES_MAX) if is_ours and facts.st_size <= FILE_BYTES_MAX else None


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and on the disk before this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
