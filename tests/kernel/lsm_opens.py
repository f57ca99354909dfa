"""Opens that BPF LSM denies, on real files in a cgroup of the test's own: run in the guest by ``test_enforcement``."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.enforcement import Denier
from tests.support.rule_texts import DENY, rule_text

pytestmark = pytest.mark.kernel

READ = "import sys; open(sys.argv[1]).read()"
WRITE = "import sys; open(sys.argv[1], 'r+').close()"
TRUNCATE = "import os, sys; os.close(os.open(sys.argv[1], os.O_RDONLY | os.O_TRUNC))"
MAP = "import mmap, sys; f = open(sys.argv[1]); mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "Secret.key"
    path.write_text("secret")
    return path


def deny(denier: Denier, folder: Path, detection: str, category: str = "file_access") -> None:
    denier.deny(folder, rule_text(detection, extra=DENY, category=category))


def does(denier: Denier, code: str, path: Path, **options: object) -> bool:
    """Whether a program in the container can do this to a file."""
    return denier.run(sys.executable, "-c", code, path, **options) == 0  # type: ignore[arg-type]


def test_reading_is_denied_inside_and_nowhere_else(denier: Denier, secret: Path, tmp_path: Path) -> None:
    deny(denier, tmp_path, f"{{s: {{file.path: {secret}}}, condition: s}}")
    other = tmp_path / "other"
    other.write_text("x")

    assert not does(denier, READ, secret)
    assert not does(denier, MAP, secret)
    assert does(denier, READ, other)
    assert does(denier, READ, secret, cgroup=denier.cgroup.parent)
    first, second = denier.denials()
    assert (first.path, first.action, first.tier) == (str(secret), "open", "lsm")
    assert first.inode == second.inode == secret.stat().st_ino


def test_a_rule_about_writing_leaves_reading_alone(denier: Denier, secret: Path, tmp_path: Path) -> None:
    deny(denier, tmp_path, f"{{s: {{TargetFilename|startswith: '{tmp_path}/sec'}}, condition: s}}", "file_event")

    assert does(denier, READ, secret)
    assert not does(denier, WRITE, secret)
    assert not does(denier, TRUNCATE, secret)
    assert secret.read_text() == "secret"


@pytest.mark.parametrize("where", ["file.name: SECRET.key", "file.path|endswith: ret.KEY"])
def test_a_file_by_its_name(denier: Denier, secret: Path, tmp_path: Path, where: str) -> None:
    deny(denier, tmp_path, f"{{s: {{{where}, Image|endswith: '{Path(sys.executable).resolve().name}'}}, condition: s}}")

    assert not does(denier, READ, secret)
    assert denier.run("/bin/cat", secret) == 0, "another program may"


def test_executing_is_not_reading(denier: Denier, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    deny(denier, tmp_path, f"{{s: {{file.path: {program}}}, condition: s}}")

    assert denier.run(program) == 0
    assert not does(denier, READ, program)


def test_a_descriptor_from_before_reads_on_and_reopening_it_does_not(
    denier: Denier, secret: Path, tmp_path: Path
) -> None:
    deny(denier, tmp_path, f"{{s: {{file.path: {secret}}}, condition: s}}")
    code = "import os, sys; os.read(int(sys.argv[1]), 1); os.open(f'/proc/self/fd/{sys.argv[1]}', 0)"
    fd = os.open(secret, os.O_RDONLY)
    try:
        status = denier.run(sys.executable, "-c", code, str(fd), pass_fds=(fd,))
    finally:
        os.close(fd)

    assert status != 0
    assert [denial.path for denial in denier.denials()] == [str(secret)]


def test_a_32bit_call_is_an_open_too(denier: Denier, secret: Path, tmp_path: Path) -> None:
    deny(denier, tmp_path, f"{{s: {{file.path: {secret}}}, condition: s}}")

    assert denier.run(sys.executable, "-c", INT80, secret) == 0, "it was refused with EPERM"


SETTING = "sys/kernel/domainname"


@pytest.fixture
def system_files(tmp_path: Path) -> Iterator[list[Path]]:
    """Files of the kernel's own, at their place and at some that no rule would name."""
    proc, group, bound = tmp_path / "p", tmp_path / "g", tmp_path / "bound"
    for folder in (proc, group):
        folder.mkdir()
    bound.touch()
    with contextlib.ExitStack() as mounted:
        for words in (
            ["-t", "proc", "proc", proc],
            ["-t", "cgroup", "-o", "none,name=stockade-test", "group", group],
            ["--bind", f"/proc/{SETTING}", bound],
        ):
            subprocess.run(["mount", *words], check=True)
            mounted.callback(subprocess.run, ["umount", words[-1]], check=True)
        yield [Path("/proc", SETTING), proc / SETTING, bound, group / "release_agent"]


def writes(denier: Denier, path: Path) -> bool:
    """Whether the container can open it for writing. Quicker than an interpreter."""
    return denier.run("/bin/dd", "if=/dev/null", f"of={path}", "conv=notrunc", "status=none") == 0


def test_files_of_the_kernels_own_wherever_they_are_mounted(
    denier: Denier, system_files: list[Path], tmp_path: Path
) -> None:
    detection = (
        "{s: {file.system_path|startswith: 'proc:/sys/kernel/'}, t: {file.system_path: 'cgroup:/release_agent'}, "
        "condition: s or t}"
    )
    deny(denier, tmp_path, detection, "file_event")
    ordinary = tmp_path / "release_agent"

    assert [writes(denier, path) for path in system_files] == [False] * len(system_files)
    assert writes(denier, ordinary)
    assert writes(denier, Path("/proc/self/comm"))
    assert denier.run("/bin/cat", *system_files) == 0
    assert [denial.path for denial in denier.denials()] == list(map(str, system_files))


INT80 = """
import ctypes, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
page = libc.mmap(None, 4096, 7, 0x62, -1, 0)  # below 4 GiB, private, anonymous
name = sys.argv[1].encode() + bytes(1)
ctypes.memmove(page + 2048, name, len(name))
where = (page + 2048).to_bytes(4, "little")
# push rbx; mov eax, 5 (open); mov ebx, where; xor ecx, ecx; xor edx, edx; int 0x80; pop rbx; ret
call = bytes.fromhex("53b805000000bb") + where + bytes.fromhex("31c931d2cd805bc3")
ctypes.memmove(page, call, len(call))
sys.exit(0 if ctypes.CFUNCTYPE(ctypes.c_int)(page)() == -1 else 1)
"""


def test_the_file_at_an_exact_path_under_other_names(denier: Denier, secret: Path, tmp_path: Path) -> None:
    deny(denier, tmp_path, f"{{s: {{file.path: {secret}}}, condition: s}}")
    link, moved = tmp_path / "link", tmp_path / "moved"
    link.hardlink_to(secret)

    assert not does(denier, READ, link)
    secret.rename(moved)
    assert not does(denier, READ, moved)
    secret.write_text("another")
    assert not does(denier, READ, secret)
    assert [(denial.path, denial.is_known_file) for denial in denier.denials()] == [
        (str(link), True),
        (str(moved), True),
        (str(secret), False),
    ]


def test_the_program_at_an_exact_path_that_opens_under_another_name(
    denier: Denier, secret: Path, tmp_path: Path
) -> None:
    reader, moved = tmp_path / "reader", tmp_path / "moved"
    reader.write_bytes(Path("/bin/cat").read_bytes())
    reader.chmod(0o700)
    deny(denier, tmp_path, f"{{s: {{file.path: {secret}, Image: {reader}}}, condition: s}}")
    reader.rename(moved)

    assert denier.run(moved, secret) != 0
    assert denier.run("/bin/cat", secret) == 0
    (denial,) = denier.denials()
    assert (denial.path, denial.is_known_file) == (str(secret), True)
