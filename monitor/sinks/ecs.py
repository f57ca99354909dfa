"""Turn contexts and alerts into documents with ECS names: what every subscriber and every output sees.

Pure. A document is nested dictionaries of plain values, ready for JSON or msgpack;
what is empty or unknown is left out. The field list, with meanings, is docs/events.md.
The filter and rule language reads contexts, not documents (:mod:`monitor.rules.fields`).

Names come from the Elastic Common Schema 8; what it has no name for is below
``stockade``. https://www.elastic.co/guide/en/ecs/8.17/ecs-field-reference.html
"""

import re
from collections.abc import Set
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from monitor.model.alert import Alert, Contribution, Detection, Risk, Verdict
from monitor.model.container import Container
from monitor.model.events import TaskEvent
from monitor.model.process import Context
from monitor.sinks.ecs_fill import KINDS, Document, fill_event, nested
from monitor.sinks.origin import Origin

RULES_MAX: Final = 16
"""Rules that one alert document names."""
CONTRIBUTIONS_MAX: Final = 8
"""Contributions shown of each subject; the number of the rest is in ``contributions_more``."""

_WELL_KNOWN_USERS: Final = {0: "root", 65534: "nobody"}
"""The same everywhere on Linux; other names differ between containers, so they stay numbers."""
_TECHNIQUE_TAG: Final = re.compile(r"attack\.(t\d{4}(?:\.\d{3})?)", re.IGNORECASE)
_TACTIC_TAG: Final = re.compile(r"attack\.([a-z][a-z_-]+)")


def build_event_document(context: Context, origin: Origin, *, sequence: int) -> Document:
    """Describe one event. ``sequence`` is the number of its publication, from 1."""
    event = context.event
    kind = KINDS[type(event)]
    head: Document = {"kind": "event", "category": [*kind.categories], "type": [*kind.types], "action": kind.action}
    document: Document = {"@timestamp": build_timestamp(event.ktime_ns + origin.wall_offset_ns), "event": head}
    own: Document = {"ktime_ns": event.ktime_ns}
    if context.has_process:
        document["process"] = _build_process(context)
    if isinstance(event, TaskEvent):
        document["user"] = _build_user(event.uid)
        own |= {"cgroup_id": event.cgroup_id, "cpu": event.cpu, "cpu_sequence": event.sequence}
    if context.container is not None:
        document |= _build_container(context.container, is_runtime_init=context.is_runtime_init)
    document["host"] = {"name": origin.host_name}
    document["stockade"] = own
    fill_event(event, document)
    head["sequence"] = sequence
    return document


def build_alert_document(alert: Alert, origin: Origin, *, sequence: int, mode: str) -> Document:
    """Describe one alert: its event, the rules that matched, the risk and what was decided.

    ``mode`` is the service's (``audit`` or ``enforce``); each verdict has its own.
    """
    document = build_event_document(alert.context, origin, sequence=sequence)
    leading = max(alert.detections, key=lambda detection: detection.rule.severity)
    head = nested(document, "event")
    own = nested(document, "stockade")
    document["@timestamp"] = build_timestamp(alert.ktime_ns + origin.wall_offset_ns)
    head["kind"] = "alert"
    head["severity"] = int(leading.rule.severity)
    if leading.reason:
        head["reason"] = leading.reason
    document["rule"] = {
        "id": leading.rule.id,
        "name": leading.rule.name,
        "title": leading.rule.title,
        "level": leading.rule.severity.label,
    }
    threat = _build_threat(alert.detections)
    if threat:
        document["threat"] = threat
    for detail in (
        "ktime_ns",
        "namespaces",
        "cap_effective",
        "cap_permitted",
        "cpu",
        "cpu_sequence",
        "open_flags",
        "fd",
    ):
        own.pop(detail, None)  # the event's own document has them; an alert stays small
    own |= _build_judgement(alert, mode)
    return document


def build_timestamp(wall_ns: int) -> str:
    """Format wall time as RFC 3339 in UTC with nanoseconds."""
    seconds, rest_ns = divmod(wall_ns, 1_000_000_000)
    return f"{_format_second(seconds)}.{rest_ns:09d}Z"


@lru_cache(maxsize=16)
def _format_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


# --- process, container ---------------------------------------------------------------------


def _build_process(context: Context) -> Document:
    image, event = context.image, context.event
    process: Document = {"pid": context.process.key.tgid, "entity_id": context.entity_id}
    if image.executable:
        process["executable"] = image.executable
        process["name"] = image.name
    if image.command_line:
        process["command_line"] = image.command_line
    if isinstance(event, TaskEvent) and int(event.tid) != int(event.tgid):
        process["thread"] = {"id": event.tid}
    parent = _build_parent(context)
    if parent:
        process["parent"] = parent
    return process


def _build_user(uid: int) -> Document:
    fields: Document = {"id": str(uid)}
    if name := _WELL_KNOWN_USERS.get(uid):
        fields["name"] = name
    return fields


def _build_parent(context: Context) -> Document:
    """Describe the process that forked this one, with the program it ran at the fork."""
    parent: Document = {}
    key = context.process.parent_key
    image = context.parent_image
    if key is not None:
        parent["pid"] = key.tgid
    if entity_id := context.parent_entity_id:
        parent["entity_id"] = entity_id
    if image is not None and image.executable:
        parent["executable"] = image.executable
        parent["command_line"] = image.command_line
    return parent


def _build_container(container: Container, *, is_runtime_init: bool) -> Document:
    fields: Document = {"id": container.id, "runtime": container.runtime}
    if container.name:
        fields["name"] = container.name
    if container.image_name:
        fields["image"] = {"name": container.image_name}
    if container.nested_id:
        fields["nested"] = {"id": container.nested_id}
    if container.pending:
        fields["pending"] = True
    if is_runtime_init:
        fields["runtime_init"] = True
    if not container.pod_uid:
        return {"container": fields}
    return {"container": fields, "orchestrator": _build_orchestrator(container)}


def _build_orchestrator(container: Container) -> Document:
    labels = dict(container.labels)
    pod: Document = {"type": "pod", "id": container.pod_uid}
    fields: Document = {"type": "kubernetes", "resource": pod}
    if name := labels.get("io.kubernetes.pod.name"):
        pod["name"] = name
    if namespace := labels.get("io.kubernetes.pod.namespace"):
        fields["namespace"] = namespace
    return fields


# --- alerts ---------------------------------------------------------------------------------


def _build_threat(detections: tuple[Detection, ...]) -> Document:
    """Collect ATT&CK ids from the rules' tags (``attack.t1059.004``, ``attack.execution``)."""
    techniques: dict[str, None] = {}
    tactics: dict[str, None] = {}
    for tag in dict.fromkeys(tag for detection in detections[:RULES_MAX] for tag in detection.rule.tags):
        if match := _TECHNIQUE_TAG.fullmatch(tag):
            techniques[match[1].upper()] = None
        elif match := _TACTIC_TAG.fullmatch(tag):
            tactics[match[1].replace("_", "-")] = None
    threat: Document = {}
    if techniques:
        threat["technique"] = {"id": list(techniques)}
    if tactics:
        threat["tactic"] = {"name": list(tactics)}
    return threat


def _build_judgement(alert: Alert, mode: str) -> Document:
    known = {(risk.subject, risk.subject_id) for risk in alert.risks}
    fields: Document = {
        "mode": mode,
        "risk": [_build_risk(risk) for risk in alert.risks],
        "verdicts": [_build_verdict(verdict, known) for verdict in alert.verdicts],
        "repeats": alert.repeats,
    }
    if len(alert.detections) > 1:
        names = dict.fromkeys(detection.rule.name for detection in alert.detections)
        fields["rules"] = list(names)[:RULES_MAX]
    if alert.ancestors:
        fields["ancestors"] = list(alert.ancestors)
    return fields


def _build_risk(risk: Risk) -> Document:
    fields: Document = {"subject": risk.subject, "subject_id": risk.subject_id, "score": round(risk.score, 1)}
    weightiest = sorted(risk.contributions, key=lambda contribution: -contribution.weight)
    fields["contributions"] = [_build_contribution(contribution) for contribution in weightiest[:CONTRIBUTIONS_MAX]]
    if len(weightiest) > CONTRIBUTIONS_MAX:
        fields["contributions_more"] = len(weightiest) - CONTRIBUTIONS_MAX
    return fields


def _build_contribution(contribution: Contribution) -> Document:
    fields: Document = {
        "rule": contribution.rule,
        "weight": round(contribution.weight, 3),
        "age_s": round(contribution.age_s, 1),
        "count": contribution.count,
    }
    if contribution.inherited:
        fields["inherited"] = True
    return fields


def _build_verdict(verdict: Verdict, known: Set[tuple[str, str]]) -> Document:
    """Describe a verdict; the id of its subject is left out when the risks name it already."""
    fields: Document = {"action": verdict.action, "mode": verdict.mode, "subject": verdict.subject}
    if (verdict.subject, verdict.subject_id) not in known:
        fields["subject_id"] = verdict.subject_id
    fields["reason"] = verdict.reason
    if verdict.for_s:
        fields["for_s"] = verdict.for_s
    if verdict.weakened_by:
        fields["weakened_by"] = verdict.weakened_by
    return fields
