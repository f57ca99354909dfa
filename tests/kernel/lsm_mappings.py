"""What BPF LSM denies of files that are mapped to be executed: run in the guest by ``test_enforcement``."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.enforcement import Denier
from tests.support.programs import build_programs
from tests.support.rule_texts import DENY, rule_text

pytestmark = pytest.mark.kernel

LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBRARY = "/lib/x86_64-linux-gnu/libz.so.1"
PYTHON = "/usr/bin/python3"
LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
MAPPING = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
READ, EXEC, SHARED, PRIVATE, ANONYMOUS = 1, 4, 1, 2, 0x20
FAILED = ctypes.c_void_p(-1).value

def mapped(fd, protection, flags):
    place = libc.mmap(None, 4096, protection, flags, fd, 0)
    if place == FAILED:
        sys.exit(3 if ctypes.get_errno() == 1 else 4)
    return place

def memory():
    fd = os.memfd_create("code")
    os.ftruncate(fd, 4096)
    return fd
"""
MAP = MAPPING + "mapped(os.open(sys.argv[1], os.O_RDONLY), READ | EXEC, PRIVATE)"
PROTECT = (
    MAPPING
    + """
place = mapped(os.open(sys.argv[1], os.O_RDONLY), READ, PRIVATE)
if libc.mprotect(place, 4096, READ | EXEC):
    sys.exit(3 if ctypes.get_errno() == 1 else 4)
"""
)
REFUSED = 3


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    into = tmp_path_factory.mktemp("programs")
    return build_programs(Path(__file__).parent / "programs", into, "canary", "canary_dynamic")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return Path(shutil.copy(LIBRARY, tmp_path / "libcode.so"))


def deny(denier: Denier, folder: Path, detection: str) -> None:
    denier.denials()
    denier.deny(folder, rule_text(detection, extra=DENY))


def told(denier: Denier) -> list[tuple[str, str]]:
    return [(denial.action, denial.path) for denial in denier.denials()]


@pytest.mark.parametrize(
    "where",
    ["Image: {path}", "Image|endswith: /libcode.SO", "Image|startswith: '{folder}/', process.flags.tmpfs: true"],
)
def test_a_library_that_may_not_be_executed_may_not_be_loaded(
    loaded_denier: Denier, library: Path, tmp_path: Path, where: str
) -> None:
    deny(loaded_denier, tmp_path, "{s: {Image: /nowhere}, condition: s}")
    assert loaded_denier.run(PYTHON, "-c", LOAD, library) == 0
    deny(loaded_denier, tmp_path, f"{{s: {{{where.format(path=library, folder=tmp_path)}}}, condition: s}}")

    for code, status, action in ((LOAD, 1, "map"), (MAP, REFUSED, "map"), (PROTECT, REFUSED, "mprotect")):
        assert loaded_denier.run(PYTHON, "-c", code, library) == status
        assert told(loaded_denier) == [(action, str(library))]
    assert loaded_denier.run("/usr/bin/env", f"LD_PRELOAD={library}", "/bin/true") == 0, "the loader goes on without it"
    assert told(loaded_denier) == [("map", str(library))]
    assert loaded_denier.run(PYTHON, "-c", LOAD, library, cgroup=loaded_denier.cgroup.parent) == 0
    assert loaded_denier.run("/bin/cat", library) == 0, "reading is not executing"
    assert told(loaded_denier) == []


def test_a_program_is_not_run_as_somebody_elses_loader(
    loaded_denier: Denier, programs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(programs["canary"], tmp_path / "canary")
    content = programs["canary_dynamic"].read_bytes()
    other = tmp_path / "other"
    other.write_bytes(content.replace(LOADER.encode(), b"./canary".ljust(len(LOADER), b"\0")))
    other.chmod(0o700)
    deny(loaded_denier, tmp_path, "{s: {Image: /nowhere}, condition: s}")
    loaded_denier.run(other)
    assert told(loaded_denier) == [], "it may be tried"
    (tmp_path / "mark").unlink(missing_ok=True)
    deny(loaded_denier, tmp_path, f"{{s: {{Image: {tmp_path}/canary}}, condition: s}}")

    assert loaded_denier.run(other) < 0, "it is killed: there is no way back"
    assert not (tmp_path / "mark").exists()
    assert told(loaded_denier) == [("map", f"{tmp_path}/canary")]


@pytest.mark.parametrize(
    "detection",
    [
        "{s: {user.id: 0}, f: {Image|endswith: [/python3.11, /python3.13, /python3.14]}, condition: s and not f}",
        "{s: {Image|startswith: /usr/}, f: {Image|startswith: /usr/bin/python3}, condition: s and not f}",
        "{s: {Image|endswith: /python3, CommandLine|contains: never}, condition: s}",
    ],
)
def test_a_program_that_may_run_may_load_its_libraries(loaded_denier: Denier, tmp_path: Path, detection: str) -> None:
    deny(loaded_denier, tmp_path, detection)

    assert loaded_denier.run(PYTHON, "-c", "import ctypes, ssl") == 0
    assert told(loaded_denier) == []


def test_memory_without_a_file_is_left_alone(loaded_denier: Denier, tmp_path: Path) -> None:
    deny(loaded_denier, tmp_path, "{s: {process.flags.memfd: true}, condition: s}")

    assert loaded_denier.run(PYTHON, "-c", MAPPING + "mapped(-1, READ | EXEC, PRIVATE | ANONYMOUS)") == 0
    assert loaded_denier.run(PYTHON, "-c", MAPPING + "mapped(memory(), READ | EXEC, SHARED)") == 0
    assert told(loaded_denier) == []
    assert loaded_denier.run(PYTHON, "-c", MAPPING + "mapped(memory(), READ | EXEC, PRIVATE)") == REFUSED
    assert told(loaded_denier) == [("map", "/memfd:code")]


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Path]:
    """An image's file system with a library in it."""
    lower, upper, work, root = (tmp_path / name for name in ("lower", "upper", "work", "root"))
    for folder in (lower, upper, work, root):
        folder.mkdir()
    shutil.copy(LIBRARY, lower / "libimage.so")
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=True)
    yield root
    subprocess.run(["umount", str(root)], check=True)


@pytest.mark.parametrize("code", [MAP, PROTECT], ids=["map", "protect"])
def test_what_was_written_since_the_image_is_not_loaded(
    overlay: Path, denier: Denier, tmp_path: Path, code: str
) -> None:
    """After the mount: the kernel's types of overlayfs are there when it is a module."""
    fresh = Path(shutil.copy(LIBRARY, overlay / "libnew.so"))
    deny(denier, tmp_path, "{s: {process.flags.upper_layer: true}, condition: s}")

    assert denier.run(PYTHON, "-c", code, overlay / "libimage.so") == 0
    assert told(denier) == []
    assert denier.run(PYTHON, "-c", code, fresh) == REFUSED
    ((_, path),) = told(denier)
    assert path == str(fresh)
    deny(denier, tmp_path, f"{{s: {{Image: {overlay}/libimage.so}}, condition: s}}")
    assert denier.run(PYTHON, "-c", code, overlay / "libimage.so") == REFUSED
