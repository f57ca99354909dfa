"""Keep what was read from rule files, so that a start with known files needs neither YAML nor pySigma.

One msgpack file. Its key covers every byte of every rule file, our own reading
code, and the versions of the libraries that take part; its types are checked
when it is read. A file that is damaged, foreign or writable by others is not
believed: the rules are read again, and the file replaced.
"""

import contextlib
import hashlib
import importlib.util
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from monitor.rules.ir import RuleBook
from monitor.rules.source_files import RuleFile

SCHEMA_VERSION = 1
FILE_NAME = "rules.msgpack"
FILE_BYTES_MAX = 256 << 20


class _Cached(Struct, frozen=True):
    key: str
    book: RuleBook


def build_key(files: Sequence[RuleFile]) -> str:
    """Digest of all that decides what reading these files gives."""
    digest = hashlib.sha256(f"stockade rules {SCHEMA_VERSION}\n".encode())
    for name, content in (*_library_versions(), *_own_sources()):
        _add(digest, name, content)
    for file in files:
        _add(digest, file.name, file.content)
    return digest.hexdigest()


def load_cached(folder: Path, key: str) -> RuleBook | None:
    """The book of this key; None when the folder has none that can be believed."""
    try:
        content = _read_own(folder / FILE_NAME)
        if content is None:
            return None
        cached = msgspec.msgpack.decode(content, type=_Cached)
    except (OSError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return cached.book if cached.key == key else None


def store(folder: Path, key: str, book: RuleBook) -> None:
    """Replace the folder's file atomically; a folder that cannot be written only costs the next start its speed."""
    content = msgspec.msgpack.encode(_Cached(key, book))
    temporary = folder / f".{FILE_NAME}.{os.getpid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            temporary.replace(folder / FILE_NAME)
        except OSError:
            temporary.unlink()  # a full disk is not made fuller


def _read_own(path: Path) -> bytes | None:
    """The content, if the file is ours and nobody else can write it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        facts = os.fstat(descriptor)
        is_ours = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022
        return stream.read(FILE_BYTES_MAX) if is_ours and facts.st_size <= FILE_BYTES_MAX else None


def _add(digest: "hashlib._Hash", name: str, content: bytes) -> None:
    """Lengths first, so that no two lists of files give the same bytes."""
    for part in (name.encode("utf-8", "surrogateescape"), content):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)


def _library_versions() -> Iterable[tuple[str, bytes]]:
    """Names of the metadata folders, which carry the versions: importing these libraries is what we save."""
    for module, pattern in (("sigma", "[pP]y[sS]igma-*.dist-info"), ("re2", "google_re2-*.dist-info")):
        spec = importlib.util.find_spec(module)
        folders = [Path(place).parent for place in (spec and spec.submodule_search_locations) or ()]
        yield module, " ".join(sorted(path.name for folder in folders for path in folder.glob(pattern))).encode()


def _own_sources() -> Iterable[tuple[str, bytes]]:
    """The modules of this package: a changed reading must not meet an old book."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        with contextlib.suppress(OSError):
            yield path.name, path.read_bytes()
