"""Text of one setting to its value, and back for messages."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import values


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("90s", 90.0), ("30m", 1800.0), ("1.5h", 5400.0), ("2 d", 172_800.0)]
)
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert values.parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("512B", 512), ("4KiB", 4096), ("8MiB", 8 << 20), ("0.5 GiB", 1 << 29), ("0B", 0)]
)
def test_a_size_has_a_unit(text: str, size: int) -> None:
    assert values.parse_size_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30", "'30' needs a unit, one of ms, s, m, h, d: 30m"),
        ("30 min", "unknown unit 'min', use one of ms, s, m, h, d: 30m"),
        ("-5s", "expected a duration like 30m, not '-5s'"),
        ("", "expected a duration like 30m, not ''"),
        ("1e9s", "expected a duration like 30m, not '1e9s'"),
        ("9" * 30 + "s", "expected a duration"),
    ],
)
def test_a_wrong_duration_is_explained(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        values.parse_duration_s(text)


def test_half_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="not a whole number of bytes"):
        values.parse_size_bytes("0.3B")


@pytest.mark.parametrize("text", ["8MB", "8M", "8 mib"])
def test_sizes_that_mean_two_things_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unknown unit"):
        values.parse_size_bytes(text)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("20_000", 20_000), ("-3", -3)])
def test_an_integer_may_be_grouped(text: str, number: int) -> None:
    assert values.parse_integer(text) == number


@pytest.mark.parametrize("text", ["0x10", "1:30", "1.0", "1__0", "_1", "1_", "٣", "9" * 19, "1 "])
def test_yaml_1_1_has_other_numbers_and_we_do_not(text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        values.parse_integer(text)


def test_a_path_is_absolute() -> None:
    assert values.parse_path("/etc/stockade") == Path("/etc/stockade")
    with pytest.raises(ValueError, match="expected an absolute path, not 'etc'"):
        values.parse_path("etc")


@pytest.mark.parametrize("text", ["/a\0b", "/" + "a" * 4096])
def test_a_path_that_no_kernel_knows_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="at most 4096 bytes and no NUL"):
        values.parse_path(text)


@pytest.mark.parametrize("text", ["/", "/**", "/*/**/"])
def test_a_glob_of_everything_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names every file"):
        values.parse_glob(text)


@given(st.text())
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    for parse in (
        values.parse_duration_s,
        values.parse_size_bytes,
        values.parse_integer,
        values.parse_number,
        values.parse_boolean,
        values.parse_path,
        values.parse_glob,
        values.parse_word,
    ):
        try:
            parse(text)
        except ValueError as error:
            assert str(error).isprintable()
            assert len(str(error)) < 400


@given(st.integers(min_value=1, max_value=1 << 40))
def test_a_size_is_written_as_it_is_read(size: int) -> None:
    assert values.parse_size_bytes(values.format_size(size)) == size


@given(st.integers(min_value=1, max_value=10**8))
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    assert values.parse_duration_s(values.format_duration(seconds)) == seconds
