"""What ``freeze``, ``thaw`` and ``kill`` share: ask the running service, say what came of it."""

import sys
from pathlib import Path
from typing import Final, Literal

import click

from monitor.cli.output import ExitCode, fail, format_duration, print_json, warn
from monitor.sinks.client import ServiceConnection, ServiceRefused, ServiceUnavailable
from monitor.sinks.escape import escape_text
from monitor.sinks.requests import RespondRequest

ANSWER_S: Final = 40.0
"""A kill of a container that fights back is given up after less."""
CODES: Final = {
    "done": ExitCode.OK,
    "unchanged": ExitCode.FINDINGS,
    "unknown": ExitCode.USAGE,
    "failed": ExitCode.HOST,
}
PAST: Final = {"freeze": "frozen", "thaw": "thawed", "kill": "killed"}

NAME_MAX: Final = 512

Answer = dict[str, object]


def check_container(_context: click.Context, _argument: click.Parameter, text: str) -> str:
    """A name that no container can have is a slip."""
    if not 0 < len(text) <= NAME_MAX:
        raise click.BadParameter("is empty or too long: a name, an id or pod/NAME")
    return text


container_argument = click.argument("container", callback=check_container)


def ask_and_show(
    action: Literal["kill", "freeze", "thaw"], container: str, run_dir: Path, *, output: str, for_s: float = 0.0
) -> None:
    """Have it done, print one line (or the answer as JSON) and leave with the documented status."""
    answer = _ask(RespondRequest(action, container, for_s), run_dir)
    code = CODES.get(str(answer.get("result")), ExitCode.INTERNAL)
    if output == "json":
        print_json(answer)
    elif code is ExitCode.OK:
        click.echo(escape_text(describe_done(answer)))
        if message := answer.get("message"):
            warn(f"note: {message}")
    else:
        shown = f"container {answer['shown']} was not {PAST[action]}: " if "shown" in answer else ""
        warn(f"{shown}{answer.get('message', 'no reason given')}")
    sys.exit(code)


def _ask(request: RespondRequest, run_dir: Path) -> Answer:
    try:
        with ServiceConnection(run_dir / "control.sock") as control:
            answer = control.ask(request, "respond", ANSWER_S)
    except (ServiceUnavailable, ServiceRefused) as error:
        fail(str(error), ExitCode.HOST)
    if not isinstance(answer, dict):
        fail("the service is of another version", ExitCode.INTERNAL)
    return answer


def describe_done(answer: Answer) -> str:
    """One line about what was done."""
    text = f"container {answer.get('shown')} is {PAST[str(answer.get('action'))]}"
    processes, for_s = answer.get("processes"), answer.get("for_s")
    if isinstance(processes, int) and processes:
        text += f": {processes} process{'' if processes == 1 else 'es'}"
    if answer.get("action") == "freeze":
        is_timed = isinstance(for_s, int | float) and for_s
        text += f", for {format_duration(float(str(for_s)))}" if is_timed else ", until it is thawed"
    return text
