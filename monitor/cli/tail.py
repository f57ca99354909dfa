"""``stockade tail``: the live stream of the running service.

Results go to stdout; what is missing, and why it ended, to stderr. The service
filters; the filter is parsed here first, so that a mistake is shown with its place.
"""

import re
import select
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NoReturn

import click

from monitor.cli.output import ExitCode, fail, format_option, quiet_end, run_dir_option, warn
from monitor.sinks.client import Reply, ServiceConnection, ServiceRefused, ServiceUnavailable
from monitor.sinks.console import OUTPUTS, Renderer, build_renderer, is_colored
from monitor.sinks.requests import ObserveRequest, SubscribeRequest

UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGE: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_AGE_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def _parse_since_option(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_since(text, time.time_ns())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def parse_since(text: str, now_ns: int) -> int:
    """Turn an age before now, or an ISO time (local unless it says otherwise), into wall time in nanoseconds.

    Raises ``ValueError``.
    """
    if _AGE.fullmatch(text):
        age_s = sum(float(number) * UNITS_S[unit] for number, unit in _AGE_PART.findall(text))
        return max(0, now_ns - int(age_s * 1e9))
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
        return max(0, int(moment.timestamp() * 1e9))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is neither an age (30s, 5m, 2h, 1d) nor an ISO time (2026-11-23T15:30)") from error


def _check_container(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    if text == "":
        raise click.BadParameter("is empty: a name, an id, pod/NAME, or 'host'")
    return text


def _check_observed(_context: click.Context, _option: click.Parameter, globs: tuple[str, ...]) -> tuple[str, ...]:
    if globs:
        from monitor.runtime.visibility import check_glob  # noqa: PLC0415 - not needed without --observe

        try:
            for glob in globs:
                check_glob(glob)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return globs


@click.command()
@format_option(*OUTPUTS)
@click.option("--filter", "filter_text", metavar="EXPR", help="Only what matches, e.g. 'Image|endswith: /curl'.")
@click.option(
    "--container",
    callback=_check_container,
    metavar="C",
    help="Only this container: name, id, pod/NAME; 'host' for none.",
)
@click.option("-n", "--last", "last", type=click.IntRange(0, 1_000_000), metavar="N", help="First the last N kept.")
@click.option(
    "--since", "since_ns", callback=_parse_since_option, metavar="T", help="First what is kept since: 5m, 2h, ISO time."
)
@click.option("--no-follow", is_flag=True, help="End after what is kept.")
@click.option("--alerts", is_flag=True, help="Alerts only.")
@click.option(
    "--observe",
    "observed",
    callback=_check_observed,
    multiple=True,
    metavar="GLOB",
    help="Also stream opens of these files (root).",
)
@run_dir_option
@quiet_end
def tail(
    *,
    output: str,
    filter_text: str | None,
    container: str | None,
    last: int | None,
    since_ns: int | None,
    no_follow: bool,
    alerts: bool,
    observed: tuple[str, ...],
    run_dir: Path,
) -> None:
    """Follow the event stream of the running service.

    The service keeps the last 10,000 records in memory, alerts longer: -n and
    --since show them first, --no-follow ends there. Ends with Ctrl-C.
    """
    check_filter(filter_text)
    request = SubscribeRequest(
        alerts=alerts, filter=filter_text, container=container, last=last, since_ns=since_ns, follow=not no_follow
    )
    try:
        with ExitStack() as stack:
            for path in observed:
                control = stack.enter_context(ServiceConnection(run_dir / "control.sock"))
                control.ask(ObserveRequest(path, container=_choose_observed(container)), "observe")
            stream = stack.enter_context(ServiceConnection(run_dir / "stream.sock"))
            stream.send(request)
            follow(stream, build_renderer(output, color=is_colored(sys.stdout.buffer)))
    except (ServiceUnavailable, ServiceRefused) as error:
        fail(str(error), ExitCode.HOST)


def check_filter(text: str | None) -> None:
    """Parse the filter here, for an error with a caret; exit code 2."""
    if text is None:
        return
    from monitor.rules.filters import FilterError, parse_filter  # noqa: PLC0415 - not needed without a filter

    try:
        parse_filter(text)
    except FilterError as error:
        shown = text.replace("\n", " ").replace("\t", " ")
        fail(f"--filter: {error.message}\n  {shown}\n  {' ' * (error.column - 1)}^", ExitCode.USAGE)


def _choose_observed(container: str | None) -> Literal["any", "none", "all"]:
    if container is None:
        return "all"
    return "none" if container == "host" else "any"


def follow(stream: ServiceConnection, render: Renderer) -> None:
    """Print what comes until the service ends it. Raises ``BrokenPipeError`` when nobody reads stdout."""
    out = sys.stdout.buffer
    is_empty = True
    while True:
        if not stream.has_reply:
            out.flush()
            _wait(stream)
        reply = stream.find_reply()
        if reply is None:
            fail("the service has gone without a word: see 'journalctl -u stockade'", ExitCode.HOST)
        if "@timestamp" in reply:
            out.write(render(reply))
            is_empty = False
        elif "end" in reply:
            out.flush()
            _end(reply, is_empty=is_empty)
        else:
            _show_notice(reply)


def _wait(stream: ServiceConnection) -> None:
    """Wait for the service, and notice when nobody reads stdout any more though nothing happens."""
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    poll.register(sys.stdout, 0)  # only POLLERR and POLLHUP: the reader of a pipe has gone
    for descriptor, _ in poll.poll():
        if descriptor != stream.fileno():
            raise BrokenPipeError


def _show_notice(reply: Reply) -> None:
    if count := reply.get("dropped"):
        sys.stdout.buffer.flush()
        warn(f"{count} records dropped: they came faster than this output takes them")


def _end(reply: Reply, *, is_empty: bool) -> NoReturn:
    reason = str(reply["end"])
    if reason != "no more is kept":
        warn(reason)
    elif is_empty:
        warn("nothing that is kept matches")
    sys.exit(ExitCode.OK)
