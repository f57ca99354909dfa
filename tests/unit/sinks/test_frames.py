import pytest

from monitor.sinks.frames import FrameError, FrameReader, build_frame


def test_frames_come_out_as_they_went_in_however_they_are_cut() -> None:
    frames = b"".join(build_frame({"n": number, "text": "x" * number}) for number in range(50))
    reader = FrameReader(1_000)

    payloads = [payload for byte in frames for payload in reader.feed(bytes([byte]))]

    assert payloads == list(FrameReader(1_000).feed(frames))
    assert len(payloads) == 50


@pytest.mark.parametrize("head", [b"\x00\x00\x00\x00", b"\x00\x00\x03\xe9", b"\xff\xff\xff\xff"])
def test_an_empty_or_long_frame_is_refused_by_its_head(head: bytes) -> None:
    with pytest.raises(FrameError):
        list(FrameReader(1_000).feed(head))


def test_a_lone_surrogate_is_escaped() -> None:
    assert b"\\ud800" in build_frame({"a": ["\ud800", {"\ud800": 1}]})
