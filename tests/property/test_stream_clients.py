"""Whatever a client sends, the stream answers or hangs up, and goes on serving others."""

import socket
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from monitor.sinks import server
from monitor.sinks.frames import REQUEST_BYTES_MAX, FrameError, FrameReader, build_frame
from monitor.sinks.requests import StatusRequest, parse_control_request, parse_stream_request
from tests.unit.sinks import samples
from tests.unit.sinks.serving import RunningStream, read_documents, read_raw, running_stream


@pytest.fixture(scope="module")
def served() -> Iterator[RunningStream]:
    with running_stream() as stream:
        stream.publish(*[samples.context()] * 50)
        yield stream


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
keys = st.sampled_from(["op", "version", "alerts", "filter", "container", "last", "since_ns", "follow", "path"])
operations = st.sampled_from(["subscribe", "status", "observe", "reload", ""])
requests = st.dictionaries(keys, values | operations).map(build_frame)
wishes = st.fixed_dictionaries(
    {"op": st.just("subscribe")}, optional={"last": values, "filter": values, "follow": values}
)
hostile = st.lists(st.binary(max_size=200) | requests | wishes.map(build_frame), max_size=4).map(b"".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=hostile, hangs_up=st.booleans())
@example(data=b"", hangs_up=True)
@example(data=b"\x00\x00\x00\x01\x80" * 1_000, hangs_up=False)
@example(data=build_frame({"op": "subscribe"}) * 3, hangs_up=False)
@example(data=build_frame({"op": "status"}) * 1_000, hangs_up=True)
@example(data=b"\x00\x00\x3f\xff" + b"\x91" * 0x3FFF, hangs_up=False)
def test_any_bytes_leave_the_stream_working(served: RunningStream, data: bytes, *, hangs_up: bool) -> None:
    with served.connect_raw() as raw:
        try:
            raw.sendall(data)
            if not hangs_up:
                raw.shutdown(socket.SHUT_WR)
                replies = FrameReader(1 << 20).feed(read_raw(raw))
                assert all(isinstance(msgspec.msgpack.decode(reply), dict) for reply in replies)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it hung up first
    with served.connect() as client:
        assert client.ask(StatusRequest(), "status") == served.status
    assert served.thread.mistakes == []


@settings(max_examples=300, deadline=None)
@given(payload=st.binary(max_size=400) | requests.map(lambda frame: frame[4:]))
@example(payload=b"\x91" * REQUEST_BYTES_MAX)
@example(payload=b"\x81\xa2op" * 4_000)
def test_a_payload_is_a_request_or_a_frame_error(payload: bytes) -> None:
    for parse in (parse_stream_request, parse_control_request):
        try:
            parse(payload)
        except FrameError as error:
            assert str(error)


@settings(max_examples=200)
@given(st.lists(st.binary(min_size=1, max_size=300)), st.integers(1, 64))
def test_any_cut_of_bytes_gives_the_same_payloads(parts: list[bytes], size: int) -> None:
    whole = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    reader = FrameReader(300)

    found = [payload for at in range(0, len(whole), size) for payload in reader.feed(whole[at : at + size])]

    assert found == parts


def test_megabytes_of_garbage_end_the_connection_and_are_not_kept(served: RunningStream) -> None:
    with served.connect_raw() as raw, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(64):
            raw.sendall(b"\xff" * (1 << 20))
    with served.connect() as client:
        assert client.ask(StatusRequest(), "status")


@pytest.mark.parametrize("data", [b"", b"\x00\x00", build_frame({"op": "status"})[:-1]])
def test_a_client_that_does_not_ask_is_dropped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 0.05)
    with running_stream() as served, served.connect_raw() as raw:
        raw.sendall(data)

        assert b"no request within" in read_raw(raw)


def test_a_subscriber_may_be_silent_for_as_long_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 0.05)
    with running_stream() as served, served.subscribe() as quiet, served.connect_raw() as other:
        assert b"no request within" in read_raw(other)  # later than the deadline of the first
        served.publish(samples.context())

        assert read_documents(quiet, 1)


def test_connections_without_a_request_are_bounded() -> None:
    with running_stream(subscribers_max=1) as served:
        idle = [served.connect_raw() for _ in range(33)]
        assert served.thread.call(served.stream.stats).refused == 0
        with served.connect_raw() as one_more:
            assert b"too many connections" in read_raw(one_more)
        for raw in idle:
            raw.close()
