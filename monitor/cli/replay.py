"""`stockade replay`: run a recording through the engine again."""

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from monitor.cli.output import ExitCode, fail, quiet_end
from monitor.cli.settings_options import fail_for_rules, load_or_fail
from monitor.model.alert import Alert
from monitor.model.events import AnyEvent
from monitor.model.process import Context
from monitor.rules.errors import RuleErrors
from monitor.runtime.replay import build_replay_pipeline, origin_of, replay
from monitor.runtime.rule_sources import load_response_policy, load_rule_set
from monitor.sinks.console import build_renderer
from monitor.sinks.ecs import build_alert_document, build_event_document
from monitor.sinks.origin import Origin
from monitor.wire.recording import RecordingError, RecordingReader


@click.command("replay")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; default /etc/stockade/stockade.yml.")
@click.option("--rules", "rules", multiple=True, type=click.Path(path_type=Path), help="More rules; repeatable.")
@click.option("--no-shipped-rules", is_flag=True, help="Only the rules of --rules and the settings.")
@click.option("-o", "--format", "output", type=click.Choice(["pretty", "wide", "json", "none"]), default="pretty")
@click.option("--alerts", "alerts_only", is_flag=True, help="Print alerts only.")
@click.option("--observe", multiple=True, metavar="GLOB", help="Print opens of these files too; as for `record`.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="What outlives a run (the compiled rules' cache).")
@quiet_end
def replay_command(file: Path, **options: Any) -> None:  # click gives what its options say
    """Print what FILE's events give with the rules of now. Two replays give the same bytes. Needs no privilege."""
    settings = load_or_fail(options)
    printer: _Printer | None = None
    try:
        rules, responses = load_rule_set(settings), load_response_policy(settings)
        with file.open("rb") as source:
            reader = RecordingReader(source)
            if options["output"] != "none":
                printer = _Printer(origin_of(reader.header), settings.mode, options)
            sinks = [] if printer is None else [printer]
            pipeline = build_replay_pipeline(reader.header, settings, rules, responses, sinks)
            began = time.perf_counter()
            count = replay(reader if printer is None else printer.while_read(reader), pipeline)
            elapsed = time.perf_counter() - began
    except OSError as error:
        if printer is not None and error is printer.failure:
            raise
        fail(f"{file} cannot be read: {error.strerror}", ExitCode.USAGE)
    except RecordingError as error:
        fail(f"{file}: {error}", ExitCode.USAGE)
    except RuleErrors as errors:
        fail_for_rules(errors, "nothing was replayed")
    click.echo(f"{count} events in {elapsed:.2f} s, {count / max(elapsed, 1e-9):,.0f} a second", err=True)


class _Printer:
    """Writes documents to stdout."""

    def __init__(self, origin: Origin, mode: str, options: dict[str, Any]) -> None:
        self._origin = origin
        self._mode = mode
        self._alerts_only = options["alerts_only"]
        self._render = build_renderer(options["output"], color=sys.stdout.isatty())
        self._out: BinaryIO = sys.stdout.buffer
        self._sequence = 0
        self.failure: OSError | None = None
        """Why stdout takes no more."""

    def while_read(self, events: Iterable[AnyEvent]) -> Iterator[AnyEvent]:
        """These events, as long as stdout takes what comes of them. Raises :attr:`failure`."""
        for event in events:
            yield event
            if self.failure is not None:
                raise self.failure
        self._write(b"")
        if self.failure is not None:
            raise self.failure

    def publish_event(self, context: Context) -> None:
        """Print an event."""
        self._sequence += 1
        if not self._alerts_only:
            self._write(self._render(build_event_document(context, self._origin, sequence=self._sequence)))

    def publish_alert(self, alert: Alert) -> None:
        """Print an alert."""
        self._sequence += 1
        document = build_alert_document(alert, self._origin, sequence=self._sequence, mode=self._mode)
        self._write(self._render(document))

    def _write(self, line: bytes) -> None:
        """Without a line: what is buffered."""
        try:
            self._out.write(line) if line else self._out.flush()
        except OSError as error:
            self.failure = error
