"""``stockade thaw``: let a frozen container run again."""

from pathlib import Path

import click

from monitor.cli.container_responses import ask_and_show, container_argument
from monitor.cli.output import format_option, quiet_end, run_dir_option


@click.command()
@container_argument
@format_option("pretty", "json")
@run_dir_option
@quiet_end
def thaw(*, container: str, output: str, run_dir: Path) -> None:
    """Let CONTAINER run again that stockade froze.

    CONTAINER is a name, an id (12 characters do) or pod/NAME.
    """
    ask_and_show("thaw", container, run_dir, output=output)
