"""`stockade record`: keep every event in a file, with the sensors of its own."""

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO

import click

from monitor import __version__
from monitor.cli.output import ExitCode, fail
from monitor.cli.run import launch_or_fail
from monitor.cli.settings_options import load_or_fail
from monitor.model.events import AnyEvent
from monitor.runtime.launch import LaunchOptions
from monitor.runtime.ports import Recorder
from monitor.runtime.service import Readiness, Service
from monitor.runtime.stopping import undoing
from monitor.sinks.origin import Origin
from monitor.wire import _layout as layout
from monitor.wire.decoder import Buffer
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
    target = _make_or_fail(file)
    recording = _Recording(file, target)

    def on_ready(service: Service, _readiness: Readiness) -> None:
        recording.begin()
        service.on_tick.append(recording.check)
        click.echo(f"recording into {file}; ctrl-C ends it", err=True)

    launch_options = LaunchOptions(
        recorder=recording.start, serve_sockets=False, duration_s=options["duration"], on_ready=on_ready
    )
    try:
        with target, undoing(recording.drop):
            launch_or_fail(settings, launch_options)
            recording.check()
    except OSError as error:
        what = "could not be written on, the recording ends early" if recording.has_begun else "cannot be written on"
        fail(f"{file} {what}: {error.strerror}", ExitCode.HOST)
    finally:
        recording.drop()
    click.echo(f"{file}: {file.stat().st_size} bytes; run it again with: stockade replay {file}", err=True)


def _make_or_fail(file: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
    except OSError as error:
        is_of_host = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
        fail(f"{file} cannot be made: {error.strerror}", ExitCode.HOST if is_of_host else ExitCode.USAGE)


class _Recording:
    """A recording that ends where the disk is full, instead of failing anew with each record."""

    def __init__(self, file: Path, target: BinaryIO) -> None:
        self._file = file
        self._target = target
        self._writer: RecordingWriter | None = None
        self._failure: OSError | None = None
        self.has_begun = False
        """What was there at the start is in the file."""

    def start(self, origin: Origin) -> Recorder:
        """Write the header."""
        header = RecordingHeader(
            layout.FINGERPRINT, origin.boot_id, origin.host_name, origin.wall_offset_ns, __version__
        )
        self._writer = RecordingWriter(self._target, header)
        return self

    def begin(self) -> None:
        """The service is ready. Raises the ``OSError`` that a write met so far."""
        self.check()
        self._target.flush()
        self.has_begun = True

    def drop(self) -> None:
        """Remove the file when it holds nothing: it would be in the way of the next try."""
        if not self.has_begun:
            self._file.unlink(missing_ok=True)

    def write_record(self, data: Buffer, offset: int, length: int) -> None:
        """Keep one raw record."""
        if self._writer is not None:
            try:
                self._writer.write_record(data, offset, length)
            except OSError as error:
                self._fail(error)

    def write_event(self, event: AnyEvent) -> None:
        """Keep one event that did not come from a ring."""
        if self._writer is not None:
            try:
                self._writer.write_event(event)
            except OSError as error:
                self._fail(error)

    def check(self) -> None:
        """Raise the ``OSError`` that a write met."""
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: OSError) -> None:
        self._writer = None
        self._failure = error
