"""What all commands print with: exit codes, error lines, tables as kubectl prints them, JSON.

Results go to stdout, everything else to stderr. Text from outside is escaped here.
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import Final, NoReturn, ParamSpec, TypeVar

import click

from monitor.config.settings import Settings
from monitor.sinks.console import render_json
from monitor.sinks.escape import escape_text

COLUMN_GAP: Final = "   "

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


class ExitCode(IntEnum):
    """What a command's exit status says (DESIGN section 8)."""

    OK = 0
    FINDINGS = 1
    """Findings, or a check that failed."""
    USAGE = 2
    """Usage or configuration."""
    HOST = 3
    """The kernel, host, service or privilege required is lacking."""
    INTERNAL = 4
    """A mistake of ours."""


def fail(message: str, code: ExitCode) -> NoReturn:
    """Print an error and leave."""
    warn(message)
    sys.exit(code)


def warn(message: str) -> None:
    """Print a line on stderr; each line of the message is escaped, so that none can imitate another."""
    first, *rest = message.splitlines() or [""]
    click.echo("\n".join([f"stockade: {escape_text(first)}", *map(escape_text, rest)]), err=True)


def print_json(document: dict[str, object]) -> None:
    """Print one line of JSON."""
    write_out(render_json(document))


def write_out(data: bytes) -> None:
    """Write bytes to stdout, past its encoding. Raises ``BrokenPipeError`` when nobody reads."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, indent: str = "") -> None:
    """Print columns: capital headers, three spaces between, nothing after the last."""
    for line in format_table(headers, rows):
        click.echo(f"{indent}{line}")


def format_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table. An empty value is shown as ``-``."""
    cells = [[header.upper() for header in headers]]
    cells += [[escape_text(str(value)) or "-" for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        COLUMN_GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    ]


def format_bytes(count: float) -> str:
    """Return a size in binary units, e.g. ``63.4 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units, e.g. ``3h12m``."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        amount, rest = divmod(rest, size)
        if amount or (unit == "s" and not parts):
            parts.append(f"{amount}{unit}")
    return "".join(parts[:2])


def quiet_end(command: Callable[P, T]) -> Callable[P, T]:
    """Let a command end without a word on Ctrl-C and when nobody reads its output any more."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            sys.exit(ExitCode.OK)
        except BrokenPipeError:
            # What is buffered cannot be written: keep the interpreter from trying once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(ExitCode.OK)

    return run


def format_option(*outputs: str) -> Callable[[F], F]:
    """Give a command ``-o``, with the first output as default."""
    return click.option(
        "-o",
        "--format",
        "output",
        type=click.Choice(outputs),
        default=outputs[0],
        show_default=True,
        help="How to print.",
    )


run_dir_option = click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Settings().run_dir,
    show_default=True,
    help="Folder of the service's sockets.",
)
"""For commands that talk to the service."""
