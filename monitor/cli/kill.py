"""``stockade kill``: end every process of a container."""

from pathlib import Path

import click

from monitor.cli.container_responses import ask_and_show, container_argument
from monitor.cli.output import format_option, quiet_end, run_dir_option


@click.command()
@container_argument
@format_option("pretty", "json")
@run_dir_option
@quiet_end
def kill(*, container: str, output: str, run_dir: Path) -> None:
    """Send SIGKILL to every process of CONTAINER, those too that have left its cgroup.

    CONTAINER is a name, an id (12 characters do) or pod/NAME. Its runtime may start it again.
    """
    ask_and_show("kill", container, run_dir, output=output)
