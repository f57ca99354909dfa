"""A subscriber's queue: bounded whatever happens, and exact about what it dropped."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sinks.frames import FrameReader, build_frame
from monitor.sinks.subscriber import ALERTS_RESERVE, OutgoingQueue

steps = st.lists(
    st.tuples(st.sampled_from(["event", "alert"]), st.integers(1, 400)) | st.tuples(st.just("take"), st.integers(1, 3)),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps=steps, frames_max=st.integers(1, 300), bytes_max=st.integers(200, 20_000))
def test_every_record_arrives_or_is_counted_and_order_is_kept(
    steps: list[tuple[str, int]], frames_max: int, bytes_max: int
) -> None:
    queue = OutgoingQueue(frames_max, bytes_max)
    written = bytearray()
    number = 0
    for step, count in steps:
        for _ in range(count):
            if step == "take":
                written += queue.take()
                continue
            number += 1
            if queue.has_room(is_alert=step == "alert"):
                queue.put(build_frame({"number": number}))
        assert len(queue) <= frames_max + ALERTS_RESERVE + 1
    while len(queue):
        written += queue.take()

    replies = [msgspec.msgpack.decode(payload) for payload in FrameReader(1_000).feed(bytes(written))]
    arrived = [reply["number"] for reply in replies if "number" in reply]
    told = sum(reply["dropped"] for reply in replies if "dropped" in reply)
    assert arrived == sorted(arrived)
    assert len(arrived) + told == number
    assert told == queue.dropped


@settings(max_examples=100, deadline=None)
@given(frames_max=st.integers(1, 300), events=st.integers(1, 2_000))
def test_alerts_have_room_when_events_have_none(frames_max: int, events: int) -> None:
    queue = OutgoingQueue(frames_max)
    for _ in range(events):
        if queue.has_room(is_alert=False):
            queue.put(b"event")

    assert all(queue.has_room(is_alert=True) for _ in range(10))
