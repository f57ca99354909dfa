"""`stockade`: the group of all subcommands.

A subcommand's module is imported when it is called, so that none pays for another's
imports.
"""

import importlib
import sys
from typing import Final

import click

from monitor import __version__

_COMMANDS: Final = {
    "run": ("monitor.cli.run", "run", "Watch in the foreground; the service runs the same."),
    "tail": ("monitor.cli.tail", "tail", "Follow the event stream of the running service."),
    "status": ("monitor.cli.status", "status", "Health and counters of the running service."),
    "doctor": ("monitor.cli.doctor", "doctor", "What this host can do, with the fix for each gap."),
    "rules": ("monitor.cli.rules", "rules_group", "Check, list, explain and test rules."),
    "record": ("monitor.cli.record", "record", "Keep every event in a file."),
    "replay": ("monitor.cli.replay", "replay_command", "Run a recording through the engine again."),
}
"""Module, attribute and one line of help by command; shown in this order."""


class LazyGroup(click.Group):
    """Commands by name, imported on use; the list of commands needs no import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stockade")
def cli() -> None:
    """Watch what containers and host processes do, and stop what must not happen."""


def main() -> None:
    """Entry point. No traceback reaches a user."""
    try:
        cli.main(standalone_mode=False, prog_name="stockade")
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
