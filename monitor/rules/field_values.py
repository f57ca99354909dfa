"""Take the values of fields out of a context: one small function each, for the catalogue.

Absent values are empty texts, empty tuples and None. What an event lacks is
absent, and so is what nobody knows of it: an event without a process has no
number of arguments (not 0), a refused open no mode.
"""

import errno
import stat
from collections.abc import Callable
from operator import attrgetter

from monitor.model.events import (
    DENIED_ACCESSES,
    DENIED_CONNECTIONS,
    AccessKind,
    CgroupAttach,
    CgroupCreate,
    CgroupRemove,
    ChangeAction,
    ContainerFrozen,
    ContainerKilled,
    ContainerResolved,
    ContainerThawed,
    Denial,
    FileChange,
    FileOpen,
    GuardRefused,
    LossReport,
    NetworkConnection,
    PolicyChange,
    ProcessAccess,
    ProcessesKilled,
    ProcessExec,
    ProcessExecFailed,
    ProcessExit,
    ProcessFork,
    Response,
    ResponseFailed,
    ServiceFailure,
    Tick,
)
from monitor.model.process import Context, ProcessImage
from monitor.rules.field import Getter, TextGetter
from monitor.rules.system_paths import find_system_path

WELL_KNOWN_USERS = {0: "root", 65534: "nobody"}
"""Users that have this id on every Linux. Other names differ between containers, so they stay numbers."""

LOGIN_UID_UNSET = 0xFFFF_FFFF
"""``(uid_t) -1``: no login yet."""

EVENT_ACTIONS = {
    ProcessFork: "fork",
    ProcessExec: "exec",
    ProcessExecFailed: "exec-failed",
    ProcessExit: "exit",
    FileOpen: "open",
    Denial: "denied",
    FileChange: "change",
    ProcessAccess: "process-access",
    NetworkConnection: "connect",
    CgroupCreate: "cgroup-create",
    CgroupRemove: "cgroup-remove",
    CgroupAttach: "cgroup-attach",
    ContainerResolved: "container-resolved",
    LossReport: "loss",
    PolicyChange: "policy-change",
    ServiceFailure: "service-failure",
    GuardRefused: "guard-refused",
    ContainerFrozen: "container-frozen",
    ContainerThawed: "container-thawed",
    ContainerKilled: "container-killed",
    ProcessesKilled: "processes-killed",
    ResponseFailed: "response-failed",
    Tick: "tick",
}
"""``event.action`` of each event class, as documents have it; changes, accesses and denials say their own."""
DENIED_ACTIONS = (
    "exec-denied",
    "exec-check-denied",
    "open-denied",
    "map-denied",
    "mprotect-denied",
    "create-denied",
    *(f"{action}-denied" for action in ChangeAction),
    *(f"{action}-denied" for action in sorted(DENIED_ACCESSES | DENIED_CONNECTIONS)),
)
ACTIONS = (
    *(action for kind, action in EVENT_ACTIONS.items() if kind is not FileChange and kind is not ProcessAccess),
    *map(str, ChangeAction),
    *map(str, AccessKind),
    *DENIED_ACTIONS,
)
"""All that ``event.action`` can be."""
_CALLS = (
    ProcessFork, ProcessExec, ProcessExecFailed, ProcessExit, FileOpen, FileChange, ProcessAccess, NetworkConnection,
    Denial,
)  # fmt: skip
"""Events that succeeded or failed."""

EXEC_FLAGS = (
    ("memfd", "is_memfd", "the program is an anonymous file in memory"),
    ("deleted", "is_deleted", "no directory names the program any more"),
    ("upper_layer", "is_upper_layer", "written since the image; null where the kernel cannot tell"),
    ("tmpfs", "is_tmpfs", "the program lies on a tmpfs"),
    ("other_filesystem", "is_other_filesystem", "not on the file system of its root directory (a volume, a tmpfs)"),
    ("32bit", "is_32bit", "a 32-bit program"),
    ("foreign_namespace", "is_foreign_namespace", "its mount is of another mount namespace"),
    ("detached_mount", "is_detached_mount", "its mount is attached nowhere"),
    ("path_truncated", "is_path_truncated", "its path is longer than 4,095 bytes: the beginning is missing"),
    ("working_directory_truncated", "is_cwd_truncated", "that is longer than 4,095 bytes: the beginning is missing"),
)
"""(name, attribute of ProcessExec, meaning) of ``process.flags.NAME``."""

OPEN_FLAGS = (
    ("upper_layer", "is_upper_layer", "written since the image; null where the kernel cannot tell"),
    ("foreign_namespace", "is_foreign_namespace", "not of the task's mount namespace"),
    ("detached_mount", "is_detached_mount", "its mount is attached nowhere"),
    ("path_truncated", "is_path_truncated", "its path is longer than 4,095 bytes: the beginning is missing"),
)
"""(name, attribute of FileOpen and FileChange, meaning) of ``file.flags.NAME``."""

FILE_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFLNK: "symlink",
}


def parent_text(attribute: str) -> TextGetter:
    """A text of the parent's program."""
    get: Callable[[ProcessImage], str] = attrgetter(attribute)

    def text(context: Context) -> str:
        parent = context.parent_image
        return "" if parent is None else get(parent)

    return text


def container_text(attribute: str) -> TextGetter:
    """A text of the container."""
    get = attrgetter(attribute)

    def text(context: Context) -> str:
        container = context.container
        return "" if container is None else get(container)

    return text


def label(key: str) -> TextGetter:
    """The container's label of this name."""

    def text(context: Context) -> str:
        container = context.container
        if container is None:
            return ""
        return next((value for name, value in container.labels if name == key), "")

    return text


def user_name(uid: int) -> str:
    """``root`` for 0, ``nobody`` for 65534, else the number as text: other names differ between containers."""
    return WELL_KNOWN_USERS.get(uid) or str(uid)


def event_user_name(context: Context) -> str:
    """The name of the task's real user."""
    uid = getattr(context.event, "uid", None)
    return "" if uid is None else user_name(uid)


def of_program(attribute: str) -> Getter:
    """A fact of the exec that started the program; None when nothing told what the process runs."""
    get = attrgetter(attribute)

    def value(context: Context) -> object:
        program = context.image.exec
        return get(program) if program.tgid else None

    return value


def known_of_program(attribute: str) -> Getter:
    """The same where 0 means that nobody knows."""
    get = of_program(attribute)
    return lambda context: get(context) or None


def args_count(context: Context) -> int | None:
    """Number of arguments, as far as they are kept."""
    program = context.image.exec
    return len(program.args) - (program.args_cut_at >= 0) if program.tgid else None


def args_cut_at(context: Context) -> int | None:
    """Place of the mark among the arguments of which some are left out."""
    cut_at = context.image.exec.args_cut_at
    return cut_at if cut_at >= 0 else None


def is_interactive(context: Context) -> bool | None:
    """Whether the program has a controlling terminal."""
    program = context.image.exec
    return program.tty != "" if program.tgid else None


def login_uid(context: Context) -> int | None:
    """Audit login uid, when there was a login."""
    program = context.image.exec
    return program.login_uid if program.tgid and program.login_uid != LOGIN_UID_UNSET else None


def parent_uid(context: Context) -> int | None:
    """Uid of the parent at its exec."""
    parent = context.parent_image
    return parent.exec.uid if parent is not None and parent.exec.tgid else None


def exit_code(context: Context) -> int | None:
    """Status of a process that ended by itself."""
    event = context.event
    return event.exit_status if type(event) is ProcessExit and not event.signal else None


def exit_signal(context: Context) -> int | None:
    """Signal that ended a process."""
    event = context.event
    return event.signal or None if type(event) is ProcessExit else None


def of_event(event_class: type, attribute: str) -> Getter:
    """An attribute of events of this class; other classes have no such value."""
    get = attrgetter(attribute)

    def value(context: Context) -> object:
        return get(context.event) if type(context.event) is event_class else None

    return value


def of_opened(attribute: str) -> Getter:
    """A fact of an opened file; None when there is none, since the open was refused."""
    get = attrgetter(attribute)

    def value(context: Context) -> object:
        event = context.event
        return get(event) if type(event) is FileOpen and not event.errno else None

    return value


def of_file(attribute: str) -> Getter:
    """A fact of an opened file, or of one that was changed by descriptor; a name alone has none."""
    get, of_open = attrgetter(attribute), of_opened(attribute)

    def value(context: Context) -> object:
        event = context.event
        if type(event) is FileChange:
            return get(event) if event.inode else None
        return of_open(context)

    return value


def file_flag(attribute: str) -> Getter:
    """What the walk of the path, or of its folder, said of it."""
    get, of_open = attrgetter(attribute), of_opened(attribute)

    def value(context: Context) -> object:
        return get(context.event) if type(context.event) is FileChange else of_open(context)

    return value


def of_walked(attribute: str) -> Getter:
    """What is known of a path even where there is no file: of a refused open too."""
    get = attrgetter(attribute)

    def value(context: Context) -> object:
        return get(context.event) if isinstance(context.event, FileOpen | FileChange) else None

    return value


def is_path_claimed(context: Context) -> bool | None:
    """Whether the file's path is what user memory said."""
    event = context.event
    if isinstance(event, FileOpen | FileChange):
        return event.is_path_claimed
    if type(event) is Denial:
        return False
    return True if type(event) is ProcessExecFailed else None


def file_path(context: Context) -> str:
    """The path of an open, of a change or of what was denied, or the name that a failed exec was given."""
    event = context.event
    if type(event) is FileOpen or type(event) is FileChange:
        return event.path
    if type(event) is Denial:
        return "" if event.action in DENIED_ACCESSES or event.action in DENIED_CONNECTIONS else event.path
    return event.path_claimed if type(event) is ProcessExecFailed else ""


def target_executable(context: Context) -> str:
    """The program of the process that another one got hold of, or was denied to."""
    event = context.event
    if type(event) is ProcessAccess:
        return event.target_executable
    return event.path if type(event) is Denial and event.action in DENIED_ACCESSES else ""


def target_name(context: Context) -> str:
    """Its last component."""
    return target_executable(context).rpartition("/")[2]


def target_pid(context: Context) -> int | None:
    """That process, as the host's first pid namespace shows it."""
    event = context.event
    return event.target_tgid or None if type(event) is ProcessAccess else None


def target_vpid(context: Context) -> int | None:
    """As the call gave it, in the caller's pid namespace."""
    event = context.event
    return event.target_pid or None if type(event) is ProcessAccess else None


def destination_address(context: Context) -> str:
    """What a connection was made to, or denied to be."""
    event = context.event
    if type(event) is NetworkConnection:
        return event.address
    return event.path if type(event) is Denial and event.action in DENIED_CONNECTIONS else ""


def network_transport(context: Context) -> str:
    """How."""
    event = context.event
    if type(event) is NetworkConnection:
        return event.transport
    return "unix" if type(event) is Denial and event.action in DENIED_CONNECTIONS else ""


def file_name(context: Context) -> str:
    """Its last component."""
    return file_path(context).rpartition("/")[2]


def file_directory(context: Context) -> str:
    """What is before its last component."""
    head, slash, _ = file_path(context).rpartition("/")
    return head or slash


def file_system_path(context: Context) -> str:
    """What a file of the kernel's own is called, by where it lies."""
    return find_system_path(file_path(context))


def file_extension(context: Context) -> str:
    """What is after the last dot of its name."""
    stem, dot, extension = file_name(context).rpartition(".")
    return extension if dot and stem else ""


def file_access(context: Context) -> tuple[str, ...]:
    """How a file was opened."""
    event = context.event
    if type(event) is not FileOpen:
        return ()
    return tuple(
        name
        for name, is_set in (("read", event.is_read), ("write", event.is_write), ("create", event.is_created))
        if is_set
    )


def event_action(context: Context) -> str:
    """What happened, in one word."""
    event = context.event
    if type(event) is FileChange or type(event) is ProcessAccess:
        return event.action.value
    return f"{event.action}-denied" if type(event) is Denial else EVENT_ACTIONS.get(type(event), "")


def outcome(context: Context) -> str:
    """Whether the call succeeded."""
    event = context.event
    if isinstance(event, Response):
        return "failure" if isinstance(event, ResponseFailed) else "success"
    if not isinstance(event, _CALLS):
        return ""
    if isinstance(event, Denial):
        return "failure"
    return "failure" if isinstance(event, FileOpen | ProcessExecFailed) and event.errno else "success"


def errno_name(context: Context) -> str:
    """Name of the error of a failed call."""
    event = context.event
    if isinstance(event, Denial):
        return "EPERM"
    if not isinstance(event, FileOpen | ProcessExecFailed) or not event.errno:
        return ""
    return errno.errorcode.get(event.errno, str(event.errno))


def file_type(context: Context) -> str:
    """Kind of the file, as far as it is known."""
    event = context.event
    return FILE_TYPES.get(stat.S_IFMT(event.file_mode), "") if isinstance(event, FileOpen | FileChange) else ""


def file_mode(context: Context) -> str:
    """Permission bits of the file, four octal digits; of a chmod the new ones."""
    event = context.event
    if type(event) is FileOpen and not event.errno:
        return f"{stat.S_IMODE(event.file_mode):04o}"
    if type(event) is FileChange and (event.inode or event.action is ChangeAction.CHMOD):
        return f"{stat.S_IMODE(event.file_mode):04o}"
    return ""


def exec_flags(context: Context) -> tuple[str, ...]:
    """Names of the program's flags that are set."""
    program = context.image.exec
    return tuple(name for name, attribute, _ in EXEC_FLAGS if getattr(program, attribute))


def open_flags(context: Context) -> tuple[str, ...]:
    """Names of the file's flags that are set."""
    event = context.event
    if not isinstance(event, FileOpen | FileChange):
        return ()
    return tuple(name for name, attribute, _ in OPEN_FLAGS if getattr(event, attribute))


def original_path(context: Context) -> str:
    """The name that a renamed or linked file had before."""
    event = context.event
    return event.source if type(event) is FileChange else ""


def target_path(context: Context) -> str:
    """What a new symbolic link says."""
    event = context.event
    return event.target if type(event) is FileChange else ""


def file_size(context: Context) -> int | None:
    """The length that a file was cut to."""
    event = context.event
    return event.size if type(event) is FileChange and event.action is ChangeAction.TRUNCATE else None


def script_name(context: Context) -> str:
    """Last component of the script's name."""
    return context.image.exec.script.rpartition("/")[2]
