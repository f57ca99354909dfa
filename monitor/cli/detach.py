"""``stockade detach``: end what an earlier service has left denying in the kernel."""

from pathlib import Path
from typing import Any

import click

from monitor.bpf.guards import LET_GO_S
from monitor.cli.output import ExitCode, fail, quiet_end
from monitor.cli.settings_options import load_or_fail
from monitor.runtime.errors import AlreadyRunning, StartError
from monitor.runtime.instance import InstanceLock
from monitor.runtime.pinned import detach_all
from monitor.sinks.escape import escape_text


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (default: /etc/stockade/stockade.yml).")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Folder of the sockets (default: /run/stockade).")
@click.option("--pin-dir", type=click.Path(path_type=Path), help="The bpffs (default: /run/stockade/bpf).")
@quiet_end
def detach(**options: Any) -> None:
    """End what denies in the kernel although no service runs.

    After a crash, or a stop with `enforcement.on_exit: keep`, denial goes on; this ends it. While a service runs, stop
    that instead.
    """
    settings = load_or_fail(options, consequence="nothing was detached")
    try:
        lock = InstanceLock(settings.run_dir)
    except AlreadyRunning as error:
        fail(str(error), ExitCode.USAGE)
    except StartError as error:
        fail(str(error), ExitCode.HOST)
    try:
        count = detach_all(settings.pin_dir)
    except PermissionError:
        fail(f"the guards of the last service hold for {LET_GO_S} s after its end: try again then", ExitCode.HOST)
    finally:
        lock.release()
    click.echo(escape_text(f"denial is ended ({settings.pin_dir})" if count else "nothing is attached"))
