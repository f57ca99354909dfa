"""docs/events.md names every field that a document can have, and its program reads a real stream."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.model.alert import Contribution
from monitor.model.events import CgroupCreate, ContainerFrozen, LossReport, ResponseFailed, ServiceFailure
from monitor.model.ids import CgroupId
from monitor.model.rule import Severity
from monitor.rules.fields import find_field
from monitor.rules.unavailable import unavailable_reason
from monitor.sinks.ecs import build_alert_document, build_event_document
from monitor.sinks.requests import RespondRequest, SubscribeRequest
from monitor.sinks.status import FrozenStatus, Status
from tests.unit.sinks import samples
from tests.unit.sinks.serving import RunningStream

PAGE = (Path(__file__).resolve().parents[3] / "docs/events.md").read_text()
TOLD = set(re.findall(r"`([^`\s]+)`", PAGE))


def names(value: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all that lies in a document; ``[]`` for each item of a list of objects."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from names(item, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from names(item, f"{prefix}[]")
    else:
        yield prefix


def all_documents() -> Iterator[dict[str, object]]:
    labels = (("io.kubernetes.pod.name", "front"), ("io.kubernetes.pod.namespace", "shop"))
    place = samples.container(pod_uid="7", labels=labels, pending=True, nested_id="c")
    everything = samples.exec_event(
        args_truncated=True,
        args_omitted_bytes=7,
        args_cut_at=1,
        script="x",
        is_memfd=True,
        euid=5,
        from_proc=True,
        tid=samples.Tid(9),
    )
    for event in (
        everything,
        samples.open_event(is_upper_layer=True),
        samples.open_event(errno=2, is_path_claimed=True),
        samples.failed_event(),
        samples.access_event(),
        samples.connection_event(),
        samples.fork_event(),
        samples.exit_event(),
        samples.exit_event(signal=9),
        LossReport(1, 0, "process_exec", CgroupId(4), 12, "ring_full"),
        CgroupCreate(1, CgroupId(4), "/docker/x"),
        ServiceFailure(1, "rules", "raised"),
        ContainerFrozen(1, "container", "c", "c", "policy", "risk", 3, for_s=60.0, note="one waits"),
        ResponseFailed(1, "container", "c", "c", "command", "asked for", action="freeze", error="read-only"),
    ):
        context = samples.context(event, in_container=place, is_runtime_init=True)
        yield build_event_document(context, samples.ORIGIN, sequence=1)
    contribution = Contribution("rule", 0.5, 1.0, 1, inherited=True)
    alert = samples.alert(samples.rule(), samples.rule("other", Severity.LOW))
    detection = msgspec.structs.replace(alert.detections[0], reason="5 in 10 s")
    verdict = msgspec.structs.replace(alert.verdicts[0], subject_id="another", for_s=5.0, weakened_by="init")
    risk = msgspec.structs.replace(alert.risks[0], contributions=(contribution,) * 9)
    alert = msgspec.structs.replace(
        alert, detections=(detection, alert.detections[1]), verdicts=(verdict,), risks=(risk,)
    )
    yield build_alert_document(alert, samples.ORIGIN, sequence=1, mode="audit")


def test_every_field_is_on_the_page() -> None:
    found = {name for document in all_documents() for name in names(document)}

    assert found - TOLD == set()


def test_filters_know_every_name_or_say_why_not() -> None:
    found = {name for document in all_documents() for name in names(document)}

    assert {name for name in found if find_field(name) is None and not unavailable_reason(name)} == set()


@pytest.mark.parametrize("struct", [Status, FrozenStatus, SubscribeRequest, RespondRequest])
def test_every_key_of_status_and_request_is_on_the_page(struct: type[msgspec.Struct]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(struct)} - TOLD == set()


def test_the_program_on_the_page_reads_a_real_stream(served: RunningStream) -> None:
    served.publish(samples.alert(), samples.context())
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    process = subprocess.Popen(
        [sys.executable, "-uc", program.replace("/run/stockade/stream.sock", str(served.path))],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "Shadow file read cat /etc/shadow\n"
    served.stop()
    rest, _ = process.communicate(timeout=20)

    assert (rest, process.returncode) == ("", 0)
