"""The decoder meets arbitrary bytes: it answers an event or a DecodeError, nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.model.events import Event
from monitor.wire import _layout as layout
from monitor.wire.decoder import EVENT_NAMES, DecodeError, decode_record

TYPES = st.sampled_from(sorted(EVENT_NAMES))
LONGEST = max(struct.size for struct in layout.STRUCTS.values())


def decode_or_none(data: bytes, offset: int, length: int) -> Event | None:
    try:
        return decode_record(data, offset, length)
    except DecodeError:
        return None


@given(st.binary(max_size=600))
def test_arbitrary_bytes_give_an_event_or_a_decode_error(data: bytes) -> None:
    event = decode_or_none(data, 0, len(data))

    assert event is None or isinstance(event, Event)


@given(TYPES, st.binary(min_size=LONGEST, max_size=5000))
def test_a_known_type_with_arbitrary_fields_gives_an_event_or_a_decode_error(kind: int, rest: bytes) -> None:
    data = kind.to_bytes(2, "little") + rest

    event = decode_or_none(data, 0, len(data))

    assert event is None or isinstance(event, Event)


@given(TYPES, st.binary(min_size=LONGEST, max_size=800), st.integers(0, 64))
def test_the_place_in_the_ring_changes_nothing(kind: int, rest: bytes, padding: int) -> None:
    data = kind.to_bytes(2, "little") + rest

    moved = decode_or_none(bytes(padding) + data + b"behind", padding, len(data))

    assert moved == decode_or_none(data, 0, len(data))


@given(TYPES, st.integers(0, LONGEST))
def test_a_record_that_is_cut_short_is_refused(kind: int, length: int) -> None:
    data = kind.to_bytes(2, "little") + bytes(LONGEST)
    shortest = min(struct.size for struct in layout.STRUCTS.values() if struct.size >= 64)

    if length < shortest:
        with pytest.raises(DecodeError):
            decode_record(data, 0, length)
