"""`stockade run`: watch in the foreground. The service runs the same."""

import asyncio
import logging
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import click

from monitor import STARTED_S, __version__
from monitor.cli.output import ExitCode, fail
from monitor.cli.settings_options import fail_for_rules, load_or_fail
from monitor.config.settings import Settings
from monitor.host.runtimes.find import find_runtimes
from monitor.rules.errors import RuleErrors
from monitor.runtime.errors import AlreadyRunning, StartError
from monitor.runtime.launch import LaunchOptions, launch
from monitor.runtime.service import Readiness, Service
from monitor.sinks.console import ConsoleSink
from monitor.sinks.origin import Origin

TRY_COMMAND = "cp /bin/true /dev/shm/try && /dev/shm/try; rm -f /dev/shm/try"
"""Harmless, and one shipped rule names it."""
TRY_RULE = "program_run_from_shared_memory"
"""The rule that :data:`TRY_COMMAND` fires."""


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; default /etc/stockade/stockade.yml.")
@click.option("--rules", "rules", multiple=True, type=click.Path(path_type=Path), help="More rules; repeatable.")
@click.option("--no-shipped-rules", is_flag=True, help="Only the rules of --rules and the settings.")
@click.option("--mode", type=click.Choice(["audit", "enforce"]), help="What responses do; default audit.")
@click.option("--duration", type=click.FloatRange(min=0), help="Stop after so many seconds.")
@click.option("-o", "--format", "output", type=click.Choice(["pretty", "wide", "json"]), default="pretty")
@click.option("--alerts", "alerts_only", is_flag=True, help="Print alerts only.")
@click.option("--observe", multiple=True, metavar="GLOB", help="Stream opens of these files too, e.g. '/etc/**'.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Sockets and lock; another one is another instance.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="What outlives a run (the compiled rules' cache).")
@click.option("--pin-dir", type=click.Path(path_type=Path), help="Where kernel state that outlives a run is pinned.")
@click.option("-v", "--verbose", is_flag=True, help="Log more on stderr.")
def run(**options: Any) -> None:  # click gives what its options say
    """Watch containers and the host, print what happens, serve the stream."""
    logging.basicConfig(level=logging.DEBUG if options["verbose"] else logging.WARNING, format="stockade: %(message)s")
    settings = load_or_fail(options)
    launch_or_fail(settings, _build_launch_options(settings, options))


def launch_or_fail(settings: Settings, launch_options: LaunchOptions) -> None:
    """Run; end with one line and the documented exit code when that cannot be."""
    try:
        asyncio.run(launch(settings, launch_options))
    except RuleErrors as errors:
        fail_for_rules(errors, "nothing was started")
    except AlreadyRunning as error:
        fail(str(error), ExitCode.USAGE)
    except StartError as error:
        fail(str(error), ExitCode.HOST)
    except ValueError as error:
        fail(str(error), ExitCode.USAGE)


def _build_launch_options(settings: Settings, options: dict[str, Any]) -> LaunchOptions:

    def make_console(origin: Origin) -> ConsoleSink:
        return ConsoleSink(
            sys.stdout.buffer,
            origin,
            output=options["output"],
            color=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
            mode=settings.mode,
            alerts_only=options["alerts_only"],
        )

    return LaunchOptions(
        console=None if _is_nobody_reading() else make_console,
        duration_s=options["duration"],
        on_ready=_say_ready,
    )


def _is_nobody_reading() -> bool:
    """Whether stdout is /dev/null, as under systemd."""
    try:
        found = os.fstat(1)
    except OSError:
        return True
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == Path(os.devnull).stat().st_rdev


def _name_runtimes() -> str:
    names = [runtime.name for runtime in find_runtimes()]
    return f"runtimes here: {', '.join(names)}" if names else "no container runtime is installed"


def _say_ready(service: Service, readiness: Readiness) -> None:
    """On stderr: what is watched here, and one thing to try."""
    parts = service.parts
    active = sum(not rule.inactive_reason for rule in parts.authored.rules.rules)
    inactive = len(parts.authored.rules.rules) - active
    hierarchy = service.tagging.hierarchy
    lost = sum(service.lost.values())
    click.echo(
        f"stockade {__version__} is ready after {time.monotonic() - STARTED_S:.2f} s "
        f"(self test: an exec came through in {readiness.self_test_s * 1000:.0f} ms)\n"
        f"  kernel      Linux {os.uname().release}, containers told apart by {hierarchy.name} at {hierarchy.mount}\n"
        f"  tier        {service.denying.describe()}, mode {parts.settings.mode}\n"
        f"  watching    {readiness.processes} processes, {readiness.containers} containers ({_name_runtimes()})\n"
        f"  rules       {active} active, {inactive} inactive\n"
        f"  lost        {lost} records",
        err=True,
    )
    can_try = any(rule.name == TRY_RULE and not rule.inactive_reason for rule in parts.authored.rules.rules)
    if can_try and not service.engine.stats()["alerts"]:
        click.echo(f"  try         {TRY_COMMAND}     (in another terminal)", err=True)
