"""The stream through its socket: who gets what, in which order, and what a slow reader costs."""

import asyncio
import os
import socket
import stat
from pathlib import Path

import msgspec
import pytest

from monitor.config.settings import StreamSettings
from monitor.rules.filters import parse_filter
from monitor.sinks import server
from monitor.sinks.client import ServiceConnection, ServiceRefused, ServiceUnavailable
from monitor.sinks.frames import build_frame
from monitor.sinks.origin import Origin
from monitor.sinks.requests import ReloadRequest, StatusRequest, SubscribeRequest
from monitor.sinks.stream import EventStream
from tests.unit.sinks import samples
from tests.unit.sinks.serving import (
    RunningStream,
    read_documents,
    read_raw,
    read_rest,
    running_stream,
    sequences,
)


def test_a_subscriber_gets_what_is_published_from_then_on(served: RunningStream) -> None:
    served.publish(samples.context())
    with served.subscribe() as client:
        served.publish(samples.context(samples.open_event("/etc/passwd")), samples.alert())

        first, second = read_documents(client, 2)

    assert first["file"]["path"] == "/etc/passwd"  # type: ignore[index]
    assert second["rule"]["name"] == "shadow_read"  # type: ignore[index]
    assert sequences([first, second]) == [2, 3]


def test_history_and_live_records_join_without_gap_or_repeat(served: RunningStream) -> None:
    served.publish(*[samples.context()] * 700)
    with served.subscribe(last=500) as client:
        served.publish(*[samples.context()] * 300)

        documents = read_documents(client, 800)

    assert sequences(documents) == list(range(201, 1001))


def test_more_subscribers_than_replays_catch_up_on_a_host_that_is_never_quiet(served: RunningStream) -> None:
    """A record comes in every turn of the loop."""

    def publish_for_ever() -> None:
        served.publish_here(samples.context())
        served.thread.loop.call_soon(publish_for_ever)

    served.thread.call(publish_for_ever)
    clients = [served.subscribe(last=5) for _ in range(5)]

    assert [len(read_documents(client, 50)) for client in clients] == [50] * 5
    for client in clients:
        client.close()


def test_all_of_the_history_without_following_ends_by_itself(served: RunningStream) -> None:
    served.publish(*[samples.context()] * 2_000)
    with served.subscribe(follow=False) as client:
        *documents, end = read_rest(client)

    assert sequences(documents) == list(range(1, 2_001))
    assert end == {"end": "no more is kept"}


def test_the_last_records_are_the_last_that_match(served: RunningStream) -> None:
    wanted = samples.context(samples.exec_event("/usr/bin/curl", ("curl",)))
    other = samples.context()
    served.publish(wanted, other, wanted, wanted, other, other)
    with served.subscribe(last=2, filter="Image|endswith: /curl", follow=False) as client:
        *documents, _ = read_rest(client)

    assert sequences(documents) == [3, 4]


def test_since_goes_by_wall_time(served: RunningStream) -> None:
    served.publish(*(samples.context(samples.exec_event(ktime_ns=second * 10**9)) for second in range(10)))
    with served.subscribe(since_ns=samples.WALL_OFFSET_NS + 7 * 10**9, follow=False) as client:
        *documents, _ = read_rest(client)

    assert sequences(documents) == [8, 9, 10]


def test_a_record_keeps_its_wall_time_when_the_clock_steps(served: RunningStream) -> None:
    served.publish(samples.context())
    stepped = Origin(samples.BOOT_ID, "node-1", samples.WALL_OFFSET_NS + 3_600 * 10**9)
    served.thread.call(setattr, served.stream, "origin", stepped)
    served.publish(samples.context())
    with served.subscribe(follow=False) as client:
        before, after, _ = read_rest(client)

    assert str(before["@timestamp"])[11:13] == "11"
    assert str(after["@timestamp"])[11:13] == "12"


def test_alerts_alone(served: RunningStream) -> None:
    with served.subscribe(alerts=True) as client:
        served.publish(samples.context(), samples.alert(), samples.context(), samples.alert())

        documents = read_documents(client, 2)

    assert sequences(documents) == [2, 4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web-1", [1]),
        (samples.CONTAINER_ID, [1]),
        (samples.CONTAINER_ID[:12], [1]),
        ("pod/front", [2]),
        ("host", [3]),
        ("4f1", []),
        ("unknown", []),
    ],
)
def test_a_container_is_named_by_name_id_pod_or_host(served: RunningStream, text: str, expected: list[int]) -> None:
    in_pod = samples.container(id="aa" * 32, name="c1", labels=(("io.kubernetes.pod.name", "front"),), pod_uid="7")
    served.publish(
        samples.context(in_container=samples.container()), samples.context(in_container=in_pod), samples.context()
    )
    with served.subscribe(container=text, follow=False) as client:
        *documents, _ = read_rest(client)

    assert sequences(documents) == expected


def test_a_wrong_filter_is_told(served: RunningStream) -> None:
    with served.connect() as client:
        client.send(SubscribeRequest(filter="Imag: /curl"))
        with pytest.raises(ServiceRefused, match="column 1: unknown field 'Imag'"):
            client.find_reply(10)


def test_a_filter_that_raises_ends_its_own_subscription_only(served: RunningStream) -> None:
    served.stream.parse_filter = lambda text: lambda context: 1 // 0 == 0
    with served.subscribe(filter="any") as broken, served.subscribe() as well:
        served.publish(samples.context())

        assert sequences(read_documents(well, 1)) == [1]
        with pytest.raises(ServiceRefused, match="the filter failed: ZeroDivisionError"):
            broken.find_reply(10)


def test_a_slow_subscriber_is_told_exactly_how_many_it_lost_and_nobody_else_loses() -> None:
    published = 6_000
    with running_stream(queue_events=500) as served, served.subscribe() as slow, served.subscribe() as quick:
        for _ in range(published // 100):
            served.publish(*[samples.context()] * 100)
            assert len(read_documents(quick, 100)) == 100
        stats = served.thread.call(served.stream.stats)

        assert stats.dropped > 0
        following, lost = 1, 0
        while following <= published:
            (reply,) = read_documents(slow, 1)
            if "dropped" in reply:
                lost += int(str(reply["dropped"]))
                following += int(str(reply["dropped"]))
            else:
                assert sequences([reply]) == [following], "records are missing that nobody told of"
                following += 1
        assert lost == stats.dropped

        served.publish(samples.context())
        assert sequences(read_documents(slow, 1)) == [published + 1]


def test_alerts_reach_a_subscriber_whose_queue_is_full_of_events() -> None:
    with running_stream(queue_events=100) as served, served.subscribe() as slow:
        for _ in range(50):
            served.publish(*[samples.context()] * 100)
        served.publish(samples.alert())

        replies = read_documents(slow, 1)
        while "rule" not in replies[-1]:
            replies += read_documents(slow, 1)
        (notice,) = read_documents(slow, 1)

    assert notice == {"dropped": 5_000 - (len(replies) - 1)}


def test_a_full_house_refuses_one_more() -> None:
    with running_stream(subscribers_max=2) as served, served.subscribe() as first, served.subscribe():
        with served.connect() as third:
            third.send(SubscribeRequest())
            with pytest.raises(ServiceRefused, match="too many subscribers"):
                third.find_reply(10)
        first.close()
        while served.thread.call(served.stream.stats).subscribers > 1:
            pass
        with served.subscribe():
            pass


def test_the_status_is_answered(served: RunningStream) -> None:
    with served.connect() as client:
        assert client.ask(StatusRequest(), "status") == {"version": "1", "uptime_s": 5.0}


def test_a_status_that_cannot_be_built_is_an_error_and_counted(served: RunningStream) -> None:
    def fail() -> dict[str, object]:
        raise KeyError("x")

    served.stream.build_status = fail
    with served.connect() as client, pytest.raises(ServiceRefused, match="the status cannot be built"):
        client.ask(StatusRequest(), "status")
    assert served.thread.call(served.stream.stats).failed == 1


def test_control_requests_are_not_for_this_socket(served: RunningStream) -> None:
    with served.connect() as client, pytest.raises(ServiceRefused, match="not a request"):
        client.ask(ReloadRequest(), "reload")


def test_another_version_of_the_protocol_is_refused(served: RunningStream) -> None:
    with served.connect() as client:
        client.send(SubscribeRequest(version=9))
        with pytest.raises(ServiceRefused, match="protocol version 9"):
            client.find_reply(10)


def test_stopping_says_goodbye_after_what_was_published(served: RunningStream) -> None:
    with served.subscribe() as client:
        served.publish(samples.context(), samples.context())
        served.stop()

        *documents, end = read_rest(client)

    assert sequences(documents) == [1, 2]
    assert end == {"end": "the service has stopped"}
    assert not served.path.exists()


@pytest.mark.parametrize("count", [500, 1_000, 3_000, 5_000])
def test_a_client_that_takes_its_last_words_late_is_closed_once(
    served: RunningStream, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(server, "CLOSE_TIMEOUT_S", 0.1)
    served.publish(*[samples.context()] * count)
    with served.subscribe(follow=False) as late:
        assert len(read_rest(late)) == count + 1
    served.thread.run(asyncio.sleep(0.15))  # beyond the cut-off: the loop must have nothing to say about it
    assert served.thread.mistakes == []


def test_a_client_that_never_takes_its_last_words_is_cut_off(
    served: RunningStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CLOSE_TIMEOUT_S", 0.05)
    served.status["padding"] = "x" * (1 << 20)
    with served.connect_raw() as raw:
        raw.sendall(build_frame({"op": "status"}))
        while not served.server_connections():
            pass
        while served.server_connections():
            pass
        assert len(read_raw(raw)) < 1 << 20


def test_text_that_is_no_unicode_is_shown_escaped(served: RunningStream) -> None:
    with served.subscribe() as client:
        served.publish(samples.context(samples.open_event("/tmp/\udcff")))

        (document,) = read_documents(client, 1)

    assert document["file"]["path"] == "/tmp/\\udcff"  # type: ignore[index]


def test_the_socket_is_for_root_where_the_group_does_not_exist() -> None:
    with running_stream(group="no-such-group-here") as served:
        mode = served.path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give the socket to a group and to become somebody else")
@pytest.mark.parametrize(("uid", "gid", "is_admitted"), [(65534, 1, True), (65534, 65534, False)])
def test_the_group_is_admitted_and_others_are_not(uid: int, gid: int, *, is_admitted: bool) -> None:
    with running_stream(group="daemon") as served:
        assert stat.S_IMODE(served.path.stat().st_mode) == 0o660
        assert served.path.stat().st_gid == 1
        served.folder.chmod(0o755)

        assert _can_subscribe_as(served.path, uid, gid) == is_admitted


def _can_subscribe_as(path: Path, uid: int, gid: int) -> bool:
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
                raw.settimeout(5)
                raw.connect(str(path))
                raw.sendall(build_frame({"op": "subscribe"}))
                os._exit(0 if b"hello" in raw.recv(64) else 1)
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_old_socket_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "stream.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as old:
        old.bind(str(path))
    with running_stream(tmp_path) as served, served.subscribe():
        pass
    path.write_text("precious")
    with pytest.raises(FileExistsError), running_stream(tmp_path):
        pass
    assert path.read_text() == "precious"


def test_the_socket_of_a_newer_instance_is_left_alone(tmp_path: Path) -> None:
    with running_stream(tmp_path) as older, running_stream(tmp_path) as newer:
        older.stop()

        with newer.subscribe():
            pass


def test_nobody_listening_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match=r"no service listens on .*: start it with"):
        ServiceConnection(tmp_path / "stream.sock")


def test_publishing_works_before_the_socket_is_there() -> None:
    stream = EventStream(
        Path("/nowhere/stream.sock"),
        samples.ORIGIN,
        settings=StreamSettings(),
        mode="audit",
        status=dict,
        parse_filter=parse_filter,
    )
    stream.publish_event(samples.context())
    stream.publish_alert(samples.alert())

    assert msgspec.structs.asdict(stream.stats())["published"] == 2
