"""Find and read the rule files of some folders: bytes only, in a fixed order, bounded.

What cannot be read is a mistake, never a rule fewer. Symbolic links to files are
followed, those to folders are not.
"""

import os
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
        content = _read_file(path, problems)
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
        if source.is_dir():
            found.update(dict.fromkeys(sorted(_files_below(source, problems))))
        elif source.is_file():
            found[source] = None
        else:
            problems.error(Location(str(source), 1, 1), "no such file or folder")
    return list(found)


def _files_below(folder: Path, problems: Problems) -> Iterator[Path]:
    def report(error: OSError) -> None:
        problems.error(Location(str(error.filename), 1, 1), f"cannot be read: {error.strerror}")

    for parent, folders, names in os.walk(folder, onerror=report):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if path.suffix not in SUFFIXES or name.startswith(".") or (path.parent == folder and name in NOT_RULES):
                continue
            if path.is_file():
                yield path
            else:
                problems.error(Location(str(path), 1, 1), "not a file: a link that leads nowhere, or a device")


def _read_file(path: Path, problems: Problems) -> bytes:
    """At most one byte more than a rule file may have: the reader then says that it is too large."""
    try:
        with path.open("rb") as stream:
            return stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        problems.error(Location(str(path), 1, 1), f"cannot be read: {error.strerror}")
        return b""
