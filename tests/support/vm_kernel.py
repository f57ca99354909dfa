"""Kernels to boot in a guest: Debian's own packages, fetched with apt and unpacked, never installed.

apt runs with sources, lists and cache of its own in a temporary folder; mirror, proxy and credentials are this
machine's. What a boot needs of a kernel (its image and a handful of modules) is kept in ``build/vm/SUITE``; remove
that folder to fetch a newer one.
"""

import lzma
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tests.install.machine import get_debian_sources

CACHE = Path(__file__).resolve().parents[2] / "build" / "vm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FETCH_S = 600
_FETCHING = threading.Lock()
"""Guests begin beside each other; each kernel is fetched once."""

_WANTED_MODULES = ("virtio_pci", "virtio_rng", "9pnet_virtio", "9p", "overlay")
_MODULE_FOLDERS = (
    "drivers/virtio",
    "drivers/char/hw_random",
    "net/9p",
    "fs/9p",
    "fs/netfs",
    "fs/fscache",
    "fs/overlayfs",
)
_MODULE = re.compile(rf"lib/modules/[^/]+/kernel/(?:{'|'.join(_MODULE_FOLDERS)})/[^/]+\.ko(?:\.xz)?$")
_IMAGE = re.compile(r"(?:boot/vmlinuz-|lib/modules/)(\d[^/]*)(?:/vmlinuz)?$")
_PACKAGE = re.compile(r"^linux-(?:image|binary|modules|base)-\d\S*$", re.MULTILINE)
_ONLY_DEPENDS = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
_XZ = b"\xfd7zXZ\x00"


class FetchError(Exception):
    """A kernel cannot be had: no network, no such suite, another package layout."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a boot needs of one kernel."""

    release: str
    image: Path
    """What boots fastest."""
    packed_image: Path
    """As Debian ships it; it unpacks itself."""
    modules: tuple[Path, ...]
    """In the order in which they can be inserted."""


def get_kernel(suite: str) -> Kernel:
    """The kernel of a Debian suite (``bookworm``), fetched unless the cache has it.

    Raises:
        FetchError: in words that say what to do.
    """
    folder = CACHE / suite
    with _FETCHING:
        if not ((folder / "release").exists() and (folder / "vmlinuz").exists()):
            _fill_cache(suite, folder)
    modules = _order({_module_name(path): path for path in (folder / "modules").iterdir()})
    packed = folder / "vmlinuz"
    return Kernel((folder / "release").read_text(), next(folder.glob("vmlinux"), packed), packed, modules)


def _fill_cache(suite: str, folder: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f".{suite}-") as name:
        _fetch(suite, Path(name))
        shutil.rmtree(folder, ignore_errors=True)
        (Path(name) / "kernel").rename(folder)


def _fetch(suite: str, folder: Path) -> None:
    """Fill ``folder/kernel``."""
    if not KEYRING.exists():
        raise FetchError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    apt = _make_apt_options(suite, folder)
    _run(["apt-get", *apt, "--quiet=2", "update"])
    listed = _run(["apt-cache", *apt, "depends", "--recurse", *_ONLY_DEPENDS, "linux-image-amd64"])
    packages = sorted(set(_PACKAGE.findall(listed)))
    if not packages:
        raise FetchError(f"Debian {suite} has no kernel packages that we know: linux-image-amd64 needs\n{listed[:500]}")
    (folder / "debs").mkdir()
    _run(["apt-get", *apt, "--quiet=2", "download", *packages], folder / "debs")
    (folder / "kernel" / "modules").mkdir(parents=True)
    for package in sorted((folder / "debs").glob("*.deb")):
        _unpack(package, folder / "kernel")
    if not (folder / "kernel" / "release").exists():
        raise FetchError(f"no kernel image in {', '.join(packages)} of Debian {suite}")


def _make_apt_options(suite: str, folder: Path) -> list[str]:
    """apt with this suite as its only source and nothing of the machine's package state."""
    uri = next(source.uri for source in get_debian_sources(suite) if source.suite == suite)
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {uri} {suite} main\n")
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Acquire::Languages": "none",
        "APT::Default-Release": "",
        "APT::Sandbox::User": "root",  # _apt may not write to a folder of ours
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _run(command: list[str], folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=FETCH_S, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"{command[0]} took more than {FETCH_S} s: is the package mirror reachable?") from None
    if done.returncode:
        raise FetchError(f"{command[0]} failed: is the package mirror reachable?\n{done.stderr.strip()}")
    return done.stdout


def _unpack(package: Path, folder: Path) -> None:
    """Take the image and the modules that a guest may need out of one package."""
    for name, data in _read_files(package, lambda name: bool(_IMAGE.search(name) or _MODULE.search(name))):
        if found := _IMAGE.search(name):
            (folder / "vmlinuz").write_bytes(data)
            if unwrapped := _unwrap_image(data):
                (folder / "vmlinux").write_bytes(unwrapped)
            (folder / "release").write_text(found[1])
        else:
            is_packed = name.endswith(".xz")
            target = PurePosixPath(name).name.removesuffix(".xz")
            (folder / "modules" / target).write_bytes(lzma.decompress(data) if is_packed else data)


def _read_files(package: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            if member.isfile() and is_wanted(member.name) and (file := archive.extractfile(member)):
                yield member.name, file.read()


def _unwrap_image(image: bytes) -> bytes | None:
    """The ELF kernel inside a bzImage (Documentation/arch/x86/boot.rst), when xz packs it.

    An emulated CPU takes 5 to 10 s to unpack xz; it unpacks zstd by itself fast enough.
    """
    setup_sectors = image[0x1F1] or 4
    offset, length = (int.from_bytes(image[at : at + 4], "little") for at in (0x248, 0x24C))
    begin = (setup_sectors + 1) * 512 + offset
    payload = image[begin : begin + length]
    return lzma.LZMADecompressor().decompress(payload) if payload.startswith(_XZ) else None


def _module_name(path: Path) -> str:
    return path.name.removesuffix(".ko").replace("-", "_")


def _order(modules: Mapping[str, Path]) -> tuple[Path, ...]:
    """The wanted modules, each behind those it needs. What is not there is built in."""
    ordered: dict[str, Path] = {}

    def add(names: Iterable[str]) -> None:
        for name in names:
            if name in modules and name not in ordered:
                add(_read_dependencies(modules[name]))
                ordered[name] = modules[name]

    add(_WANTED_MODULES)
    return tuple(ordered.values())


def _read_dependencies(module: Path) -> list[str]:
    """Names in the module's ``.modinfo``."""
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    return found[1].decode().replace("-", "_").split(",") if found and found[1] else []
