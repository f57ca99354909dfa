"""Recordings: what is written comes back, what is damaged is refused."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.model.events import CgroupCreate, ContainerFrozen, ContainerResolved, LossReport, ResponseFailed, Tick
from monitor.model.ids import CgroupId
from monitor.wire import _layout as layout
from monitor.wire.recording import (
    FRAME_BYTES_MAX,
    MAGIC,
    RecordingError,
    RecordingHeader,
    RecordingReader,
    RecordingWriter,
)

HEADER = RecordingHeader(layout.FINGERPRINT, "boot", "host", 5, "0.1.0")
EVENTS = [
    Tick(1),
    CgroupCreate(2, CgroupId(3), "/docker/x"),
    LossReport(4, 0, "file_open", CgroupId(5), 6, "ring_full"),
    ContainerResolved(7, "id", "name", "image", (("a", "b"),)),
    ContainerFrozen(8, "container", "id", "id", "policy", "risk 90.0 >= 80", 3, for_s=60.0),
    ResponseFailed(9, "container", "id", "id", "command", "asked for", action="thaw", error="not frozen"),
]


def write(header: RecordingHeader = HEADER) -> bytes:
    file = io.BytesIO()
    writer = RecordingWriter(file, header)
    for event in EVENTS:
        writer.write_event(event)
    return file.getvalue()


def read(data: bytes) -> list[object]:
    return list(RecordingReader(io.BytesIO(data)))


def test_events_come_back_as_they_were() -> None:
    assert read(write()) == EVENTS


def test_the_header_comes_back() -> None:
    assert RecordingReader(io.BytesIO(write())).header == HEADER


def test_another_layout_is_refused_and_names_the_version() -> None:
    other = RecordingHeader(layout.FINGERPRINT ^ 1, "boot", "host", 5, "0.0.7")

    with pytest.raises(RecordingError, match=r"version 0\.0\.7"):
        read(write(other))


def test_a_file_that_ends_in_the_middle_of_a_frame_says_so() -> None:
    with pytest.raises(RecordingError, match="middle"):
        read(write()[:-1])


def test_a_length_beyond_the_bound_is_refused_before_it_is_read() -> None:
    with pytest.raises(RecordingError, match="damaged length"):
        read(write() + (FRAME_BYTES_MAX + 1).to_bytes(4, "little"))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_in_one_way(data: bytes) -> None:
    for file in (data, MAGIC + data, write() + data):
        try:
            read(file)
        except RecordingError as error:
            assert str(error)
