"""Command lines of real processes that are longer than is kept: head and tail come, and rules match in both."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitor.model.arguments import CUT
from monitor.wire import _layout as layout
from tests.support import make
from tests.support.rule_texts import load_text, rule_text
from tests.support.sensors import Watcher, run, the_exec

pytestmark = pytest.mark.kernel

TRUE = "/bin/true"
HEAD, TAIL = layout.ARGS_HEAD_BYTES, layout.ARGS_TAIL_BYTES
KEPT = HEAD + TAIL
ARGUMENT_MAX = 128 * 1024 - 1
"""MAX_ARG_STRLEN, its NUL taken off."""


def padded(total: int) -> tuple[str, str]:
    """A command whose arguments have so many bytes, with their NULs."""
    return TRUE, "z" * (total - len(TRUE) - 2)


def show(part: bytes) -> list[str]:
    return [piece.decode("utf-8", "backslashreplace") for piece in part.split(b"\0")]


def expected(command: tuple[str, ...]) -> list[str]:
    """Head and tail of the arguments as they lie in memory, the mark between them."""
    memory = b"".join(argument.encode() + b"\0" for argument in command)
    tail = show(memory[-TAIL:].removeprefix(b"\0"))
    head = show(memory[:HEAD])
    return [*(head if head[-1] else head[:-1]), CUT, *tail[:-1]]


def test_exactly_what_is_kept_is_whole(watcher: Watcher) -> None:
    command = padded(KEPT)

    event = the_exec(watcher, run(*command))

    assert event.args == command
    assert (event.args_truncated, event.args_omitted_bytes, event.args_cut_at) == (False, 0, -1)


def test_of_one_byte_more_that_byte_is_left_out(watcher: Watcher) -> None:
    event = the_exec(watcher, run(*padded(KEPT + 1)))

    assert (event.args_truncated, event.args_omitted_bytes, event.args_cut_at) == (True, 1, 2)
    assert event.args == (TRUE, "z" * (HEAD - len(TRUE) - 1), CUT, "z" * (TAIL - 1))


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("y" * ARGUMENT_MAX,), id="one of 128 KiB"),
        pytest.param(tuple(f"{number:06}" for number in range(1_000)), id="a thousand short ones"),
        pytest.param(("y" * ARGUMENT_MAX,) * 12, id="more than a megabyte"),
        pytest.param(("",) * 5_000, id="empty ones"),
        pytest.param(tuple("é" * number for number in range(90)), id="characters of two bytes"),
        pytest.param(("x" * (HEAD - len(TRUE) - 2), "y" * 2_000, "z" * (TAIL - 1)), id="cuts between arguments"),
    ],
)
def test_long_arguments_keep_head_and_tail(watcher: Watcher, arguments: tuple[str, ...]) -> None:
    command = (TRUE, *arguments)

    event = the_exec(watcher, run(*command))

    assert list(event.args) == expected(command)
    assert event.args_truncated
    assert event.args_omitted_bytes == sum(len(argument.encode()) + 1 for argument in command) - KEPT
    assert event.args[event.args_cut_at] == CUT


@pytest.mark.parametrize("padding", [("A" * ARGUMENT_MAX,), ("--header", "x" * 90) * 500], ids=["one", "many"])
@pytest.mark.parametrize(
    ("item", "argument"),
    [
        ("CommandLine|endswith: ' --run=evil'", "--run=evil"),
        ("CommandLine|contains: '--run=evil'", "--run=evil; true"),
        ("CommandLine|re: 'run=e..l$'", "--run=EVIL --run=evil"),
        ("process.args: '--run=evil'", "--run=evil"),
        ("CommandLine|startswith: /bin/true", "anything"),
        ("CommandLine: '/bin/true *evil'", "--run=evil"),
    ],
)
def test_what_comes_after_padding_is_matched(
    watcher: Watcher, tmp_path: Path, padding: tuple[str, ...], item: str, argument: str
) -> None:
    engine = make.engine(load_text(tmp_path, rule_text(f"sel: {{{item}}}\ncondition: sel")))

    event = the_exec(watcher, run(TRUE, *padding, argument))

    assert make.names(make.alerts(engine.handle(event))) == ["rule_0"]


def test_no_literal_is_matched_across_what_was_left_out(watcher: Watcher, tmp_path: Path) -> None:
    """Head and tail would make the word together."""
    begin, end = TRUE + "\0", "d" + "t" * (TAIL - 2)
    head = "h" * (HEAD - len(begin) - len("watche")) + "watche"
    rules = load_text(tmp_path, rule_text("sel: {CommandLine|contains: [watched, 'watche d']}\ncondition: sel"))

    event = the_exec(watcher, run(TRUE, head + "m" * 1_000 + end))

    assert event.args == (TRUE, head, CUT, end)
    assert not make.alerts(make.engine(rules).handle(event))


@contextmanager
def deep_folder(top: Path, levels: int) -> Iterator[int]:
    """A descriptor of a folder whose path has 251 bytes for each level."""
    folder = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 250, dir_fd=folder)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    yield folder
    os.close(folder)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[int]:
    """Deeper than the 4,096 bytes that are kept of a path."""
    with deep_folder(tmp_path, 20) as folder:
        yield folder


def run_in(folder: int, name: str = TRUE) -> int:
    return run(name, preexec_fn=lambda: os.fchdir(folder))


def test_a_working_directory_longer_than_is_kept_has_its_end_and_is_marked(watcher: Watcher, deep: int) -> None:
    event = the_exec(watcher, run_in(deep))

    assert event.is_cwd_truncated
    assert event.cwd == ("/" + "d" * 250) * 16
    assert not event.is_path_truncated


def test_a_working_directory_that_just_fits_is_whole(watcher: Watcher, tmp_path: Path) -> None:
    with deep_folder(tmp_path, 15) as folder:
        event = the_exec(watcher, run_in(folder))

    assert not event.is_cwd_truncated
    assert event.cwd == str(tmp_path) + ("/" + "d" * 250) * 15


def test_a_program_whose_path_is_longer_than_is_kept_has_its_end_and_is_marked(watcher: Watcher, deep: int) -> None:
    program = os.open("program", os.O_WRONLY | os.O_CREAT, 0o755, dir_fd=deep)
    os.write(program, Path(TRUE).read_bytes())
    os.close(program)

    event = the_exec(watcher, run_in(deep, "./program"))

    assert event.is_path_truncated
    assert event.executable.endswith("d/program")
    assert len(event.executable) <= 4096
