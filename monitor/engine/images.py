"""Build :class:`ProcessImage` from an exec: joined and case-folded once, for every rule to read.

Paths repeat, so their folded forms are shared. Long texts are what a hostile
program can make us keep: :func:`build_slim` gives the short form that the process
table falls back to when too many processes hold long ones.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from monitor.model.arguments import join_cut_args
from monitor.model.events import Namespaces, ProcessExec
from monitor.model.ids import CgroupId, Tgid, Tid
from monitor.model.process import ProcessImage

NAMES_MAX: Final = 4_096
NAME_LENGTH_MAX: Final = 256
"""Longer paths are not worth sharing."""
LONG_CHARS: Final = 1_024
"""An image whose texts are longer than this counts as a long one."""
SLIM_CHARS: Final = 512
"""What each text of a slim image is cut to."""
SLIM_TAIL_CHARS: Final = 128
"""Of these, what is kept of the end of its arguments."""

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
        self._names: dict[str, tuple[str, str, str]] = {}

    def build(self, event: ProcessExec) -> ProcessImage:
        """Make the image that this exec started."""
        executable, folded, name = self._names.get(event.executable) or self._fold(event.executable)
        command_line = " ".join(event.args)
        command_folded = command_line.lower()
        if command_folded == command_line:
            command_folded = command_line  # one text instead of two equal ones
        return ProcessImage(event, executable, folded, name, command_line, command_folded)

    def _fold(self, executable: str) -> tuple[str, str, str]:
        folded = executable.lower()
        if folded == executable:
            folded = executable
        names = (executable, folded, executable.rpartition("/")[2])
        if len(executable) <= NAME_LENGTH_MAX:
            if len(self._names) >= NAMES_MAX:
                self._names.clear()
            self._names[executable] = names
        return names


def is_long(image: ProcessImage) -> bool:
    """Whether this image's texts weigh enough to be bounded."""
    event = image.exec
    return len(image.command_line) + len(image.executable) + len(event.cwd) + len(event.script) > LONG_CHARS


def build_slim(image: ProcessImage) -> ProcessImage:
    """Cut the texts of an image and say so (``args_truncated``, ``is_path_truncated``); its facts stay.

    As in the kernel, arguments keep head and tail, paths their tail.
    """
    event = _cut_args(image.exec)
    executable = image.executable[-SLIM_CHARS:]
    slim = replace(
        event,
        executable=executable,
        cwd=event.cwd[-SLIM_CHARS:],
        script=event.script[-SLIM_CHARS:],
        is_path_truncated=event.is_path_truncated or len(executable) < len(image.executable),
        is_cwd_truncated=event.is_cwd_truncated or len(event.cwd) > SLIM_CHARS,
    )
    command_line = " ".join(slim.args)
    return ProcessImage(
        slim, executable, executable.lower(), image.name[-SLIM_CHARS:], command_line, command_line.lower()
    )


def _cut_args(event: ProcessExec) -> ProcessExec:
    """Keep the first and the last of the arguments, wherever they were cut before. What goes is counted as shown."""
    has_cut = event.args_cut_at >= 0
    head = _terminate(event.args[: event.args_cut_at] if has_cut else event.args)
    tail = _terminate(event.args[event.args_cut_at + 1 :]) if has_cut else head
    chars = len(head) + (len(tail) if has_cut else 0)
    if chars <= SLIM_CHARS:
        return event
    slim_head, slim_tail = head[: SLIM_CHARS - SLIM_TAIL_CHARS], tail[-SLIM_TAIL_CHARS:]
    dropped = chars - len(slim_head) - len(slim_tail)
    args, cut_at = join_cut_args(slim_head, slim_tail)
    return replace(
        event,
        args=args,
        args_truncated=True,
        args_omitted_bytes=event.args_omitted_bytes + dropped,
        args_cut_at=cut_at,
    )


def _terminate(args: Iterable[str]) -> str:
    """Arguments as they lie in memory, each with its NUL."""
    return "".join(f"{argument}\0" for argument in args)
