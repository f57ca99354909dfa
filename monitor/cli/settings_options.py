"""From command-line options to settings: what `run` and `record` share."""

import os
from typing import Any

import click
import msgspec

from monitor.cli.output import ExitCode, fail
from monitor.config.load import ConfigErrors, load_settings
from monitor.config.settings import Observe, Settings


def load_or_fail(options: dict[str, Any]) -> Settings:
    """Defaults < file < environment < options; all mistakes at once, exit code 2."""
    overrides: dict[str, object] = {
        name: options[name] for name in ("mode", "run_dir", "state_dir", "pin_dir") if options.get(name) is not None
    }
    if options.get("no_shipped_rules"):
        overrides["shipped_rules"] = False
    try:
        settings = load_settings(options.get("config"), os.environ, overrides)
    except ConfigErrors as errors:
        for error in errors.errors:
            click.echo(str(error), err=True)
        fail("the settings are wrong: nothing was started", ExitCode.USAGE)
    return _add(settings, options)


def _add(settings: Settings, options: dict[str, Any]) -> Settings:
    """Options that add to lists instead of replacing them."""
    observe = tuple(Observe(path=glob, container="all") for glob in options.get("observe") or ())
    return msgspec.structs.replace(
        settings,
        rules=(*settings.rules, *(options.get("rules") or ())),
        observe=(*settings.observe, *observe),
    )
