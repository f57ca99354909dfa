"""Turn documents into lines for people: one line an event, alerts that stand out.

Pure. Works on documents, so that ``run``, ``tail`` and ``replay`` show the same.
All text from outside goes through :mod:`monitor.sinks.escape`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from monitor.sinks.ecs_fill import Document
from monitor.sinks.escape import escape_text, quote_args, shorten, shorten_middle

CONTAINER_WIDTH: Final = 12
USER_WIDTH: Final = 8
PROCESS_WIDTH: Final = 22
ACTION_WIDTH: Final = 11
WHAT_WIDTH: Final = 300
"""Of the last column in ``pretty``; ``wide`` shows all."""
CONTRIBUTIONS_SHOWN: Final = 4

RESET: Final = "\x1b[0m"
DIM: Final = "\x1b[2m"
CYAN: Final = "\x1b[36m"
GREEN: Final = "\x1b[32m"
BLUE: Final = "\x1b[34m"
YELLOW: Final = "\x1b[33m"
SEVERITY_COLORS: Final = {
    "informational": "\x1b[36m",
    "low": "\x1b[34m",
    "medium": "\x1b[33m",
    "high": "\x1b[1;31m",
    "critical": "\x1b[1;37;41m",
}
RED: Final = "\x1b[31m"
ACTION_COLORS: Final = {
    "exec": GREEN,
    "exec-failed": YELLOW,
    **dict.fromkeys(("open", "rename", "deletion", "link", "symlink", "truncate", "chmod", "chown"), BLUE),
    "connect": BLUE,
    **dict.fromkeys(("ptrace-attach", "ptrace-seize", "memory-read", "memory-write", "descriptor-taken"), YELLOW),
    "loss": YELLOW,
    "service-failure": YELLOW,
    **dict.fromkeys(("container-frozen", "container-killed", "processes-killed", "response-failed"), RED),
    "container-thawed": GREEN,
}


class PrettyPrinter:
    """Formats documents as lines."""

    def __init__(self, *, color: bool, wide: bool) -> None:
        self._color = color
        self._wide = wide

    def format_line(self, document: Document) -> str:
        """Return one line without its end."""
        if get_text(document, "event", "kind") == "alert":
            return self._format_alert(document)
        action = get_text(document, "event", "action")
        what = _describe(document)
        if self._wide:
            what += _describe_origin(document)
        shown = self._paint(f"{action:{ACTION_WIDTH}}", ACTION_COLORS.get(action, DIM))
        return f"{self._format_head(document)}  {shown}  {self._limit(what)}"

    def _format_alert(self, document: Document) -> str:
        level = get_text(document, "rule", "level")
        name = get_text(document, "rule", "name")
        label = self._paint(f"{level.upper():{ACTION_WIDTH}}", SEVERITY_COLORS.get(level, YELLOW))
        title = self._paint(escape_text(get_text(document, "rule", "title")), SEVERITY_COLORS.get(level, YELLOW))
        what = f"{get_text(document, 'event', 'action')} {self._limit(_describe(document))}"
        judgement = "".join(f"  {part}" for part in _judge(document) if part)
        command = self._paint(f"stockade rules explain {escape_text(name)}", DIM)
        return f"{self._format_head(document)}  {label}  {title}: {what}{judgement}  {command}"

    def _format_head(self, document: Document) -> str:
        columns = (
            self._paint(self._format_time(get_text(document, "@timestamp")), DIM),
            self._paint(self._column(_name_place(document), CONTAINER_WIDTH), CYAN),
            self._column(name_user(document), USER_WIDTH),
            self._column(_name_process(document), PROCESS_WIDTH),
        )
        return "  ".join(columns)

    def _format_time(self, timestamp: str) -> str:
        if self._wide:
            return escape_text(timestamp)
        try:
            return datetime.fromisoformat(timestamp).astimezone().strftime("%H:%M:%S.%f")[:-3]
        except ValueError:
            return escape_text(timestamp)

    def _column(self, text: str, width: int) -> str:
        text = escape_text(text)
        return f"{text if self._wide else shorten(text, width):{width}}"

    def _limit(self, text: str) -> str:
        return text if self._wide else shorten_middle(text, WHAT_WIDTH)

    def _paint(self, text: str, color: str) -> str:
        return f"{color}{text}{RESET}" if self._color else text


# --- reading documents ----------------------------------------------------------------------


def find_value(document: Document, *path: str) -> object:
    """Return what lies at a path of names; None when it is not there."""
    value: object = document
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def get_text(document: Document, *path: str) -> str:
    """Return the value at a path as text; empty when it is not there."""
    value = find_value(document, *path)
    return "" if value is None else str(value)


def list_values(document: Document, *path: str) -> list[object]:
    """Return the list at a path; empty when it is not there."""
    value = find_value(document, *path)
    return value if isinstance(value, list) else []


def name_container(document: Document) -> str:
    """Return the container's name, else the first 12 characters of its id, else ``host``."""
    name = get_text(document, "container", "name")
    return name or get_text(document, "container", "id")[:CONTAINER_WIDTH] or "host"


def _name_place(document: Document) -> str:
    """The same; of records that no container is known for nobody can say that they were the host's."""
    name = name_container(document)
    return "-" if name == "host" and get_text(document, "event", "action") == "loss" else name


def name_user(document: Document) -> str:
    """Return the user's name where it is the same everywhere, else the number."""
    return get_text(document, "user", "name") or get_text(document, "user", "id") or "-"


def _name_process(document: Document) -> str:
    pid = get_text(document, "process", "pid")
    return f"{get_text(document, 'process', 'name') or '?'}[{pid}]" if pid else "-"


# --- what happened --------------------------------------------------------------------------


def _describe(document: Document) -> str:
    """Say what this event is about, escaped."""
    describe = _DESCRIBERS.get(get_text(document, "event", "action"), _describe_other)
    return describe(document)


def _describe_exec(document: Document) -> str:
    args = [str(arg) for arg in list_values(document, "process", "args")]
    executable = get_text(document, "process", "executable")
    text = _describe_args(document, args) if args else escape_text(executable)
    if executable and args and args[0].rpartition("/")[2] != executable.rpartition("/")[2]:
        text += f"  ({escape_text(executable)})"
    flags = list_values(document, "process", "flags")
    return f"{text}  [{', '.join(map(str, flags))}]" if flags else text


def _describe_args(document: Document, args: list[str]) -> str:
    """Show the arguments. What says how much is missing has no quotes, which any argument like it has."""
    cut_at = find_value(document, "process", "args_cut_at")
    if not isinstance(cut_at, int):
        return quote_args(args) + (" …" if find_value(document, "process", "args_truncated") else "")
    omitted = escape_text(get_text(document, "process", "args_omitted_bytes"))
    parts = (quote_args(args[:cut_at]), f"[… {omitted} bytes left out …]", quote_args(args[cut_at + 1 :]))
    return " ".join(filter(None, parts))


def _describe_open(document: Document) -> str:
    access = ",".join(str(each) for each in list_values(document, "file", "access"))
    return f"{access or 'open'} {_describe_file(document)}"


def _describe_file(document: Document) -> str:
    text = escape_text(get_text(document, "file", "path"))
    if find_value(document, "file", "path_claimed"):
        text += " (claimed)"
    if code := get_text(document, "error", "code"):
        text += f": {code}"
    return text


def _describe_rename(document: Document) -> str:
    return f"{escape_text(get_text(document, 'file', 'original', 'path'))} -> {_describe_file(document)}"


def _describe_link(document: Document) -> str:
    return f"{_describe_file(document)}: another name of {escape_text(get_text(document, 'file', 'original', 'path'))}"


def _describe_symlink(document: Document) -> str:
    return f"{_describe_file(document)}: to {escape_text(get_text(document, 'file', 'target_path'))}"


def _describe_truncation(document: Document) -> str:
    return f"{_describe_file(document)}: to {get_text(document, 'file', 'size')} bytes"


def _describe_chmod(document: Document) -> str:
    return f"{escape_text(get_text(document, 'file', 'mode'))} {_describe_file(document)}"


def _describe_chown(document: Document) -> str:
    owner, group = (escape_text(get_text(document, "file", name)) for name in ("uid", "gid"))
    return f"{owner}:{group} {_describe_file(document)}"


def _describe_access(document: Document) -> str:
    path = ("target", "process")
    pid = get_text(document, *path, "pid") or get_text(document, *path, "vpid")
    return escape_text(f"{get_text(document, *path, 'executable') or '?'}[{pid or '?'}]")


def _describe_connection(document: Document) -> str:
    transport, address = get_text(document, "network", "transport"), get_text(document, "destination", "address")
    return escape_text(f"{transport}:{address}")


def _describe_exit(document: Document) -> str:
    if signal := get_text(document, "process", "exit_signal"):
        return f"signal {signal}"
    return f"status {get_text(document, 'process', 'exit_code') or '?'}"


def _describe_fork(document: Document) -> str:
    return f"by {_name_parent(document)}"


def _describe_loss(document: Document) -> str:
    lost = ("stockade", "lost")
    count, kind, reason = (get_text(document, *lost, name) for name in ("count", "event_type", "reason"))
    cgroup_id = get_text(document, *lost, "cgroup_id")
    whose = "no cgroup known" if cgroup_id == "0" else f"cgroup {cgroup_id}"
    return f"{count} {kind} records: {reason}, {whose}"


def _describe_response(document: Document) -> str:
    """Say whom it met and why, then what is not as it should be."""
    response = ("stockade", "response")
    text = get_text(document, *response, "subject")
    if text != "container":
        text += f" {get_text(document, *response, 'subject_id')}"
    if count := get_text(document, *response, "processes"):
        text += f", {count} process{'' if count == '1' else 'es'}"
    if for_s := get_text(document, *response, "for_s"):
        text += f", for {float(for_s):g} s"
    for part in (get_text(document, "event", "reason"), get_text(document, "message")):
        text += f": {part}" if part else ""
    return escape_text(text)


def _describe_response_failed(document: Document) -> str:
    return escape_text(f"{get_text(document, 'stockade', 'response', 'action')} of ") + _describe_response(document)


def _describe_other(document: Document) -> str:
    text = get_text(document, "message") or get_text(document, "stockade", "cgroup_path")
    return escape_text(text or get_text(document, "file", "path") or get_text(document, "process", "command_line"))


_DESCRIBERS: Final[dict[str, Callable[[Document], str]]] = {
    "exec": _describe_exec,
    "exec-failed": _describe_file,
    "open": _describe_open,
    "rename": _describe_rename,
    "deletion": _describe_file,
    "link": _describe_link,
    "symlink": _describe_symlink,
    "truncate": _describe_truncation,
    "chmod": _describe_chmod,
    "chown": _describe_chown,
    **dict.fromkeys(
        ("ptrace-attach", "ptrace-seize", "ptrace-traceme", "memory-read", "memory-write", "descriptor-taken"),
        _describe_access,
    ),
    **dict.fromkeys(("process-access-denied", "traceme-denied"), _describe_access),
    **dict.fromkeys(("connect", "connect-denied", "send-denied"), _describe_connection),
    "exit": _describe_exit,
    "fork": _describe_fork,
    "loss": _describe_loss,
    "container-frozen": _describe_response,
    "container-thawed": _describe_response,
    "container-killed": _describe_response,
    "processes-killed": _describe_response,
    "response-failed": _describe_response_failed,
}


def _name_parent(document: Document) -> str:
    path = get_text(document, "process", "parent", "executable")
    return escape_text(f"{path.rpartition('/')[2] or '?'}[{get_text(document, 'process', 'parent', 'pid') or '?'}]")


def _describe_origin(document: Document) -> str:
    """Say where it came from: for ``wide``."""
    parts = []
    if executable := get_text(document, "process", "executable"):
        parts.append(f"program={escape_text(executable)}")
    if find_value(document, "process", "parent"):
        parts.append(f"parent={_name_parent(document)}")
    for name, path in _WIDE:
        if text := get_text(document, *path):
            parts.append(f"{name}={escape_text(text)}")
    return "".join(f"  {part}" for part in parts)


_WIDE: Final = (
    ("cwd", ("process", "working_directory")),
    ("tty", ("process", "tty", "name")),
    ("script", ("process", "script")),
    ("image", ("container", "image", "name")),
    ("container", ("container", "id")),
    ("pod", ("orchestrator", "resource", "name")),
    ("inode", ("file", "inode")),
    ("mode", ("file", "mode")),
    ("cgroup", ("stockade", "cgroup_id")),
    ("sequence", ("event", "sequence")),
)


# --- what was judged ------------------------------------------------------------------------


def _judge(document: Document) -> list[str]:
    return [
        _describe_risk(document),
        _describe_reason(document),
        _describe_verdicts(document),
        _describe_rest(document),
    ]


def _describe_risk(document: Document) -> str:
    """Show the highest score and what it is made of."""
    risks = [risk for risk in list_values(document, "stockade", "risk") if isinstance(risk, dict)]
    if not risks:
        return ""
    risk = max(risks, key=_score)
    contributions = [each for each in list_values(risk, "contributions") if isinstance(each, dict)]
    shown = ", ".join(_describe_contribution(each) for each in contributions[:CONTRIBUTIONS_SHOWN])
    more = len(contributions) - CONTRIBUTIONS_SHOWN
    if more > 0:
        shown += f", {more} more"
    return f"score {_score(risk):g} of {get_text(risk, 'subject')} ({shown})"


def _score(risk: Document) -> float:
    score = risk.get("score")
    return float(score) if isinstance(score, int | float) else 0.0


def _describe_contribution(contribution: Document) -> str:
    text = f"{escape_text(get_text(contribution, 'rule'))} {get_text(contribution, 'weight')}"
    count = find_value(contribution, "count")
    if isinstance(count, int) and count > 1:
        text += f" x{count}"
    return f"{text} inherited" if contribution.get("inherited") else text


def _describe_reason(document: Document) -> str:
    reason = get_text(document, "event", "reason")
    return f"({escape_text(reason)})" if reason else ""


def _describe_verdicts(document: Document) -> str:
    """Show what was or would have been done; plain alerts need no word."""
    shown = []
    for verdict in list_values(document, "stockade", "verdicts"):
        if not isinstance(verdict, dict) or verdict.get("action") == "alert":
            continue
        would = "" if verdict.get("mode") == "enforce" else "would "
        shown.append(f"{would}{get_text(verdict, 'action')} {get_text(verdict, 'subject')}")
    return escape_text(", ".join(shown))


def _describe_rest(document: Document) -> str:
    """Show the other rules and the repeats that were held back."""
    own = get_text(document, "rule", "name")
    others = [str(name) for name in list_values(document, "stockade", "rules") if name != own]
    parts = [f"also {escape_text(', '.join(others))}"] if others else []
    repeats = find_value(document, "stockade", "repeats")
    if isinstance(repeats, int) and repeats:
        parts.append(f"{repeats} more like it")
    return "  ".join(parts)
