"""Build :class:`ProcessImage` from an exec: joined and case-folded once, for every rule to read.

Paths repeat, so their folded forms are shared. Long texts are what a hostile
program can make us keep: :func:`build_slim` gives the short form that the process
table falls back to when too many processes hold long ones.
"""

from collections.abc import Sequence
from sys import getsizeof
from typing import Final

from msgspec.structs import replace

from monitor.model.arguments import join_cut_args
from monitor.model.events import Namespaces, ProcessExec
from monitor.model.ids import CgroupId, Tgid, Tid
from monitor.model.process import ProcessImage

NAMES_MAX: Final = 4_096
NAME_LENGTH_MAX: Final = 256
"""Longer paths are not worth sharing."""
LONG_BYTES: Final = 4_608
"""An image whose texts take more than this counts as a long one. A slim one never does."""
ARGUMENT_BYTES: Final = 80
"""What an argument takes, however short: a text of its own, and its place in the tuple."""
SLIM_CHARS: Final = 256
"""What each text of a slim image is cut to; to a fourth of it where a character takes more than a byte."""
SLIM_TAIL_CHARS: Final = 64
"""Of these, what is kept of the end of its arguments."""
SLIM_ARGS_MAX: Final = 8
SLIM_TAIL_ARGS: Final = 3
WIDE_SHARE: Final = 4

EMPTY_EXEC: Final = ProcessExec(
    ktime_ns=0,
    cpu=0,
    sequence=0,
    cgroup_id=CgroupId(0),
    tgid=Tgid(0),
    tid=Tid(0),
    start_boottime_ns=0,
    exec_id=0,
    uid=0,
    executable="",
    script="",
    args=(),
    args_truncated=False,
    cwd="",
    parent_tgid=Tgid(0),
    parent_start_boottime_ns=0,
    gid=0,
    euid=0,
    egid=0,
    login_uid=0xFFFFFFFF,
    session_id=0,
    tty="",
    cap_effective=0,
    cap_permitted=0,
    namespaces=Namespaces(),
    namespace_tgid=0,
    inode=0,
    device=0,
    link_count=0,
)
EMPTY_IMAGE: Final = ProcessImage(EMPTY_EXEC, "", "", "", "", "")
"""What a process runs of which nothing is known."""


class ImageBuilder:
    """Makes images; keeps a bounded table of folded paths."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, str, str, int]] = {}

    def build(self, event: ProcessExec) -> ProcessImage:
        """Make the image that this exec started."""
        executable, folded, name, weight = self._names.get(event.executable) or self._fold(event.executable)
        command_line = " ".join(event.args)
        command_folded = command_line.lower()
        weight += ARGUMENT_BYTES * len(event.args) + 2 * getsizeof(command_line)
        if command_folded == command_line:
            command_folded = command_line  # one text instead of two equal ones
        else:
            weight += getsizeof(command_folded)
        weight += getsizeof(event.cwd) + getsizeof(event.script)
        return ProcessImage(event, executable, folded, name, command_line, command_folded, weight)

    def _fold(self, executable: str) -> tuple[str, str, str, int]:
        names = _fold_name(executable)
        if len(executable) <= NAME_LENGTH_MAX:
            if len(self._names) >= NAMES_MAX:
                self._names.clear()
            self._names[executable] = names
        return names


def _fold_name(executable: str) -> tuple[str, str, str, int]:
    """Executable, its folded form, its last component, and what these take."""
    folded, name = executable.lower(), executable.rpartition("/")[2]
    weight = 2 * getsizeof(executable) + getsizeof(name)
    if folded == executable:
        return executable, executable, name, weight
    return executable, folded, name, weight + getsizeof(folded)


def is_long(image: ProcessImage) -> bool:
    """Whether this image's texts weigh enough to be bounded."""
    return image.weight_bytes > LONG_BYTES


def build_slim(image: ProcessImage) -> ProcessImage:
    """Cut the texts of an image and say so (``args_truncated``, ``is_path_truncated``); its facts stay.

    As in the kernel, arguments keep head and tail, paths their tail.
    """
    event = _cut_args(image.exec)
    executable, script, cwd = map(_cut_path, (image.executable, event.script, event.cwd))
    slim = replace(
        event,
        executable=executable,
        cwd=cwd,
        script=script,
        is_path_truncated=event.is_path_truncated or len(executable) < len(image.executable),
        is_cwd_truncated=event.is_cwd_truncated or len(cwd) < len(event.cwd),
    )
    return ImageBuilder().build(slim)


def _cut_path(path: str) -> str:
    return path[-SLIM_CHARS // _width(path) :]


def _cut_args(event: ProcessExec) -> ProcessExec:
    """Keep the first and the last of the arguments, wherever they were cut before. What goes is counted as shown."""
    has_cut = event.args_cut_at >= 0
    first = event.args[: event.args_cut_at] if has_cut else event.args
    last = event.args[event.args_cut_at + 1 :] if has_cut else ()
    chars = len(_terminate(first)) + len(_terminate(last))
    width = max(map(_width, (*first, *last)), default=1)
    if chars <= SLIM_CHARS // width and len(first) + len(last) <= SLIM_ARGS_MAX:
        return event
    if not has_cut:
        last = first  # less is kept of both ends than there is: they do not meet
    head = _terminate(first[: SLIM_ARGS_MAX - SLIM_TAIL_ARGS])[: (SLIM_CHARS - SLIM_TAIL_CHARS) // width]
    tail = _terminate(last[-SLIM_TAIL_ARGS:])[-SLIM_TAIL_CHARS // width :]
    args, cut_at = join_cut_args(head, tail)
    return replace(
        event,
        args=args,
        args_truncated=True,
        args_omitted_bytes=event.args_omitted_bytes + chars - len(head) - len(tail),
        args_cut_at=cut_at,
    )


def _width(text: str) -> int:
    return 1 if text.isascii() else WIDE_SHARE


def _terminate(args: Sequence[str]) -> str:
    """Arguments as they lie in memory, each with its NUL."""
    return "".join(f"{argument}\0" for argument in args)
