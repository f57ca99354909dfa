"""Small C programs for what a shell cannot do: compiled when the tests run, static, so that any container runs them."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WARNINGS = ("-O1", "-Wall", "-Wextra", "-Werror", "-std=gnu11", "-s")
STATIC = ("-static", "-pthread")


def build_programs(sources: Path, into: Path, *names: str) -> dict[str, Path]:
    """Compile each ``*.c`` of a folder, or of these names, to a program. Raises RuntimeError with gcc's words."""
    files = [sources / f"{name}.c" for name in names] or sorted(sources.glob("*.c"))
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(pool.map(lambda source: _build(source, into / source.stem), files))


def _build(source: Path, program: Path) -> tuple[str, Path]:
    done = subprocess.run(
        ["gcc", *WARNINGS, *_flags(source), "-o", program, source], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{source} does not compile:\n{done.stderr}")
    return source.stem, program


def _flags(source: Path) -> tuple[str, ...]:
    """A program says in its first line (``// gcc: -flags``) when it wants to be linked in another way."""
    first = source.read_text().partition("\n")[0]
    return tuple(first.removeprefix("// gcc: ").split()) if first.startswith("// gcc: ") else STATIC


def find_loader() -> Path:
    """The dynamic loader of this machine, itself a static program."""
    return Path("/lib64/ld-linux-x86-64.so.2").resolve()
