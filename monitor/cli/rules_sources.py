"""Where `stockade rules` reads: the folders that were named, else what the service reads by its settings."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from monitor.cli.output import ExitCode, fail, print_json
from monitor.cli.settings_options import load_or_fail
from monitor.config.load import find_config
from monitor.config.settings import Settings
from monitor.rules.errors import RuleErrors
from monitor.rules.ir import RuleBook
from monitor.rules.loader import load_book
from monitor.rules.preventions import mark_off
from monitor.runtime.rule_sources import find_choices, find_rule_sources, load_response_policy
from monitor.shipped import get_shipped_rules
from monitor.sinks.escape import escape_text


class Sources(Struct):
    """Files and folders of rules."""

    paths: list[Path]
    settings: Settings | None = None
    """The service's, when they say which rules are read; None when somebody named folders."""

    def load_or_fail(self, output: str) -> RuleBook:
        """The rules; mistakes are printed and end the command."""
        try:
            return load_book(self.paths)
        except RuleErrors as errors:
            show_mistakes([errors], output)
            sys.exit(ExitCode.FINDINGS)

    def load_with_state_or_fail(self, output: str) -> RuleBook:
        """The same; preventions that the settings do not name are marked as off."""
        choices = find_choices(self.settings) if self.settings is not None else {}
        return mark_off(self.load_or_fail(output), choices)

    def check(self) -> tuple[RuleBook | None, list[RuleErrors]]:
        """The rules, and what is wrong with them; of the service's own also with its response policy."""
        book, mistakes = None, []
        try:
            book = load_book(self.paths)
        except RuleErrors as errors:
            mistakes.append(errors)
        try:
            if self.settings is not None:
                load_response_policy(self.settings)
        except RuleErrors as errors:
            mistakes.append(errors)
        return book, mistakes


def with_sources(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``[DIR]...``, ``--config`` and ``--with-shipped``; it is called with ``sources``."""

    @click.argument("folders", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path))
    @click.option(
        "--config", type=click.Path(path_type=Path), help="Settings file; default /etc/stockade/stockade.yml."
    )
    @click.option("--with-shipped", is_flag=True, help="DIR together with the rules that come with Stockade.")
    @wraps(command)
    def run(*args: Any, folders: tuple[Path, ...], config: Path | None, with_shipped: bool, **options: Any) -> None:
        if not folders:
            sources = _find_service_sources(config)
            if options["output"] != "json":
                _say_where(sources, config)
        elif config is not None:
            fail("--config says which rules the service reads: name DIR or --config, not both", ExitCode.USAGE)
        else:
            sources = Sources([*([get_shipped_or_fail()] if with_shipped else []), *folders])
        command(*args, sources=sources, **options)

    return run


def get_shipped_or_fail() -> Path:
    """The folder of the shipped rules."""
    try:
        return get_shipped_rules()
    except FileNotFoundError as error:
        fail(str(error), ExitCode.USAGE)


def show_mistakes(several: list[RuleErrors], output: str) -> None:
    """Print mistakes, one a line, and how many there are."""
    errors = [error for one in several for error in one.errors]
    more = sum(one.more for one in several)
    if output == "json":
        mistakes = [
            {"file": at.file, "line": at.line, "column": at.column, "message": error.message}
            for error in errors
            for at in [error.location]
        ]
        print_json({"ok": False, "errors": mistakes, "more": more})
        return
    for error in errors:
        click.echo(escape_text(str(error)))
    count = len(errors) + more
    untold = f", {more} of them not shown" if more else ""
    click.echo(f"{count} mistake{'s' if count != 1 else ''}{untold}: nothing is loaded until they are mended", err=True)


def _find_service_sources(config: Path | None) -> Sources:
    settings = load_or_fail({"config": config}, consequence="no rules were read")
    try:
        return Sources(find_rule_sources(settings), settings)
    except FileNotFoundError as error:
        fail(str(error), ExitCode.USAGE)


def _say_where(sources: Sources, config: Path | None) -> None:
    """On stderr: two people who look at different rules should see it."""
    found = find_config(config, os.environ)
    settings = f"by {found}" if found else "by the defaults; there is no settings file"
    places = ", ".join(map(str, sources.paths)) or "no place"
    click.echo(escape_text(f"rules of {places} ({settings})"), err=True)
