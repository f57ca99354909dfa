"""Find and read the rule files of some folders: bytes only, in a fixed order, bounded.

What cannot be read is a mistake, never a rule fewer. Symbolic links to files are
followed, those to folders are not.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from monitor.model.rule import Location
from monitor.rules.errors import Problems

SUFFIXES = frozenset({".yml", ".yaml"})
FILES_MAX = 20_000
BYTES_MAX = 64 << 20
FILE_BYTES_MAX = 1 << 20
NOT_RULES = frozenset({"response.yml", "response.yaml"})
"""Files at the top of a rules folder that are something else."""


class RuleFile(Struct, frozen=True):
    """One file's bytes."""

    name: str
    """Path as it was found: what mistakes are reported with."""
    content: bytes


def read_sources(sources: Sequence[Path], problems: Problems) -> list[RuleFile]:
    """Every rule file below these folders (a source may be a file), by name; what cannot be read is a mistake."""
    files: list[RuleFile] = []
    total = 0
    for path in _find_files(sources, problems):
        content = read_file(path, problems)
        total += len(content)
        if len(files) >= FILES_MAX or total > BYTES_MAX:
            problems.error(
                Location(str(path), 1, 1), f"too many rules: {FILES_MAX:,} files, {BYTES_MAX:,} bytes at most"
            )
            break
        files.append(RuleFile(str(path), content))
    return files


def _find_files(sources: Sequence[Path], problems: Problems) -> list[Path]:
    found: dict[Path, None] = {}
    for source in sources:
        try:
            mode = source.stat().st_mode
        except OSError as error:
            problems.error(Location(str(source), 1, 1), _why_not_found(error))
            continue
        if stat.S_ISDIR(mode):
            found.update(dict.fromkeys(sorted(_files_below(source, problems))))
        else:
            found[source] = None
    return list(found)


def _why_not_found(error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file or folder"
    return f"cannot be read: {error.strerror}"


def _files_below(folder: Path, problems: Problems) -> Iterator[Path]:
    def report(error: OSError) -> None:
        problems.error(Location(str(error.filename), 1, 1), f"cannot be read: {error.strerror}")

    for parent, folders, names in os.walk(folder, onerror=report):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(parent, name).is_symlink():
                problems.warn(
                    Location(f"{parent}/{name}", 1, 1), "links to folders are not followed: name it in rules:"
                )
        for name in names:
            path = Path(parent, name)
            is_other = path.parent == folder and name in NOT_RULES
            if path.suffix in SUFFIXES and not name.startswith(".") and not is_other:
                yield path


def read_file(path: Path, problems: Problems) -> bytes:
    """At most one byte more than a rule file may have: the reader then says that it is too large.

    What is no file gives nothing and is a mistake; a pipe is not waited for.
    """
    try:
        if stat.S_ISREG(path.stat().st_mode):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as stream:
                return stream.read(FILE_BYTES_MAX + 1)
        reason = "not a file: a folder, pipe or device"
    except FileNotFoundError:
        reason = "a link that leads nowhere" if path.is_symlink() else "no such file"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    problems.error(Location(str(path), 1, 1), reason)
    return b""
