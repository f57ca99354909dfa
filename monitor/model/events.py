"""What happened, as immutable facts.

Kernel records become these in :mod:`monitor.wire.decoder`; the start-up walk over
``/proc`` and the cgroup tree (:mod:`monitor.host`) makes the same classes, so that
the engine's tables have one way in. Every event but :class:`Tick` and
:class:`LossReport` says which task of which cgroup it is about.

Text comes from the kernel or from user memory and is hostile. Invalid UTF-8 is
backslash-escaped (``\\xff``) by the decoder: never open such a path again.
"""

import enum

from msgspec import Struct

from monitor.model.ids import CgroupId, ProcessKey, Tgid, Tid


class Event(Struct, frozen=True, gc=False, tag=True):
    """Anything the engine handles. ``ktime_ns`` is CLOCK_MONOTONIC; no wall time in here."""

    ktime_ns: int


class Tick(Event, frozen=True, gc=False):
    """Time has passed and nothing else is said: tables expire by it. Recorded like any event."""


class LossReport(Event, frozen=True, gc=False):
    """The kernel side could not write records since the last report, or held them back."""

    cpu: int
    """CPU that lost them; -1 where the count is not kept per CPU."""
    event_type: str
    """Name of the record type, e.g. ``process_exec``."""
    cgroup_id: CgroupId
    count: int
    reason: str
    """``ring_full`` or ``limited`` (this cgroup's token bucket was empty)."""


class TaskEvent(Event, frozen=True, gc=False):
    """An event of one task."""

    cpu: int
    sequence: int
    """Per CPU and ring, from 0; a gap is a loss."""
    cgroup_id: CgroupId
    tgid: Tgid
    tid: Tid
    start_boottime_ns: int
    """Start of the thread group leader, nanoseconds of CLOCK_BOOTTIME."""
    exec_id: int
    """``task_struct.self_exec_id``: counts the programs this process has run; joins an event with its image."""
    uid: int

    @property
    def key(self) -> ProcessKey:
        """The process this happened in."""
        return ProcessKey(self.tgid, self.start_boottime_ns)


class ProcessFork(TaskEvent, frozen=True, gc=False):
    """A process was created. The task fields are the child's, its cgroup too (clone3 may have put it elsewhere)."""

    parent_tgid: Tgid
    """The process that called fork, not the reaper that may be the child's parent."""
    parent_start_boottime_ns: int
    parent_exec_id: int


class Namespaces(Struct, frozen=True, gc=False):
    """Inode numbers of the task's namespaces, as ``/proc/PID/ns/*`` shows them; 0 is unknown."""

    mnt: int = 0
    pid: int = 0
    net: int = 0
    user: int = 0
    uts: int = 0
    ipc: int = 0
    cgroup: int = 0


class ProcessExec(TaskEvent, frozen=True, gc=False):
    """A process runs a new program; past the point of no return. Also made for each process found at start-up."""

    executable: str
    """The file that the kernel maps and runs (of a script: its interpreter), as its mount namespace shows it."""
    script: str
    """Of a script: its name as given to execve (text from user memory, may be relative to ``cwd``); else empty."""
    args: tuple[str, ...]
    """argv; of more than 4 KiB the first 3, a mark and the last 1 (:mod:`monitor.model.arguments`)."""
    args_truncated: bool
    """Not all of argv is in ``args``."""
    cwd: str
    parent_tgid: Tgid
    """The parent that the kernel shows now (``real_parent``); the one that forked is the engine's to know."""
    parent_start_boottime_ns: int
    gid: int
    euid: int
    egid: int
    login_uid: int
    """Audit login uid; 4294967295 when unset."""
    session_id: int
    tty: str
    """Name of the controlling terminal (``pts0``); empty without one."""
    cap_effective: int
    cap_permitted: int
    namespaces: Namespaces
    namespace_tgid: int
    """Process id in its own pid namespace."""
    inode: int
    device: int
    """``st_dev`` of the executable as ``stat`` shows it (major and minor packed by ``os.makedev``)."""
    link_count: int
    is_32bit: bool = False
    is_memfd: bool = False
    """The executable is an anonymous file (memfd or shared memory that no directory names)."""
    is_deleted: bool = False
    """No directory names the executable any more."""
    is_upper_layer: bool | None = None
    """Written since the image (overlayfs upper layer); None where the kernel cannot tell."""
    is_tmpfs: bool = False
    is_foreign_namespace: bool = False
    """The executable's mount is not of the task's mount namespace."""
    is_path_truncated: bool = False
    is_detached_mount: bool = False
    from_proc: bool = False
    """Found by the start-up walk: no rule judges it, it only fills the table."""
    args_omitted_bytes: int = 0
    """Bytes of argv that are not in ``args``."""
    args_cut_at: int = -1
    """Place of the mark among ``args``; -1 where none is."""
    is_cwd_truncated: bool = False
    """The head of ``cwd`` is missing."""
    is_other_filesystem: bool = False
    """The executable is not on the file system of the process' root directory."""


class ProcessExecFailed(TaskEvent, frozen=True, gc=False):
    """execve or execveat returned an error."""

    path_claimed: str
    """The name as user memory gave it: a claim. It may raise a score and never cause a response."""
    errno: int
    """Positive, e.g. 2 for ENOENT."""


class ProcessExit(TaskEvent, frozen=True, gc=False):
    """The last thread of a process is gone."""

    exit_status: int
    """0 to 255; 0 when a signal ended it."""
    signal: int
    """Signal that ended it, or 0."""


class FileOpen(TaskEvent, frozen=True, gc=False):
    """A task has opened a file; the kernel has granted it (or, with ``errno``, refused it)."""

    path: str
    """As the kernel resolved it (mount namespace of the file). With ``is_path_claimed``: as user memory gave it."""
    is_write: bool
    """Opened for writing (FMODE_WRITE), or truncated or created by this open."""
    is_read: bool
    is_created: bool
    """This open made the file (FMODE_CREATED)."""
    flags: int
    """Open flags that the kernel keeps in ``f_flags``."""
    fd: int
    """The new descriptor; -1 when the open failed."""
    errno: int
    """Positive errno of a failed open, else 0."""
    inode: int
    device: int
    file_mode: int
    """``i_mode``: type and permission bits."""
    link_count: int
    is_path_claimed: bool = False
    is_path_truncated: bool = False
    is_foreign_namespace: bool = False
    is_detached_mount: bool = False
    is_upper_layer: bool | None = None


DENIED_ACCESSES = frozenset({"process-access", "traceme"})
DENIED_CONNECTIONS = frozenset({"connect", "send"})
"""Of denials whose path is no file's."""


class Denial(TaskEvent, frozen=True, gc=False):
    """The policy said no to what this task asked for; it has not happened."""

    path: str
    """Of the program or file, as the kernel resolved it; of an access to a process, of the program that it runs; of a
    connection, what the socket was bound to (:attr:`NetworkConnection.address`)."""
    action: str
    """``exec``, ``exec-check`` (somebody only asked whether it may be run), ``map``, ``mprotect``, ``open``, ``create``
    (a file, a folder, a node), a :class:`ChangeAction`; ``process-access``, ``traceme``; ``connect``, ``send``."""
    tier: str
    """Where it was decided: ``lsm``, ``hold`` (the gate), ``kill`` (the process had replaced its image, and was ended
    before its first instruction)."""
    generation: int
    """Of the policy; see :class:`PolicyChange`."""
    terms: tuple[int, ...]
    """Numbers of all terms that it fulfilled, lowest first; those that are told of alone are among them."""
    inode: int
    device: int
    file_mode: int
    is_memfd: bool = False
    is_deleted: bool = False
    is_upper_layer: bool | None = None
    is_tmpfs: bool = False
    is_path_truncated: bool = False
    is_foreign_namespace: bool = False
    is_detached_mount: bool = False
    is_known_file: bool = False
    """A rule names the path of this file, and denied it under another name."""
    is_other_filesystem: bool = False
    """A program that is not on the file system of its container's root."""
    rules: tuple[str, ...] = ()
    """Names of the rules that the terms were of, once the engine has seen it."""
    count: int = 1
    """So many, equal but for time and task, of which this is the last."""


class PolicyChange(Event, frozen=True, gc=False):
    """From now on, denials with this generation are these rules'."""

    generation: int
    rule_ids: tuple[str, ...]
    """Of each term, by number."""


class ChangeAction(enum.StrEnum):
    """What was done to a file, or to a name of it: ``event.action``."""

    RENAME = "rename"
    DELETION = "deletion"
    LINK = "link"
    SYMLINK = "symlink"
    TRUNCATE = "truncate"
    CHMOD = "chmod"
    CHOWN = "chown"


class FileChange(TaskEvent, frozen=True, gc=False):
    """A file, or a name of it, was changed without an open. The kernel has done it.

    With BPF LSM path, inode and type are facts; without, they are so by descriptor (``ftruncate``, ``fchmod``,
    ``fchown``) alone. Else paths are claims: the name that the call was given, behind the folder that it is relative
    to; symbolic links are not followed. A claim may raise a score and never cause a response.
    """

    action: ChangeAction
    path: str
    """What is different now; of a rename, link or symlink the new name."""
    source: str
    """Of a rename or a link: the name that was there before; else empty."""
    target: str
    """Of a symlink: what it says, as it was given; else empty."""
    size: int
    """Of a truncation: the new length in bytes; else 0."""
    owner: int | None
    """Of a chown: the new uid; None where it stays."""
    group: int | None
    """Of a chown: the new gid; None where it stays."""
    inode: int
    """0 where the path is a claim."""
    device: int
    file_mode: int
    """``i_mode``. Where the path is a claim: the type as far as the call tells it, and of a chmod the bits."""
    is_path_claimed: bool = True
    is_path_truncated: bool = False
    """The head of ``path`` or of ``source`` is missing."""
    is_foreign_namespace: bool = False
    is_detached_mount: bool = False
    is_upper_layer: bool | None = None
    """As of an open; None where the path is a claim."""


FileEvent = FileOpen | FileChange
"""What happened to a file."""


class AccessKind(enum.StrEnum):
    """How a process got hold of another one: ``event.action``."""

    ATTACH = "ptrace-attach"
    SEIZE = "ptrace-seize"
    TRACEME = "ptrace-traceme"
    READ = "memory-read"
    WRITE = "memory-write"
    DESCRIPTOR = "descriptor-taken"


class ProcessAccess(TaskEvent, frozen=True, gc=False):
    """A process took control of another one, read or wrote its memory, or took a descriptor of its.

    The task is who called; of ``ptrace-traceme`` that is the target itself.
    """

    action: AccessKind
    target_pid: int
    """As the call gave it, in the caller's pid namespace; 0 where it gave none."""
    target_tgid: Tgid = Tgid(0)
    """0: not known."""
    target_start_boottime_ns: int = 0
    target_executable: str = ""
    """Program that the target runs, as the kernel resolved it or the process table knows it; empty: not known."""


class NetworkConnection(TaskEvent, frozen=True, gc=False):
    """A connection was made. So far of Unix sockets alone."""

    transport: str
    """``unix``."""
    address: str
    """Of a Unix socket, what it was bound to: a path, or ``@`` and an abstract name."""
    inode: int = 0
    """Of the socket's file; 0 of an abstract one."""
    device: int = 0
    is_path_truncated: bool = False


BulkEvent = FileOpen | FileChange | ProcessAccess | NetworkConnection
"""These come in floods, through a ring of their own."""


class CgroupCreate(Event, frozen=True, gc=False):
    """A cgroup directory of the tag's hierarchy appeared, or was found by the start-up walk."""

    cgroup_id: CgroupId
    path: str
    """Below the root of the hierarchy, with a leading slash."""


class CgroupRemove(Event, frozen=True, gc=False):
    """A cgroup directory of the tag's hierarchy is gone."""

    cgroup_id: CgroupId
    path: str


class CgroupAttach(Event, frozen=True, gc=False):
    """A task was moved into a cgroup of the tag's hierarchy."""

    cgroup_id: CgroupId
    path: str
    tgid: Tgid
    start_boottime_ns: int


class ContainerResolved(Event, frozen=True, gc=False):
    """A runtime answered what a container is called (answers come back as events)."""

    container_id: str
    name: str
    image_name: str
    labels: tuple[tuple[str, str], ...] = ()


class ServiceFailure(Event, frozen=True, gc=False):
    """A part of the service failed and was counted (a rule raised, a sink broke); answered by one alert."""

    part: str
    text: str


class GuardRefused(Event, frozen=True, gc=False):
    """Somebody tried to end the service by the way, and the kernel refused."""

    aimed_at: str
    """``BPF objects``, ``pins``, ``processes`` or ``cgroup``."""
    count: int
    """Attempts since the last such event."""


class Response(Event, frozen=True, gc=False):
    """What was done about a container, a lineage or a process (answers come back as events)."""

    subject: str
    """``container``, ``lineage`` or ``process``."""
    subject_id: str
    """Container id, or ``process.entity_id`` as the verdict named it."""
    container_id: str
    """Of the container that it happened in; empty on the host."""
    asked_by: str
    """``policy`` (a verdict), ``command`` (an admin) or ``deadline``."""
    reason: str
    """Why: the verdict's reason, or who asked."""
    processes: int = 0
    """How many it met."""
    for_s: float = 0.0
    """How long it will last; 0: until somebody ends it."""
    note: str = ""
    """What is not as it should be, though it was done."""


class ContainerFrozen(Response, frozen=True, gc=False):
    """No process of a container runs any more, until it is thawed."""


class ContainerThawed(Response, frozen=True, gc=False):
    """A frozen container runs again."""


class ContainerKilled(Response, frozen=True, gc=False):
    """Every process of a container was sent SIGKILL."""


class ProcessesKilled(Response, frozen=True, gc=False):
    """A process or a lineage, and all that descends from it, was sent SIGKILL."""


class ResponseFailed(Response, frozen=True, gc=False):
    """Something was to be done and was not."""

    action: str = ""
    """``kill``, ``freeze`` or ``thaw``."""
    error: str = ""
    """What stood against it."""
    is_needless: bool = False
    """It was so already, or whom it was about had ended: nothing is wrong."""


AnyResponse = ContainerFrozen | ContainerThawed | ContainerKilled | ProcessesKilled | ResponseFailed
"""What came of a response."""

AnyEvent = (
    Tick
    | LossReport
    | ProcessFork
    | ProcessExec
    | ProcessExecFailed
    | ProcessExit
    | FileOpen
    | Denial
    | PolicyChange
    | FileChange
    | ProcessAccess
    | NetworkConnection
    | CgroupCreate
    | CgroupRemove
    | CgroupAttach
    | ContainerResolved
    | ServiceFailure
    | GuardRefused
    | ContainerFrozen
    | ContainerThawed
    | ContainerKilled
    | ProcessesKilled
    | ResponseFailed
)
"""Every event there is: the recording's tagged union."""
