"""Frames between service and gate."""

import os
import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.gate.channel import Channel, ChannelClosed
from monitor.gate.policy import LoadedPolicy
from monitor.gate.wire import (
    FRAME_BYTES_MAX,
    Fence,
    Refused,
    decode_command,
    decode_message,
    decode_policy,
    encode,
    split_policy,
)
from monitor.rules.ir import Text
from tests.support.gate import hold_policy, policy_of


@pytest.fixture
def ends() -> tuple[Channel, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(theirs), ours


def test_a_large_policy_goes_in_parts_and_is_the_same() -> None:
    names = [Text("process.executable", "exact", (f"/usr/bin/{'x' * 200}{number}",)) for number in range(1000)]
    policy = hold_policy(policy_of(*(("process_creation", name) for name in names)))
    parts = split_policy(policy)

    assert len(parts) > 4 and all(len(encode(part)) < FRAME_BYTES_MAX for part in parts)
    assert [part.is_first for part in parts].count(True) == 1 and parts[-1].is_last
    assert decode_policy(b"".join(part.data for part in parts)) == policy


@given(st.binary(max_size=200))
def test_bytes_that_are_no_frame_raise_one_error(data: bytes) -> None:
    for decode in (decode_command, decode_message, decode_policy):
        try:
            decode(data)
        except msgspec.MsgspecError:
            continue


@pytest.mark.parametrize("change", [{"vectors": ()}, {"tables": {"EXECUTABLE": [9, 9, {}]}}])
def test_a_policy_that_refers_to_nothing_is_refused(change: dict[str, object]) -> None:
    plain = msgspec.to_builtins(hold_policy(policy_of(("process_creation", Text("process.name", "exact", ("x",))))))

    with pytest.raises((IndexError, msgspec.MsgspecError)):
        LoadedPolicy(decode_policy(msgspec.msgpack.encode({**plain, **change})))


def test_nobody_is_waited_for(ends: tuple[Channel, socket.socket]) -> None:
    channel, ours = ends
    assert channel.receive() is None
    for _ in range(10_000):
        channel.send(Refused("x" * 100))

    assert channel.dropped > 0
    seen = 0
    ours.setblocking(False)
    while True:
        try:
            assert decode_message(ours.recv(FRAME_BYTES_MAX)) == Refused("x" * 100)
        except BlockingIOError:
            break
        seen += 1
    assert seen + channel.dropped == 10_000


def test_a_descriptor_comes_with_its_frame(ends: tuple[Channel, socket.socket]) -> None:
    channel, ours = ends
    fd = os.open("/", os.O_PATH)
    socket.send_fds(ours, [encode(Fence(3))], [fd])
    received = channel.receive()

    assert received is not None and received[0] == Fence(3)
    assert os.fstat(received[1]).st_ino == os.fstat(fd).st_ino
    os.close(received[1])
    os.close(fd)


def test_the_services_end_is_noticed(ends: tuple[Channel, socket.socket]) -> None:
    channel, ours = ends
    ours.close()

    with pytest.raises(ChannelClosed):
        channel.receive()
