"""A process that opens files when told, in a mount namespace of its own, and says what the kernel opened.

Started by :class:`Opener`; run as a program it is the child: it makes the bind mounts
it was given (``FROM=TO`` each), then answers orders, one JSON line each:
``[path, flags]`` with ``[real path, errno]``.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_MS_BIND = 4096


class Opener:
    """The child, as the test sees it."""

    def __init__(self, binds: Sequence[tuple[Path, Path]] = ()) -> None:
        command = ["unshare", "--mount", "--propagation", "private", "/usr/bin/python3", __file__]
        self._process = subprocess.Popen(
            [*command, *(f"{source}={target}" for source, target in binds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == ["ready", 0]

    @property
    def tgid(self) -> int:
        return self._process.pid

    def open(self, path: Path | str, flags: int = os.O_RDONLY) -> tuple[str, int]:
        """Open and close a file; answers its path in the child's namespace and 0, or nothing and the errno."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([str(path), flags]) + "\n")
        self._process.stdin.flush()
        real, number = self._read()
        return str(real), int(number)

    def _read(self) -> list[str | int]:
        assert self._process.stdout
        answer: list[str | int] = json.loads(self._process.stdout.readline())
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)


def _serve(binds: Sequence[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for bind in binds:
        source, _, target = bind.partition("=")
        if libc.mount(source.encode(), target.encode(), None, ctypes.c_ulong(_MS_BIND), None):
            raise OSError(ctypes.get_errno(), f"bind mount of {source} on {target}")
    print(json.dumps(["ready", 0]), flush=True)
    for line in sys.stdin:
        path, flags = json.loads(line)
        try:
            fd = os.open(path, flags, 0o600)
        except OSError as error:
            print(json.dumps(["", error.errno]), flush=True)
            continue
        real = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115  (as text, not normalised)
        os.close(fd)
        print(json.dumps([real, 0]), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1:])
