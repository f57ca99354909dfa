"""Lines for people: what they say, and that nothing hostile reaches a terminal."""

import io
import json
import os
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

import msgspec
import pytest

from monitor.model.events import LossReport
from monitor.model.ids import CgroupId
from monitor.model.process import Context
from monitor.model.rule import Severity
from monitor.sinks.console import ConsoleSink, build_renderer, is_colored
from monitor.sinks.ecs import build_alert_document, build_event_document
from tests.unit.sinks import samples

HOSTILE = "/tmp/a\x1b[2J\n\r\x07\x9b31m\u202egpj.exe\u200b\u2028x"


def line(context: Context, output: str = "pretty", *, color: bool = False) -> str:
    document = build_event_document(context, samples.ORIGIN, sequence=1)
    return build_renderer(output, color=color)(document).decode()


def alert_line(*rules: Any, color: bool = False, **changes: Any) -> str:
    document = build_alert_document(samples.alert(*rules, **changes), samples.ORIGIN, sequence=1, mode="audit")
    return build_renderer("pretty", color=color)(document).decode()


def test_an_exec_shows_container_user_process_and_arguments() -> None:
    shown = line(
        samples.context(samples.exec_event(args=("sh", "-c", "cat 'a b'", "")), in_container=samples.container())
    )

    assert shown.split("  ")[1].strip() == "web-1"
    assert "root" in shown
    assert "cat[1234]" in shown
    assert shown.endswith("sh -c \"cat 'a b'\" ''  (/usr/bin/cat)\n")


@pytest.mark.parametrize(("cgroup_id", "whose"), [(0, "no cgroup known"), (7, "cgroup 7")])
def test_a_loss_of_no_container_is_not_the_hosts(cgroup_id: int, whose: str) -> None:
    shown = line(samples.context(LossReport(1, 0, "file_open", CgroupId(cgroup_id), 12, "ring_full")))

    assert shown.endswith(f"12 file_open records: ring_full, {whose}\n")
    assert "host" not in shown


def test_containers_without_a_name_show_their_id_and_host_processes_say_host() -> None:
    assert samples.CONTAINER_ID[:12] in line(samples.context(in_container=samples.container(name="")))
    assert samples.CONTAINER_ID[:13] not in line(samples.context(in_container=samples.container(name="")))
    assert "  host " in line(samples.context())


@pytest.mark.parametrize(
    ("event", "end"),
    [
        (samples.exec_event(is_memfd=True, is_deleted=True), "cat /etc/shadow  [memfd, deleted]"),
        (samples.exec_event(args=()), "/usr/bin/cat"),
        (
            samples.exec_event(args=("cat", "…", "x", "…", "y z"), args_omitted_bytes=70, args_cut_at=3),
            "cat '…' x [… 70 bytes left out …] 'y z'",
        ),
        (
            samples.exec_event(args=("…",), args_omitted_bytes=70, args_cut_at=0),
            "[… 70 bytes left out …]  (/usr/bin/cat)",
        ),
        (samples.open_event(), "read /etc/shadow"),
        (samples.open_event("x", errno=13, is_path_claimed=True), "read x (claimed): EACCES"),
        (samples.failed_event("/no"), "/no (claimed): ENOENT"),
        (samples.change_event("/b", "rename", source="/a"), "/a -> /b (claimed)"),
        (samples.access_event(), "/usr/sbin/sshd[77]"),
        (samples.access_event(target_tgid=0, target_executable=""), "?[7]"),
        (samples.connection_event("@a\nb"), "unix:@a\\nb"),
        (samples.denial_event("connect", "/run/docker.sock"), "unix:/run/docker.sock"),
        (samples.denial_event("traceme", "/bin/a"), "/bin/a[?]"),
        (samples.change_event("/b", "link", source="/a"), "/b (claimed): another name of /a"),
        (samples.change_event("/b", "symlink", target="a\nb"), "/b (claimed): to a\\nb"),
        (samples.change_event("/b", "deletion"), "/b (claimed)"),
        (samples.change_event("/b", "truncate", inode=3, is_path_claimed=False), "/b: to 0 bytes"),
        (samples.change_event("/b", "chmod", file_mode=0o4711), "4711 /b (claimed)"),
        (samples.change_event("/b", "chown", owner=0), "0: /b (claimed)"),
        (samples.exit_event(exit_status=2), "status 2"),
        (samples.exit_event(signal=11), "signal 11"),
        (samples.fork_event(), "by bash[1200]"),
    ],
)
def test_what_happened_ends_the_line(event: Any, end: str) -> None:
    assert line(samples.context(event)).endswith(f"  {end}\n")


def test_padding_does_not_push_the_end_of_a_line_out_of_sight() -> None:
    padded = samples.context(samples.exec_event(args=("cat", "x" * 5_000, "/etc/shadow")))

    assert line(padded).endswith("xx /etc/shadow\n")
    assert len(line(padded)) < 400
    assert len(line(padded, "wide")) > 5_000


@pytest.mark.parametrize("output", ["pretty", "wide", "json"])
@pytest.mark.parametrize(
    "event",
    [
        samples.exec_event(HOSTILE, (HOSTILE, HOSTILE), cwd=HOSTILE, tty=HOSTILE, script=HOSTILE),
        samples.open_event(HOSTILE),
        samples.failed_event(HOSTILE),
    ],
)
def test_nothing_hostile_reaches_a_terminal(event: Any, output: str) -> None:
    container = samples.container(name=HOSTILE, image_name=HOSTILE)
    shown = line(samples.context(event, in_container=container), output)

    assert shown.endswith("\n")
    assert shown[:-1].isprintable()


def test_json_is_readable_where_it_is_safe() -> None:
    shown = line(samples.context(samples.open_event("/tmp/größe")), "json")

    assert "/tmp/größe" in shown
    assert json.loads(shown)["file"]["path"] == "/tmp/größe"


def test_json_keeps_hostile_text_exact() -> None:
    text = HOSTILE + "\x7f"
    assert json.loads(line(samples.context(samples.open_event(text)), "json"))["file"]["path"] == text


def test_msgpack_documents_follow_each_other() -> None:
    document = build_event_document(samples.context(), samples.ORIGIN, sequence=1)

    assert msgspec.msgpack.decode(build_renderer("msgpack", color=False)(document)) == document


def test_an_alert_has_severity_score_contributions_and_ends_with_its_explanation() -> None:
    shown = alert_line()

    assert "  HIGH " in shown
    assert "Shadow file read: open read /etc/shadow" in shown
    assert "score 62.5 of container (shadow_read 0.5)" in shown
    assert shown.endswith("  stockade rules explain shadow_read\n")


def test_an_alert_tells_repeats_other_rules_and_what_would_be_done() -> None:
    verdict = msgspec.structs.replace(samples.alert().verdicts[0], action="kill")
    shown = alert_line(samples.rule(), samples.rule("other", Severity.LOW), repeats=3, verdicts=(verdict,))

    assert "would kill lineage" in shown
    assert "also other" in shown
    assert "3 more like it" in shown


def test_colour_marks_severity_and_is_absent_when_not_wanted() -> None:
    assert "\x1b[1;31m" in alert_line(color=True)
    assert "\x1b" not in alert_line()


def test_a_broken_document_is_still_a_line() -> None:
    for output in ("pretty", "wide"):
        for document in ({}, {"event": 3, "process": []}, {"event": {"kind": "alert"}, "stockade": {"risk": [1, {}]}}):
            shown = build_renderer(output, color=False)(document)
            assert shown.count(b"\n") == 1


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_and_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert is_colored(Terminal())
    assert not is_colored(io.BytesIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not is_colored(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not is_colored(Terminal())


def sink(stream: Any, **options: Any) -> ConsoleSink:
    return ConsoleSink(stream, samples.ORIGIN, output="json", color=False, mode="audit", **options)


def test_the_sink_writes_everything_in_order_before_it_stops() -> None:
    stream = io.BytesIO()
    console = sink(stream)
    console.start()
    for _ in range(1_000):
        console.publish_event(samples.context())
    console.publish_alert(samples.alert())
    console.stop()

    documents = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert [document["event"]["sequence"] for document in documents] == list(range(1, 1_002))
    assert documents[-1]["event"]["kind"] == "alert"


def test_the_sink_of_alerts_alone_numbers_as_the_stream_does() -> None:
    stream = io.BytesIO()
    console = sink(stream, alerts_only=True)
    console.start()
    console.publish_event(samples.context())
    console.publish_alert(samples.alert())
    console.stop()

    (document,) = map(json.loads, stream.getvalue().splitlines())
    assert document["event"]["sequence"] == 2


def test_a_paused_output_costs_its_own_records_only(caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        console = sink(stream)
        console.start()
        for _ in range(20_000):
            console.publish_event(samples.context())
        console.publish_alert(samples.alert())
        assert console.dropped > 0

        received: list[bytes] = []
        reading = threading.Thread(target=lambda: received.extend(os.fdopen(reader, "rb")))
        reading.start()
        console.stop()
    reading.join()
    assert len(received) == 20_001 - console.dropped
    assert json.loads(received[-1])["event"]["kind"] == "alert"
    assert f"{console.dropped} records not shown" in caplog.text


def open_left_pipe() -> BinaryIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "wb", buffering=0)


def open_full_disk() -> BinaryIO:
    return os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb", buffering=0)


@pytest.mark.parametrize(
    ("open_output", "reason"),
    [(open_left_pipe, "Broken pipe"), (open_full_disk, "No space left on device")],
    ids=["nobody reads it", "disk full"],
)
def test_an_output_that_takes_no_more_is_told_once(
    open_output: Callable[[], BinaryIO], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_output() as stream:
        console = sink(stream)
        console.start()
        console.publish_event(samples.context())
        console.stop()
        console.publish_event(samples.context())

    assert [record.getMessage() for record in caplog.records] == [
        f"nothing more is shown here ({reason}); the service goes on: see `stockade tail`"
    ]
