"""The one catalogue of fields that rules, filters and samples may name: Sigma's taxonomy and ECS names.

A field turns a :class:`~monitor.model.process.Context` into a value. An empty
text, an empty list and an unknown number are all "not there": they match no
value but ``null``, and a condition under ``not`` is then true. What a condition
does with the value is :mod:`monitor.rules.compiler`; which names are known but
have no sensor is :mod:`monitor.rules.unavailable`.
"""

import enum
import errno
import stat
import string
from collections.abc import Callable, Iterator
from operator import attrgetter

from msgspec import Struct

from monitor.model.events import FileOpen, ProcessExec, ProcessExecFailed, ProcessExit, ProcessFork
from monitor.model.process import Context, ProcessImage
from monitor.rules.capabilities import capability_names
from monitor.rules.ruleset import Getter
from monitor.rules.unavailable import unavailable_names

TextGetter = Callable[[Context], str]

WELL_KNOWN_USERS = {0: "root", 65534: "nobody"}
"""Users that have this id on every Linux. Other names differ between containers, so they stay numbers."""

EVENT_ACTIONS = {
    ProcessFork: "fork",
    ProcessExec: "exec",
    ProcessExecFailed: "exec-failed",
    ProcessExit: "exit",
    FileOpen: "open",
}
"""``event.action`` of the event classes that a rule or filter can see."""

LABEL_PREFIX = "container.labels."

EXEC_FLAGS = (
    ("memfd", "is_memfd", "the program is an anonymous file in memory"),
    ("deleted", "is_deleted", "no directory names the program any more"),
    ("upper_layer", "is_upper_layer", "written since the image; null where the kernel cannot tell"),
    ("tmpfs", "is_tmpfs", "the program lies on a tmpfs"),
    ("32bit", "is_32bit", "a 32-bit program"),
    ("foreign_namespace", "is_foreign_namespace", "its mount is of another mount namespace"),
    ("detached_mount", "is_detached_mount", "its mount is attached nowhere"),
    ("path_truncated", "is_path_truncated", "its path is longer than 4,096 bytes"),
)
"""(name, attribute of ProcessExec, meaning) of ``process.flags.NAME``."""

OPEN_FLAGS = (
    ("upper_layer", "is_upper_layer", "written since the image; null where the kernel cannot tell"),
    ("foreign_namespace", "is_foreign_namespace", "not of the task's mount namespace"),
    ("detached_mount", "is_detached_mount", "its mount is attached nowhere"),
    ("path_truncated", "is_path_truncated", "its path is longer than 4,096 bytes"),
)
"""(name, attribute of FileOpen, meaning) of ``file.flags.NAME``."""

_FILE_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFLNK: "symlink",
}

_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class FieldKind(enum.Enum):
    """What a field's values are."""

    TEXT = "text"
    TEXTS = "list of texts"
    NUMBER = "number"
    BOOLEAN = "true or false"


class Field(Struct, frozen=True):
    """One thing that a condition can ask for."""

    name: str
    """In ECS, or in our own names where ECS has none."""
    sigma: str
    """Name in Sigma's taxonomy; empty when it has none."""
    kind: FieldKind
    description: str
    get: Getter
    """The value; None when the event has none."""
    text: TextGetter | None = None
    """TEXT: the value as text, empty when there is none."""
    folded: TextGetter | None = None
    """TEXT: the same without case (see ``fold``)."""
    fold: Callable[[str], str] = str.lower
    """How this field's texts lose their case; rule values go the same way."""
    events: frozenset[str] | None = None
    """Event classes that have the field; None: all of them."""
    aliases: tuple[str, ...] = ()
    """Other names for it: what the stream's documents call it where that differs."""


def fold_ascii(text: str) -> str:
    """Lower-case A to Z only: what the kernel's open filter does to file names."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def _or_none(text: TextGetter) -> Getter:
    def get(context: Context) -> str | None:
        return text(context) or None

    return get


def _text(
    name: str,
    sigma: str,
    text: TextGetter,
    description: str,
    *,
    folded: TextGetter | None = None,
    fold: Callable[[str], str] = str.lower,
    events: frozenset[str] | None = None,
    aliases: tuple[str, ...] = (),
) -> Field:
    def default_folded(context: Context) -> str:
        return fold(text(context))

    get, folded = _or_none(text), folded or default_folded
    return Field(name, sigma, FieldKind.TEXT, description, get, text, folded, fold, events, aliases)


def _texts(
    name: str,
    sigma: str,
    get: Callable[[Context], tuple[str, ...]],
    description: str,
    events: frozenset[str] | None = None,
) -> Field:
    def value(context: Context) -> tuple[str, ...] | None:
        return get(context) or None

    return Field(name, sigma, FieldKind.TEXTS, description, value, events=events)


def _number(
    name: str,
    sigma: str,
    get: Getter,
    description: str,
    *,
    events: frozenset[str] | None = None,
    aliases: tuple[str, ...] = (),
) -> Field:
    return Field(name, sigma, FieldKind.NUMBER, description, get, events=events, aliases=aliases)


def _flag(name: str, get: Getter, description: str, events: frozenset[str] | None = None) -> Field:
    return Field(name, "", FieldKind.BOOLEAN, description, get, events=events)


def _parent_text(attribute: str) -> TextGetter:
    get: Callable[[ProcessImage], str] = attrgetter(attribute)

    def text(context: Context) -> str:
        parent = context.parent_image
        return "" if parent is None else get(parent)

    return text


def _container_text(attribute: str) -> TextGetter:
    get = attrgetter(attribute)

    def text(context: Context) -> str:
        container = context.container
        return "" if container is None else get(container)

    return text


def _label(key: str) -> TextGetter:
    def text(context: Context) -> str:
        container = context.container
        if container is None:
            return ""
        return next((value for name, value in container.labels if name == key), "")

    return text


def user_name(uid: int) -> str:
    """``root`` for 0, ``nobody`` for 65534, else the number as text: other names differ between containers."""
    return WELL_KNOWN_USERS.get(uid) or str(uid)


def _exec_number(attribute: str) -> Getter:
    get: Getter = attrgetter(f"image.exec.{attribute}")
    return get


def _of_event(event_class: type, attribute: str) -> Getter:
    get = attrgetter(attribute)

    def value(context: Context) -> object:
        return get(context.event) if type(context.event) is event_class else None

    return value


def _file_path(context: Context) -> str:
    event = context.event
    if type(event) is FileOpen:
        return event.path
    return event.path_claimed if type(event) is ProcessExecFailed else ""


def _file_name(context: Context) -> str:
    return _file_path(context).rpartition("/")[2]


def _file_directory(context: Context) -> str:
    head, slash, _ = _file_path(context).rpartition("/")
    return head or slash


def _file_extension(context: Context) -> str:
    stem, dot, extension = _file_name(context).rpartition(".")
    return extension if dot and stem else ""


def _file_access(context: Context) -> tuple[str, ...]:
    event = context.event
    if type(event) is not FileOpen:
        return ()
    return tuple(
        name
        for name, is_set in (("read", event.is_read), ("write", event.is_write), ("create", event.is_created))
        if is_set
    )


def _outcome(context: Context) -> str:
    event = context.event
    if type(event) is ProcessExecFailed:
        return "failure"
    return "failure" if type(event) is FileOpen and event.errno else "success"


def _errno_name(context: Context) -> str:
    event = context.event
    if not isinstance(event, FileOpen | ProcessExecFailed) or not event.errno:
        return ""
    return errno.errorcode.get(event.errno, str(event.errno))


def _file_type(context: Context) -> str:
    event = context.event
    return _FILE_TYPES.get(stat.S_IFMT(event.file_mode), "") if type(event) is FileOpen else ""


def _exec_flags(context: Context) -> tuple[str, ...]:
    program = context.image.exec
    return tuple(name for name, attribute, _ in EXEC_FLAGS if getattr(program, attribute))


def _open_flags(context: Context) -> tuple[str, ...]:
    event = context.event
    if type(event) is not FileOpen:
        return ()
    return tuple(name for name, attribute, _ in OPEN_FLAGS if getattr(event, attribute))


def _event_inode(context: Context) -> int | None:
    event = context.event
    return event.inode if type(event) is FileOpen else context.image.exec.inode or None


def _entity_id(context: Context) -> str:
    key = context.process.key
    return f"{key.tgid}-{key.start_boottime_ns}"


def _script_name(context: Context) -> str:
    return context.image.exec.script.rpartition("/")[2]


_FILE = frozenset({"FileOpen", "ProcessExecFailed"})
_OPEN = frozenset({"FileOpen"})
_EXIT = frozenset({"ProcessExit"})


def _fields() -> Iterator[Field]:
    yield from _process_fields()
    yield from _parent_fields()
    yield from _user_fields()
    yield from _flag_fields()
    yield from _file_fields()
    yield from _container_fields()
    yield _text("event.action", "", lambda c: EVENT_ACTIONS.get(type(c.event), ""), "exec exec-failed exit fork open")
    yield _text("event.outcome", "", _outcome, "success or failure")
    yield _text("error.code", "", _errno_name, "errno of a failed call, e.g. ENOENT", events=_FILE)


def _process_fields() -> Iterator[Field]:
    yield _text(
        "process.executable",
        "Image",
        attrgetter("image.executable"),
        "path of the program, as the kernel resolved it (of a script: its interpreter)",
        folded=attrgetter("image.executable_folded"),
    )
    yield _text(
        "process.name",
        "",
        attrgetter("image.name"),
        "last component of process.executable",
        folded=lambda c: c.image.name.lower(),
    )
    yield _text(
        "process.command_line",
        "CommandLine",
        attrgetter("image.command_line"),
        "arguments joined by single spaces (the first 4 KiB)",
        folded=attrgetter("image.command_line_folded"),
    )
    yield _texts(
        "process.args", "", attrgetter("image.exec.args"), "arguments; a condition holds when any one fulfils it"
    )
    yield _number(
        "process.args_count", "", lambda c: len(c.image.exec.args), "number of arguments, the program's name included"
    )
    yield _flag(
        "process.args_truncated", attrgetter("image.exec.args_truncated"), "there were more than 4 KiB of arguments"
    )
    yield _text("process.working_directory", "CurrentDirectory", attrgetter("image.exec.cwd"), "at the exec")
    yield _text("process.script", "", attrgetter("image.exec.script"), "of a script: its name as given to execve")
    yield _text("process.script_name", "", _script_name, "last component of process.script")
    yield _number(
        "process.pid", "ProcessId", attrgetter("process.key.tgid"), "as the host's first pid namespace shows it"
    )
    yield _text("process.entity_id", "", _entity_id, "one life of one process, for group-by")
    yield _number("process.vpid", "", _exec_number("namespace_tgid"), "in its own pid namespace")
    yield _number("process.thread.id", "", lambda c: getattr(c.event, "tid", None), "thread that did it")
    yield _number(
        "process.session_id", "", _exec_number("session_id"), "POSIX session", aliases=("process.session_leader.pid",)
    )
    yield _text("process.tty.name", "", attrgetter("image.exec.tty"), "controlling terminal, e.g. pts0")
    yield _flag("process.interactive", lambda c: bool(c.image.exec.tty), "has a controlling terminal")
    yield _number("process.exit_code", "", _of_event(ProcessExit, "exit_status"), "0 to 255", events=_EXIT)
    yield _number(
        "process.exit_signal", "", _of_event(ProcessExit, "signal"), "signal that ended it, or 0", events=_EXIT
    )
    for kind in ("mnt", "pid", "net", "user", "uts", "ipc", "cgroup"):
        yield _number(
            f"process.namespaces.{kind}", "", _exec_number(f"namespaces.{kind}"), f"inode of the {kind} namespace"
        )


def _parent_fields() -> Iterator[Field]:
    yield _text(
        "process.parent.executable",
        "ParentImage",
        _parent_text("executable"),
        "program of the process that forked this one, at the fork",
        folded=_parent_text("executable_folded"),
    )
    yield _text("process.parent.name", "", _parent_text("name"), "last component of process.parent.executable")
    yield _text(
        "process.parent.command_line",
        "ParentCommandLine",
        _parent_text("command_line"),
        "arguments of the parent, joined by single spaces",
        folded=_parent_text("command_line_folded"),
    )
    yield _texts(
        "process.parent.args",
        "",
        lambda c: () if c.parent_image is None else c.parent_image.exec.args,
        "arguments of the parent",
    )
    yield _text(
        "process.parent.script",
        "",
        _parent_text("exec.script"),
        "of a parent that is a script: its name as given to execve",
    )
    yield _number(
        "process.parent.pid",
        "ParentProcessId",
        lambda c: None if c.process.parent_key is None else c.process.parent_key.tgid,
        "process that forked this one",
    )
    yield _number(
        "process.parent.user.id",
        "",
        lambda c: None if c.parent_image is None else c.parent_image.exec.uid,
        "uid of the parent at its exec",
    )


def _user_fields() -> Iterator[Field]:
    yield _number("user.id", "", lambda c: getattr(c.event, "uid", None), "real uid of the task")
    yield _text(
        "user.name", "User", lambda c: user_name(getattr(c.event, "uid", 0)), "root, nobody, else the uid as text"
    )
    yield _number("user.effective.id", "", _exec_number("euid"), "effective uid at the exec")
    yield _number("group.id", "", _exec_number("gid"), "real gid at the exec", aliases=("user.group.id",))
    yield _number(
        "group.effective.id",
        "",
        _exec_number("egid"),
        "effective gid at the exec",
        aliases=("user.effective.group.id",),
    )
    yield _number(
        "process.login_uid",
        "",
        _exec_number("login_uid"),
        "audit login uid; 4294967295 when unset",
        aliases=("user.login.id",),
    )
    yield _number("process.cap_effective", "", _exec_number("cap_effective"), "effective capabilities as a bit mask")
    yield _texts(
        "process.thread.capabilities.effective",
        "",
        lambda c: capability_names(c.image.exec.cap_effective),
        "names such as CAP_SYS_ADMIN",
    )
    yield _texts(
        "process.thread.capabilities.permitted",
        "",
        lambda c: capability_names(c.image.exec.cap_permitted),
        "names such as CAP_SYS_ADMIN",
    )


def _flag_fields() -> Iterator[Field]:
    yield _texts("process.flags", "", _exec_flags, "those of the following that are set")
    for name, attribute, description in EXEC_FLAGS:
        yield _flag(f"process.flags.{name}", attrgetter(f"image.exec.{attribute}"), description)


def _file_fields() -> Iterator[Field]:
    yield _text(
        "file.path", "TargetFilename", _file_path, "as the kernel resolved it; of a failed call: the name given",
        fold=fold_ascii, events=_FILE,
    )  # fmt: skip
    yield _text("file.name", "", _file_name, "last component of file.path", fold=fold_ascii, events=_FILE)
    yield _text(
        "file.directory", "", _file_directory, "file.path without its last component", fold=fold_ascii, events=_FILE
    )
    yield _text("file.extension", "", _file_extension, "of file.name, without the dot", fold=fold_ascii, events=_FILE)
    yield _texts("file.access", "", _file_access, "of read, write and create", _OPEN)
    yield _flag("file.created", _of_event(FileOpen, "is_created"), "this open made the file", _OPEN)
    yield _flag("file.path_claimed", _of_event(FileOpen, "is_path_claimed"), "the path is what user memory said", _OPEN)
    yield _texts("file.flags", "", _open_flags, "those of the following that are set", _OPEN)
    for name, attribute, description in OPEN_FLAGS:
        yield _flag(f"file.flags.{name}", _of_event(FileOpen, attribute), description, _OPEN)
    yield _text("file.type", "", _file_type, "file dir char block fifo socket symlink", events=_OPEN)
    yield _number("file.inode", "", _event_inode, "of the opened file; of the program for process events")
    yield _number("file.mode", "", _of_event(FileOpen, "file_mode"), "i_mode: type and permission bits", events=_OPEN)
    yield _number("file.link_count", "", _of_event(FileOpen, "link_count"), "hard links", events=_OPEN)


def _container_fields() -> Iterator[Field]:
    yield _text("container.id", "", _container_text("id"), "full id; absent for host processes")
    yield _text("container.name", "", _container_text("name"), "absent until the runtime has told it")
    yield _text("container.image.name", "", _container_text("image_name"), "absent until the runtime has told it")
    yield _text("container.runtime", "", _container_text("runtime"), "docker containerd cri-o podman runc ...")
    yield _text("container.nested.id", "", _container_text("nested_id"), "innermost id when runtimes are nested")
    yield _text(
        "container.pod.uid", "", _container_text("pod_uid"), "Kubernetes pod", aliases=("orchestrator.resource.id",)
    )
    yield _flag(
        "container.pending",
        lambda c: None if c.container is None else c.container.pending,
        "name, image, labels not known yet",
    )
    yield _flag("container.runtime_init", attrgetter("is_runtime_init"), "the runtime's own set-up step")


FIELDS: tuple[Field, ...] = tuple(_fields())
"""Every field with a fixed name."""

_BY_NAME: dict[str, Field] = {
    name: field for field in FIELDS for name in (field.name, field.sigma, *field.aliases) if name
}


def find_field(name: str) -> Field | None:
    """The field of this ECS or Sigma name; ``container.labels.KEY`` for any key. None when there is no such field."""
    field = _BY_NAME.get(name)
    if field is None and name.startswith(LABEL_PREFIX) and len(name) > len(LABEL_PREFIX):
        return _text(name, "", _label(name.removeprefix(LABEL_PREFIX)), "label of the container")
    return field


def field_names() -> tuple[str, ...]:
    """Every fixed name that a rule may use, in both taxonomies, and those that are known to have no sensor."""
    return (*_BY_NAME, *unavailable_names())


def describe_fields() -> list[tuple[str, str, str, str]]:
    """(ECS name, Sigma name, kind, description) of every field, in the catalogue's order."""
    return [(field.name, field.sigma, field.kind.value, field.description) for field in FIELDS]
