"""Find and read the rule files of some folders: bytes only, in a fixed order, bounded."""

from collections.abc import Sequence
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
        try:
            paths = _files_below(source) if source.is_dir() else [source]
        except OSError as error:
            problems.error(Location(str(source), 1, 1), f"cannot be read: {error.strerror}")
            continue
        if not source.is_dir() and not source.is_file():
            problems.error(Location(str(source), 1, 1), "no such file or folder")
            continue
        found.update(dict.fromkeys(paths))
    return list(found)


def _files_below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not (path.parent == folder and path.name in NOT_RULES)
        and path.is_file()
    )


def _read_file(path: Path, problems: Problems) -> bytes:
    """At most one byte more than a rule file may have: the reader then says that it is too large."""
    try:
        with path.open("rb") as stream:
            return stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        problems.error(Location(str(path), 1, 1), f"cannot be read: {error.strerror}")
        return b""
