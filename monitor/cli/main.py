"""`stockade`: the group of all subcommands.

A subcommand's module is imported when it is called, so that none pays for another's
imports.
"""

import signal

# Until main() runs, Ctrl-C ends us without a word: what is imported here takes a moment.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


import contextlib
import importlib
import os
import sys
from typing import Final, NoReturn

import click

from monitor import __version__
from monitor.runtime.stopping import leave_when_asked

_COMMANDS: Final = {
    "run": ("monitor.cli.run", "run", "Watch in the foreground; the service runs the same."),
    "tail": ("monitor.cli.tail", "tail", "Follow the event stream of the running service."),
    "status": ("monitor.cli.status", "status", "Health and counters of the running service."),
    "doctor": ("monitor.cli.doctor", "doctor", "What this host can do, with the fix for each gap."),
    "freeze": ("monitor.cli.freeze", "freeze", "Stop every process of a container, for a time."),
    "thaw": ("monitor.cli.thaw", "thaw", "Let a frozen container run again."),
    "kill": ("monitor.cli.kill", "kill", "Kill every process of a container."),
    "detach": ("monitor.cli.detach", "detach", "End what denies in the kernel although no service runs."),
    "rules": ("monitor.cli.rules", "rules_group", "Check, list, explain and test rules."),
    "record": ("monitor.cli.record", "record", "Keep every event in a file."),
    "replay": ("monitor.cli.replay", "replay_command", "Run a recording through the engine again."),
}
"""Module, attribute and one line of help by command; shown in this order."""
_WATCHERS: Final = frozenset({"run", "record"})
"""These run until they are asked to stop: that is no failure, from their first moment on."""


class LazyGroup(click.Group):
    """Commands by name, imported on use; the list of commands needs no import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name in _WATCHERS:
            leave_when_asked()
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
    """Watch what containers and host processes do, while they do it, and alert by rules."""


def main() -> None:
    """Entry point. No traceback reaches a user, except under ``python -X dev``."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_standard_streams()
    if "_STOCKADE_COMPLETE" in os.environ:
        cli.main(prog_name="stockade")  # a shell that asks what could come next; it ends here
    try:
        # Not cli.main(): it makes exit status 1 of a reader that has gone.
        with cli.make_context("stockade", sys.argv[1:]) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        _show(error)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        _discard_output(1)
        sys.exit(0)
    except OSError as error:
        _end(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 3, error)
    except Exception as error:
        # The edge: a mistake of ours is one line and an exit code of its own.
        _end(f"internal error: {type(error).__name__}: {error}", 4, error)


def _show(error: click.ClickException) -> None:
    try:
        error.show()
    except BrokenPipeError:
        _discard_output(2)


def _discard_output(descriptor: int) -> None:
    """What is buffered for it cannot be written: keep the interpreter from trying once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _open_standard_streams() -> None:
    """A descriptor that the caller closed would be given to the next file that we open."""
    for number in range(3):
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.dup(1), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.dup(2), "w")


def _end(message: str, code: int, error: Exception) -> NoReturn:
    import traceback  # noqa: PLC0415 - only for this

    from monitor.cli.output import warn  # noqa: PLC0415 - an import that fails must not keep the message from being seen

    if sys.flags.dev_mode:
        raise error
    if not isinstance(error, OSError):
        at = traceback.extract_tb(error.__traceback__)[-1]
        message += f" (at {at.filename}:{at.lineno}; all of it with `python -X dev -m monitor.cli.main`)"
    warn(message)
    _discard_output(1)
    sys.exit(code)


if __name__ == "__main__":
    main()
