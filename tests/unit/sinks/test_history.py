"""The history: what is kept, in which order, within which bounds."""

from monitor.sinks.history import ALERTS_MAX, BLOCK_RECORDS, History
from tests.unit.sinks import samples

MANY = 1 << 40


def filled(count: int, records_max: int = 1_000, bytes_max: int = MANY) -> History:
    history = History(records_max, bytes_max, wall_offset_ns=0)
    for number in range(1, count + 1):
        history.append(samples.context(samples.fork_event(sequence=number)))
    return history


def test_the_last_records_are_kept_in_order() -> None:
    history = filled(3_333)

    kept = [numbered.sequence for numbered in history.read(1)]

    assert kept == list(range(2_334, 3_334))
    assert len(history) == 1_000
    assert history.next_sequence == 3_334
    assert [numbered.sequence for numbered in history.read_backwards(MANY)] == kept[::-1]


def test_every_record_has_its_own_number() -> None:
    for numbered in filled(700).read(300):
        assert numbered.record.event.sequence == numbered.sequence  # type: ignore[union-attr]


def test_reading_from_and_up_to_a_number() -> None:
    history = filled(700)

    assert [numbered.sequence for numbered in history.read(698)] == [698, 699, 700]
    assert [numbered.sequence for numbered in history.read_backwards(3)] == [3, 2, 1]
    assert list(history.read_backwards(0)) == []


def test_reading_backwards_goes_on_while_records_come_and_go() -> None:
    history = filled(1_000)
    reading = history.read_backwards(1_000)
    first = next(reading)
    for _ in range(5_000):
        history.append(samples.context(samples.fork_event()))

    assert [first.sequence, *(numbered.sequence for numbered in reading)] == list(range(1_000, 0, -1))


def test_long_arguments_shorten_the_history() -> None:
    history = History(10_000, 4 << 20, wall_offset_ns=0)
    for _ in range(5_000):
        history.append(samples.context(samples.exec_event(args=("x" * 4_096,))))

    assert history.estimated_bytes <= 4 << 20
    assert 100 < len(history) < 600


def test_many_short_arguments_shorten_it_more() -> None:
    """Each is a text of its own: 4 KiB of them take 100 KiB."""
    history = History(10_000, 4 << 20, wall_offset_ns=0)
    for _ in range(1_000):
        history.append(samples.context(samples.exec_event(args=("ab",) * 1_365)))

    assert len(history) < 100 + BLOCK_RECORDS


def test_a_program_that_many_events_share_counts_once() -> None:
    history = History(10_000, MANY, wall_offset_ns=0)
    shared = samples.context(samples.exec_event(args=("x" * 4_096,)))
    for _ in range(BLOCK_RECORDS):
        history.append(shared)

    assert history.estimated_bytes < BLOCK_RECORDS * 1_000


def test_a_step_of_the_clock_moves_only_later_records() -> None:
    history = filled(10)
    history.wall_offset_ns = 5
    history.append(samples.context())

    assert [numbered.wall_offset_ns for numbered in history.read(1)] == [0] * 10 + [5]


def test_alerts_outlive_the_events_around_them() -> None:
    history = filled(10)
    history.append(samples.alert())
    for number in range(5_000):
        history.append(samples.context(samples.fork_event(sequence=number)))

    kept = [numbered.sequence for numbered in history.read_backwards(MANY)]

    assert kept == [*range(5_011, 4_011, -1), 11]
    assert [numbered.sequence for numbered in history.read_backwards(11)] == [11]
    assert [numbered.sequence for numbered in history.read(1)] == [*range(4_012, 5_012)]


def test_an_alert_comes_once_while_it_grows_old() -> None:
    history = filled(10)
    history.append(samples.alert())
    seen = []
    for numbered in history.read_backwards(MANY):
        seen.append(numbered.sequence)
        for number in range(500):
            history.append(samples.context(samples.fork_event(sequence=number)))

    assert seen == [*range(11, 0, -1)]


def test_old_alerts_are_bounded_in_number_and_bytes() -> None:
    history = History(BLOCK_RECORDS, 1 << 30, wall_offset_ns=0)
    for _ in range(ALERTS_MAX + 2 * BLOCK_RECORDS):
        history.append(samples.alert())
    many = sum(1 for _ in history.read_backwards(MANY))
    for _ in range(2_000):
        history.append(samples.alert(on=samples.context(samples.exec_event(args=("cat", "X" * 4_000)))))
    long = sum(1 for _ in history.read_backwards(MANY))

    assert ALERTS_MAX < many <= ALERTS_MAX + 2 * BLOCK_RECORDS
    assert BLOCK_RECORDS < long < many / 2


def test_no_history_keeps_no_alerts() -> None:
    history = History(0, MANY, wall_offset_ns=0)
    for _ in range(1_000):
        history.append(samples.alert())

    assert list(history.read_backwards(MANY)) == []
