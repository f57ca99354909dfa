"""Images, and their short form."""

import pytest

from monitor.engine.images import SLIM_ARGS_MAX, SLIM_CHARS, SLIM_TAIL_CHARS, ImageBuilder, build_slim, is_long
from monitor.model.arguments import CUT
from tests.support import make

SLIM_HEAD = SLIM_CHARS - SLIM_TAIL_CHARS


def test_a_slim_image_keeps_head_and_tail_of_its_arguments() -> None:
    image = ImageBuilder().build(make.exec("/bin/sh", args=("sh", "-c", "x" * 2_000, "the end")))

    slim = build_slim(image)

    event = slim.exec
    assert event.args == ("sh", "-c", "x" * (SLIM_HEAD - 6), CUT, "x" * (SLIM_TAIL_CHARS - 9), "the end")
    assert (event.args_truncated, event.args_cut_at) == (True, 3)
    assert event.args_omitted_bytes == 6 + 2_001 + 8 - SLIM_CHARS
    assert slim.command_line == " ".join(event.args)


def test_an_image_cut_by_the_kernel_is_cut_around_the_same_place() -> None:
    args = ("sh", "a" * 3_000, CUT, "b" * 1_000, "the end")
    event = make.exec("/bin/sh", args=args, args_truncated=True, args_omitted_bytes=70_000, args_cut_at=2)

    slim = build_slim(ImageBuilder().build(event)).exec

    assert slim.args == ("sh", "a" * (SLIM_HEAD - 3), CUT, "b" * (SLIM_TAIL_CHARS - 9), "the end")
    assert slim.args_cut_at == 2
    assert slim.args_omitted_bytes == 70_000 + 3_004 + 1_009 - SLIM_CHARS


def test_a_mark_that_the_program_was_given_is_an_argument() -> None:
    event = make.exec("/bin/sh", args=("sh", CUT, "x" * 2_000))

    slim = build_slim(ImageBuilder().build(event)).exec

    assert slim.args[:2] == ("sh", CUT)
    assert slim.args_cut_at == 3


def test_short_arguments_stay_whole_when_a_path_is_long() -> None:
    image = ImageBuilder().build(make.exec("/" + "d" * 3_000, args=("sh", "-c", "id"), cwd="/" + "c" * 3_000))

    slim = build_slim(image).exec

    assert slim.args == ("sh", "-c", "id")
    assert not slim.args_truncated
    assert (slim.is_path_truncated, slim.is_cwd_truncated) == (True, True)
    assert (slim.executable, slim.cwd) == ("d" * SLIM_CHARS, "c" * SLIM_CHARS)


def test_of_many_arguments_the_first_and_the_last_are_kept() -> None:
    image = ImageBuilder().build(make.exec("/bin/sh", args=tuple(f"{number}" for number in range(2_000))))

    slim = build_slim(image).exec

    assert slim.args == ("0", "1", "2", "3", "4", CUT, "1997", "1998", "1999")
    assert slim.args_omitted_bytes == sum(len(f"{number}") + 1 for number in range(5, 1_997))


@pytest.mark.parametrize("letter", ["x", "X", "\u00df", "\u4e00", "\U0001f600"])
@pytest.mark.parametrize("count", [1, SLIM_ARGS_MAX, 500])
def test_a_slim_image_is_never_long_itself(letter: str, count: int) -> None:
    path, args = "/" + letter * 1_000, (letter * (4_000 // count),) * count
    image = ImageBuilder().build(make.exec(path, args=args, cwd=path, script=path))
    assert is_long(image)

    assert not is_long(build_slim(image))
