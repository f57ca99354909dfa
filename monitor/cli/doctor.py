"""``stockade doctor``: what this host can do, with the fix for each gap.

Exit status 0 when observation can run here, 3 when it cannot. A gap alone is no
failure: it says what is lost.
"""

import sys
from pathlib import Path

import click
import msgspec

from monitor.cli.output import ExitCode, fail, format_option, print_json, quiet_end
from monitor.config.settings import Settings
from monitor.runtime.check import Check, State
from monitor.runtime.host_checks import build_checks, can_observe, find_denial_tier, gather_facts
from monitor.sinks.escape import escape_text


@click.command()
@format_option("pretty", "json")
@click.option(
    "--pin-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Settings().pin_dir,
    show_default=True,
    help="Where the service's own bpffs belongs.",
)
@quiet_end
def doctor(*, output: str, pin_dir: Path) -> None:
    """Show what this host can do, and for each gap what it costs and the command that mends it.

    Changes nothing. Exit status: 0 observation can run here (gaps or not), 3 it cannot.
    """
    try:
        facts = gather_facts(pin_dir)
    except OSError as error:
        fail(f"this host cannot be looked at: {error} (is /proc mounted?)", ExitCode.HOST)
    checks = build_checks(facts)
    tier = find_denial_tier(facts)
    if output == "json":
        print_json(
            {
                "can_observe": can_observe(checks),
                "denial_tier": tier,
                "checks": [msgspec.to_builtins(check) for check in checks],
            }
        )
    else:
        _show(checks, tier)
    sys.exit(ExitCode.OK if can_observe(checks) else ExitCode.HOST)


def _show(checks: tuple[Check, ...], tier: str) -> None:
    states = max(len(check.state) for check in checks)
    names = max(len(check.name) for check in checks)
    for check in checks:
        _show_check(check, states, names)
    click.echo(f"\n{_conclude(checks, tier)}")


def _show_check(check: Check, states: int, names: int) -> None:
    colour = {State.OK: "green", State.GAP: "yellow", State.BLOCKER: "red", State.UNKNOWN: "yellow"}[check.state]
    state = click.style(check.state.ljust(states), fg=colour)  # click takes the colour out where there is no terminal
    click.echo(f"{state}   {check.name.ljust(names)}   {escape_text(check.finding)}")
    margin = " " * (states + names + 6)
    if check.cost:
        click.echo(f"{margin}costs: {escape_text(check.cost)}")
    if check.fix:
        click.echo(f"{margin}mend:  {escape_text(check.fix)}")


def _conclude(checks: tuple[Check, ...], tier: str) -> str:
    blockers = [check.name for check in checks if check.state is State.BLOCKER]
    gaps = sum(check.state is State.GAP for check in checks)
    if blockers:
        return f"Observation cannot run here: {', '.join(blockers)}."
    if not can_observe(checks):
        return "Whether observation can run here cannot be told."
    return f"Observation can run here, with {gaps or 'no'} gap{'s' if gaps != 1 else ''}; deny rules: tier {tier}."
