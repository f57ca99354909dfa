"""``stockade status``: health and counters of the running service."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from monitor.cli.output import (
    ExitCode,
    fail,
    format_bytes,
    format_duration,
    format_option,
    print_json,
    print_table,
    quiet_end,
    run_dir_option,
)
from monitor.sinks.client import ServiceConnection, ServiceRefused, ServiceUnavailable
from monitor.sinks.escape import escape_text
from monitor.sinks.requests import StatusRequest
from monitor.sinks.status import (
    ContainerStatus,
    DenialStatus,
    FrozenStatus,
    LostStatus,
    Status,
    SubjectStatus,
    parse_status,
)

SUBJECTS_SHOWN: Final = 10
CONTAINERS_SHOWN: Final = 20
CGROUPS_SHOWN: Final = 10
TIERS: Final = ("lsm", "hold", "kill", "observe")


@click.command()
@format_option("pretty", "json")
@run_dir_option
@quiet_end
def status(*, output: str, run_dir: Path) -> None:
    """Show health and counters of the running service."""
    try:
        with ServiceConnection(run_dir / "stream.sock") as connection:
            document = connection.ask(StatusRequest(), "status")
    except (ServiceUnavailable, ServiceRefused) as error:
        fail(str(error), ExitCode.HOST)
    if output == "json" and isinstance(document, dict):
        print_json(document)
        return
    try:
        show_status(parse_status(document))
    except ValueError as error:
        fail(f"the service is of another version: {error}", ExitCode.INTERNAL)


def show_status(status: Status) -> None:
    """Print a status for people: what is wrong first, then tables."""
    _show_head(status)
    for note in status.notes:
        click.echo(f"note: {escape_text(note)}")
    _show_events(status)
    _show_denial(status.denial)
    _show_frozen(status.frozen)
    _show_losses("lost", "not written by the kernel", status.lost)
    _show_losses("limited", "held back by a container's limit", status.limited)
    _show_sensors(status)
    _show_rules(status)
    _show_subjects(status.subjects)
    _show_containers(status)


def _show_head(status: Status) -> None:
    own = status.own
    host = f" on {status.host_name}" if status.host_name else ""
    kernel = f", Linux {status.kernel}" if status.kernel else ""
    click.echo(escape_text(f"stockade {status.version}{host}{kernel}, up {format_duration(status.uptime_s)}"))
    parts = [f"mode {status.mode}"]
    if status.tier:
        parts.append(f"tier {status.tier}")
    if status.guards.on:
        refused = sum(status.guards.refused.values())
        parts.append(f"guarded, {refused} attempts refused" if refused else "guarded")
    if own.pss_bytes:
        parts.append(f"{format_bytes(own.pss_bytes)} of memory, {own.cpu_percent:.1f} % of a core")
    if status.hierarchy:
        parts.append(f"containers told apart by {status.hierarchy}")
    parts.append(f"{status.stream.subscribers} subscribers")
    if status.dropped.subscribers or status.dropped.console:
        parts.append(
            f"dropped {status.dropped.subscribers} by slow subscribers, {status.dropped.console} by the console"
        )
    click.echo(escape_text(", ".join(parts)))


def _show_table(title: str, headers: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    rows = list(rows)
    if not rows:
        return
    click.echo(f"\n{title}")
    print_table(headers, rows, indent="  ")


def _show_events(status: Status) -> None:
    rows = [(name, rate.count, f"{rate.per_s:.1f}") for name, rate in status.events.items()]
    _show_table("events", ("event", "count", "per second"), rows)


def _show_denial(denial: DenialStatus) -> None:
    if denial.rules:
        counts = [f"{count} {tier}" for tier in TIERS if (count := denial.rules.get(tier))]
        files = f"; {denial.files} files known, whatever they are called" if denial.files else ""
        click.echo(f"\ndeny rules by tier: {', '.join(counts)}{files}")
    hold = denial.hold
    if hold is None:
        return
    click.echo(
        f"  gate: {hold.rules} rules on {hold.file_systems} file systems; {hold.held} held, {hold.denied} denied, "
        f"{hold.exempted} exempt, {hold.known} files known, slowest answer {hold.slowest_us / 1000:.1f} ms"
    )
    failed_open = hold.missed_deadlines + hold.deaths + hold.unread + hold.hurried
    if failed_open or hold.untold or hold.breaches:
        click.echo(
            f"  let through: {hold.missed_deadlines} deadlines missed, {hold.deaths} gates died, {hold.unread} unread, "
            f"{hold.hurried} runtimes not waited for; {hold.untold} denials not told, {hold.breaches} breaches"
        )


def _show_frozen(frozen: tuple[FrozenStatus, ...]) -> None:
    rows = [
        (each.id[:12], each.name, "until thawed" if each.left_s is None else format_duration(each.left_s), each.reason)
        for each in frozen
    ]
    _show_table("frozen containers (`stockade thaw CONTAINER` ends it)", ("container", "name", "left", "why"), rows)


def _show_losses(title: str, meaning: str, lost: LostStatus) -> None:
    if not lost.total:
        click.echo(f"\n{title}: none")
        return
    rows = [("event", name, count) for name, count in _largest(lost.by_type)]
    rows += [("from", name, count) for name, count in _largest(lost.by_cgroup)]
    _show_table(f"{title}: {lost.total} records {meaning}", ("by", "what", "count"), rows)


def _largest(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])[:CGROUPS_SHOWN]


def _show_sensors(status: Status) -> None:
    rows = [
        (name, "attached" if sensor.is_attached else "off", sensor.reason or ", ".join(sensor.hooks))
        for name, sensor in status.sensors.items()
    ]
    _show_table("sensors", ("sensor", "state", "where or why"), rows)


def _show_rules(status: Status) -> None:
    rules = status.rules
    by_status = ", ".join(f"{count} {name}" for name, count in sorted(rules.by_status.items()))
    of_them = f" ({by_status})" if by_status else ""
    click.echo()
    click.echo(escape_text(f"rules: {rules.active} active{of_them}, {rules.inactive} inactive"))
    rows = [(rule.name, "inactive", rule.reason) for rule in rules.inactive_rules]
    rows += [(rule.name, "disabled", rule.reason) for rule in rules.disabled]
    if rows:
        print_table(("rule", "state", "why"), rows, indent="  ")


def _show_subjects(subjects: tuple[SubjectStatus, ...]) -> None:
    rows = [
        (
            f"{subject.score:.1f}",
            subject.subject,
            subject.name or subject.subject_id[:12],
            ", ".join(f"{rule} {weight:g}" for rule, weight in subject.contributions[:3]),
        )
        for subject in subjects[:SUBJECTS_SHOWN]
    ]
    _show_table("subjects by score", ("score", "subject", "name", "made of"), rows)


def _show_containers(status: Status) -> None:
    gone = sum(each.is_gone for each in status.containers)
    title = f"containers: {len(status.containers) - gone or 'none'}"
    if gone:
        title += f", and {gone} that ended just now"
    shown = sorted(status.containers, key=lambda each: each.is_gone)[:CONTAINERS_SHOWN]
    if len(shown) < len(status.containers):
        title += f"; {CONTAINERS_SHOWN} of them"
    rows = [(each.id[:12], _name_container(each), each.runtime, each.image_name) for each in shown]
    if rows:
        _show_table(title, ("container", "name", "runtime", "image"), rows)
    else:
        click.echo(f"\n{title}")


def _name_container(container: ContainerStatus) -> str:
    if container.is_gone:
        return f"{container.name} (gone)".lstrip()
    return container.name or ("(pending)" if container.pending else "")
