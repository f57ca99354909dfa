"""What can be done to files by their names, by a process of a cgroup that lives through many such acts."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

DONE, REFUSED = "done", "refused"
_DOER: Final = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def exchange(old, new):
    if libc.renameat2(-100, old.encode(), -100, new.encode(), 2):
        raise OSError(ctypes.get_errno(), "renameat2")

for line in sys.stdin:
    os.chdir(sys.argv[1])
    answer = "done"
    try:
        exec(line)
    except PermissionError:
        answer = "refused"
    except OSError as error:
        answer = str(error)
    print(answer, flush=True)
"""


class Doer:
    """A process that does what it is told, one line of Python at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def do(self, code: str) -> str:
        """:data:`DONE`, :data:`REFUSED` for EPERM and EACCES, else what was wrong."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{code}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def doing(cgroup: Path | None, folder: Path, prelude: str = "") -> Iterator[Doer]:
    """A doer, in a cgroup; each act begins in ``folder``. ``prelude``: what acts can call."""

    command = ["/usr/bin/python3", "-c", prelude + _DOER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if cgroup is not None:
            (cgroup / "cgroup.procs").write_text(str(process.pid))
        yield Doer(process)


class Act(Struct, frozen=True):
    """One thing to do."""

    code: str
    action: str = ""
    """Of its denial; empty: a rule about the files below etc/kept does not deny it."""
    path: str = ""
    """That is told."""
    categories: tuple[str, ...] = ()
    """Others than file_event whose rules deny it."""


_FILE, _NEW = "etc/kept/file", "etc/kept/new"
ACTS: Final = (
    Act("os.rename('other', 'etc/kept/file')", "rename", _FILE, ("file_rename", "file_delete")),
    Act("os.rename('other', 'etc/kept/new')", "rename", _NEW, ("file_rename",)),
    Act("os.rename('etc/kept/file', 'gone')", "rename", _FILE, ("file_delete",)),
    Act("exchange('etc/kept/file', 'other')", "rename", _FILE, ("file_rename", "file_delete")),
    Act("exchange('other', 'etc/kept/file')", "rename", _FILE, ("file_rename", "file_delete")),
    Act("os.rename('etc/kept', 'gone')", "rename", "etc/kept"),
    Act("os.rename('etc', 'gone')", "rename", "etc"),
    Act("exchange('folder', 'etc')", "rename", "etc"),
    Act("os.unlink('etc/kept/file')", "deletion", _FILE, ("file_delete",)),
    Act("os.rmdir('etc/kept/empty')", "deletion", "etc/kept/empty", ("file_delete",)),
    Act("os.link('etc/kept/file', 'alias')", "link", _FILE),
    Act("os.link('other', 'etc/kept/new')", "link", _NEW),
    Act("os.symlink('/tmp', 'etc/kept/new')", "symlink", _NEW),
    Act("os.mkdir('etc/kept/new')", "create", _NEW),
    Act("os.mkfifo('etc/kept/new')", "create", _NEW),
    Act("socket.socket(socket.AF_UNIX).bind('etc/kept/new')", "create", _NEW),
    Act("open('etc/kept/new', 'x')", "create", _NEW),
    Act("open('etc/kept/file', 'w')", "open", _FILE),
    Act("os.truncate('etc/kept/file', 0)", "truncate", _FILE),
    Act("os.chmod('etc/kept/file', 0o4755)", "chmod", _FILE, ("file_change",)),
    Act("os.fchmod(os.open('etc/kept/file', os.O_RDONLY), 0o4755)", "chmod", _FILE, ("file_change",)),
    Act("os.chown('etc/kept/file', 1, 1)", "chown", _FILE, ("file_change",)),
    Act("os.rename('other', 'another'); os.rename('another', 'other')"),
    Act("os.link('other', 'alias'); os.unlink('alias')"),
    Act("os.mkdir('etc/beside'); os.rmdir('etc/beside')"),
    Act("os.makedirs('etc/kept', exist_ok=True)"),
    Act("os.chmod('etc', 0o755)"),
    Act("open('etc/kept/file').read()"),
)
