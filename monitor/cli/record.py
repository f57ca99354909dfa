"""`stockade record`: keep every event in a file, with the sensors of its own."""

import os
from pathlib import Path
from typing import Any, BinaryIO

import click

from monitor import __version__
from monitor.cli.output import ExitCode, fail
from monitor.cli.run import launch_or_fail
from monitor.cli.settings_options import load_or_fail
from monitor.runtime.launch import LaunchOptions
from monitor.sinks.origin import Origin
from monitor.wire import _layout as layout
from monitor.wire.recording import RecordingHeader, RecordingWriter


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; default /etc/stockade/stockade.yml.")
@click.option("--rules", "rules", multiple=True, type=click.Path(path_type=Path), help="More rules; repeatable.")
@click.option("--observe", multiple=True, metavar="GLOB", help="Keep opens of these files too, e.g. '/etc/**'.")
@click.option("--duration", type=click.FloatRange(min=0), help="Stop after so many seconds; default: until ctrl-C.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="What outlives a run (the compiled rules' cache).")
def record(file: Path, **options: Any) -> None:  # click gives what its options say
    """Record what happens into FILE, beside a running service or without one.

    The rules decide which opens leave the kernel, as in a run. FILE is readable by root only: it holds command lines.
    """
    settings = load_or_fail(options)
    try:
        target = os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
    except OSError as error:
        fail(f"{file} cannot be made: {error.strerror}", ExitCode.USAGE)
    with target:
        launch_options = LaunchOptions(
            recorder=lambda origin: _start_recording(target, origin),
            serve_sockets=False,
            duration_s=options["duration"],
            on_ready=lambda _service, _readiness: click.echo(f"recording into {file}; ctrl-C ends it", err=True),
        )
        launch_or_fail(settings, launch_options)
    click.echo(f"{file}: {file.stat().st_size} bytes; run it again with: stockade replay {file}", err=True)


def _start_recording(target: BinaryIO, origin: Origin) -> RecordingWriter:
    header = RecordingHeader(layout.FINGERPRINT, origin.boot_id, origin.host_name, origin.wall_offset_ns, __version__)
    return RecordingWriter(target, header)
