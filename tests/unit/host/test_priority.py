"""The reader's share of the CPU against other sessions."""

from pathlib import Path

import pytest

from monitor.host.priority import before_others


def test_the_group_is_raised_and_given_back(tmp_path: Path) -> None:
    group = tmp_path / "autogroup"
    group.write_text("/autogroup-17 nice 0\n")

    with before_others(group):
        assert group.read_text() == "-5"
    assert group.read_text() == "0"


@pytest.mark.parametrize("text", ["/autogroup-17 nice -10\n", "/autogroup-17 nice 5\n", ""])
def test_what_somebody_chose_stays(tmp_path: Path, text: str) -> None:
    group = tmp_path / "autogroup"
    group.write_text(text)

    with before_others(group):
        assert group.read_text() == text
    assert group.read_text() == text


def test_a_kernel_without_groups_by_session_is_fine(tmp_path: Path) -> None:
    with before_others(tmp_path / "none"):
        assert not (tmp_path / "none").exists()
