"""From command-line options to settings, and mistakes in them: what `run`, `record` and `replay` share."""

import os
from typing import Any, NoReturn

import click
import msgspec

from monitor.cli.output import ExitCode, fail
from monitor.config.load import ConfigErrors, load_settings
from monitor.config.settings import Observe, Settings
from monitor.rules.errors import RuleErrors
from monitor.runtime.visibility import check_glob
from monitor.sinks.escape import escape_text


def load_or_fail(options: dict[str, Any], *, consequence: str = "nothing was started") -> Settings:
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
            click.echo(escape_text(str(error)), err=True)
        fail(f"the settings are wrong: {consequence}", ExitCode.USAGE)
    return _add(settings, options)


def fail_for_rules(errors: RuleErrors, consequence: str) -> NoReturn:
    """Print all mistakes of the first load of rules; exit code 2."""
    for error in errors.errors:
        click.echo(escape_text(str(error)), err=True)
    count = len(errors.errors) + errors.more
    more = f", {errors.more} of them not shown" if errors.more else ""
    fail(f"{count} mistake{'s' if count != 1 else ''} in the rules{more}: {consequence}", ExitCode.USAGE)


def _add(settings: Settings, options: dict[str, Any]) -> Settings:
    """Options that add to lists instead of replacing them."""
    try:
        for glob in options.get("observe") or ():
            check_glob(glob)
    except ValueError as error:
        fail(f"--observe: {error}", ExitCode.USAGE)
    observe = tuple(Observe(path=glob, container="all") for glob in options.get("observe") or ())
    return msgspec.structs.replace(
        settings,
        rules=(*settings.rules, *(options.get("rules") or ())),
        observe=(*settings.observe, *observe),
    )
