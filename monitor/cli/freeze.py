"""``stockade freeze``: stop every process of a container."""

import re
from pathlib import Path
from typing import Final

import click

from monitor.cli.container_responses import ask_and_show, container_argument
from monitor.cli.output import format_option, quiet_end, run_dir_option

_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration(_context: click.Context, _option: click.Parameter, text: str | None) -> float:
    """Seconds of ``30m``, as ``response.yml`` writes it; 0 for none."""
    if text is None:
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None or not int(match[1]):
        raise click.BadParameter(f"{text[:40]!r} is no time: write a number and s, m, h or d, such as 30m")
    return float(int(match[1]) * _UNIT_S[match[2]])


@click.command()
@container_argument
@click.option(
    "--for", "for_s", callback=parse_duration, metavar="TIME", help="Thaw it after this time, e.g. 30m; else never."
)
@format_option("pretty", "json")
@run_dir_option
@quiet_end
def freeze(*, container: str, for_s: float, output: str, run_dir: Path) -> None:
    """Stop every process of CONTAINER until it is thawed.

    CONTAINER is a name, an id (12 characters do) or pod/NAME. The running service does it, in either mode.
    """
    ask_and_show("freeze", container, run_dir, output=output, for_s=for_s)
