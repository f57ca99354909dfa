"""The one catalogue of fields that rules, filters and samples may name: Sigma's taxonomy and ECS names.

A field turns a :class:`~monitor.model.process.Context` into a value. An empty
text, an empty list and an unknown number are all "not there": they match no
value but ``null``, and a condition under ``not`` is then true. What a condition
does with the value is :mod:`monitor.rules.compiler`; which names are known but
have no sensor is :mod:`monitor.rules.unavailable`.
"""

import errno
from collections.abc import Iterator
from operator import attrgetter

from monitor.model.capabilities import CAPABILITY_NAMES, capability_names
from monitor.model.events import FileChange, FileOpen
from monitor.rules import system_paths
from monitor.rules.field import Field, flag_field, fold_ascii, number_field, text_field, texts_field
from monitor.rules.field_values import (
    ACTIONS,
    EXEC_FLAGS,
    OPEN_FLAGS,
    args_count,
    args_cut_at,
    container_text,
    destination_address,
    errno_name,
    event_action,
    event_user_name,
    exec_flags,
    exit_code,
    exit_signal,
    file_access,
    file_directory,
    file_extension,
    file_flag,
    file_mode,
    file_name,
    file_path,
    file_size,
    file_system_path,
    file_type,
    is_interactive,
    is_path_claimed,
    known_of_program,
    label,
    login_uid,
    network_transport,
    of_event,
    of_file,
    of_opened,
    of_program,
    of_walked,
    open_flags,
    original_path,
    outcome,
    parent_text,
    parent_uid,
    script_name,
    target_executable,
    target_name,
    target_path,
    target_pid,
    target_vpid,
)
from monitor.rules.unavailable import unavailable_names

LABEL_PREFIX = "container.labels."

_CALL = frozenset({"FileOpen", "ProcessExecFailed", "Denial"})
_NAMED = frozenset({"FileOpen", "FileChange", "ProcessExecFailed", "Denial"})
_FILE = frozenset({"FileOpen", "FileChange"})
_OPEN = frozenset({"FileOpen"})
_CHANGE = frozenset({"FileChange"})
_EXIT = frozenset({"ProcessExit"})
_ACCESS = frozenset({"ProcessAccess", "Denial"})
_CONNECTION = frozenset({"NetworkConnection", "Denial"})


def _fields() -> Iterator[Field]:
    yield from _process_fields()
    yield from _parent_fields()
    yield from _user_fields()
    yield from _flag_fields()
    yield from _file_fields()
    yield from _access_fields()
    yield from _connection_fields()
    yield from _container_fields()
    actions = (
        "exec exec-failed exit fork open rename deletion link symlink truncate chmod chown connect ptrace-attach, "
        "and what else a document has"
    )
    yield text_field("event.action", "", event_action, actions, values=ACTIONS)
    yield text_field("event.outcome", "", outcome, "success or failure", values=("success", "failure"))
    errors = errno.errorcode.values()
    yield text_field("error.code", "", errno_name, "errno of a failed call, e.g. ENOENT", events=_CALL, values=errors)


def _process_fields() -> Iterator[Field]:
    yield text_field(
        "process.executable",
        "Image",
        attrgetter("image.executable"),
        "path of the program, as the kernel resolved it (of a script: its interpreter)",
        folded=attrgetter("image.executable_folded"),
    )
    yield text_field(
        "process.name",
        "",
        attrgetter("image.name"),
        "last component of process.executable",
        folded=lambda c: c.image.name.lower(),
    )
    yield text_field(
        "process.command_line",
        "CommandLine",
        attrgetter("image.command_line"),
        "arguments joined by single spaces (of more than 4 KiB: the first 3, …, and the last 1)",
        folded=attrgetter("image.command_line_folded"),
    )
    yield texts_field(
        "process.args", "", attrgetter("image.exec.args"), "arguments; a condition holds when any one fulfils it"
    )
    yield number_field(
        "process.args_count", "", args_count, "number of arguments, the program's name included (of those kept)"
    )
    yield flag_field("process.args_truncated", of_program("args_truncated"), "there were more than 4 KiB of arguments")
    yield number_field(
        "process.args_omitted_bytes",
        "",
        known_of_program("args_omitted_bytes"),
        "bytes left out between the first and the last of the arguments",
    )
    yield number_field(
        "process.args_cut_at", "", args_cut_at, "which element of process.args stands for them, counted from 0"
    )
    yield text_field("process.working_directory", "CurrentDirectory", attrgetter("image.exec.cwd"), "at the exec")
    yield text_field("process.script", "", attrgetter("image.exec.script"), "of a script: its name as given to execve")
    yield text_field("process.script_name", "", script_name, "last component of process.script")
    yield number_field(
        "process.pid", "ProcessId", lambda c: c.process.key[0] or None, "as the host's first pid namespace shows it"
    )
    yield text_field(
        "process.entity_id", "", attrgetter("entity_id"), "one program in one life of one process, as in the stream"
    )
    yield number_field("process.vpid", "", known_of_program("namespace_tgid"), "in its own pid namespace")
    yield number_field("process.thread.id", "", lambda c: getattr(c.event, "tid", None), "thread that did it")
    yield number_field(
        "process.session_id", "", of_program("session_id"), "POSIX session", aliases=("process.session_leader.pid",)
    )
    yield text_field("process.tty.name", "", attrgetter("image.exec.tty"), "controlling terminal, e.g. pts0")
    yield flag_field("process.interactive", is_interactive, "has a controlling terminal")
    yield number_field("process.exit_code", "", exit_code, "0 to 255; absent when a signal ended it", events=_EXIT)
    yield number_field("process.exit_signal", "", exit_signal, "signal that ended it", events=_EXIT)
    yield number_field("stockade.cgroup_id", "", lambda c: getattr(c.event, "cgroup_id", None), "cgroup of the task")
    yield number_field("stockade.executable.inode", "", known_of_program("inode"), "inode of the program's file")
    yield number_field("stockade.executable.device", "", known_of_program("device"), "device of that file")
    yield number_field("stockade.executable.link_count", "", known_of_program("link_count"), "hard links of that file")
    for kind in ("mnt", "pid", "net", "user", "uts", "ipc", "cgroup"):
        yield number_field(
            f"process.namespaces.{kind}",
            "",
            known_of_program(f"namespaces.{kind}"),
            f"inode of the {kind} namespace",
            aliases=(f"stockade.namespaces.{kind}",),
        )


def _parent_fields() -> Iterator[Field]:
    yield text_field(
        "process.parent.executable",
        "ParentImage",
        parent_text("executable"),
        "program of the process that forked this one, at the fork",
        folded=parent_text("executable_folded"),
    )
    yield text_field("process.parent.name", "", parent_text("name"), "last component of process.parent.executable")
    yield text_field(
        "process.parent.command_line",
        "ParentCommandLine",
        parent_text("command_line"),
        "arguments of the parent, joined by single spaces",
        folded=parent_text("command_line_folded"),
    )
    yield texts_field(
        "process.parent.args",
        "",
        lambda c: () if c.parent_image is None else c.parent_image.exec.args,
        "arguments of the parent",
    )
    yield text_field(
        "process.parent.script",
        "",
        parent_text("exec.script"),
        "of a parent that is a script: its name as given to execve",
    )
    yield number_field(
        "process.parent.pid",
        "ParentProcessId",
        lambda c: None if c.process.parent_key is None else c.process.parent_key.tgid,
        "process that forked this one",
    )
    yield text_field(
        "process.parent.entity_id", "", attrgetter("parent_entity_id"), "of the program that the parent ran at the fork"
    )
    yield number_field("process.parent.user.id", "", parent_uid, "uid of the parent at its exec")


def _user_fields() -> Iterator[Field]:
    yield number_field("user.id", "", lambda c: getattr(c.event, "uid", None), "real uid of the task")
    yield text_field("user.name", "User", event_user_name, "root, nobody, else the uid as text")
    yield number_field("user.effective.id", "", of_program("euid"), "effective uid at the exec")
    yield number_field("group.id", "", of_program("gid"), "real gid at the exec", aliases=("user.group.id",))
    yield number_field(
        "group.effective.id",
        "",
        of_program("egid"),
        "effective gid at the exec",
        aliases=("user.effective.group.id",),
    )
    yield number_field(
        "process.login_uid",
        "",
        login_uid,
        "audit login uid; absent when there was no login",
        aliases=("user.login.id",),
    )
    yield number_field("process.cap_effective", "", of_program("cap_effective"), "effective capabilities, a bit mask")
    yield texts_field(
        "process.thread.capabilities.effective",
        "",
        lambda c: capability_names(c.image.exec.cap_effective),
        "names such as CAP_SYS_ADMIN",
        values=CAPABILITY_NAMES,
    )
    yield texts_field(
        "process.thread.capabilities.permitted",
        "",
        lambda c: capability_names(c.image.exec.cap_permitted),
        "names such as CAP_SYS_ADMIN",
        values=CAPABILITY_NAMES,
    )


def _flag_fields() -> Iterator[Field]:
    names = (name for name, _, _ in EXEC_FLAGS)
    yield texts_field("process.flags", "", exec_flags, "those of the following that are set", values=names)
    for name, attribute, description in EXEC_FLAGS:
        yield flag_field(f"process.flags.{name}", of_program(attribute), description)


def _file_fields() -> Iterator[Field]:
    yield text_field(
        "file.path", "TargetFilename", file_path,
        "as the kernel resolved it; of a failed call, and without BPF LSM of a change by name: the name given",
        fold=fold_ascii, events=_NAMED,
    )  # fmt: skip
    yield text_field("file.name", "", file_name, "last component of file.path", fold=fold_ascii, events=_NAMED)
    yield text_field(
        "file.directory", "", file_directory, "file.path without its last component", fold=fold_ascii, events=_NAMED
    )
    yield text_field(
        system_paths.FIELD, "", file_system_path,
        "of proc, sysfs, cgroup and their like: kind and path from its root, e.g. proc:/sys/kernel/core_pattern; in "
        "denial wherever it is mounted, else by file.path",
        fold=fold_ascii, events=_NAMED,
    )  # fmt: skip
    yield text_field("file.extension", "", file_extension, "of file.name, no dot", fold=fold_ascii, events=_NAMED)
    yield flag_field("file.path_claimed", is_path_claimed, "the path is user memory's", _NAMED)
    accesses = ("read", "write", "create")
    yield texts_field("file.access", "", file_access, "of read, write and create", _OPEN, values=accesses)
    yield flag_field("file.created", of_event(FileOpen, "is_created"), "this open made the file", _OPEN)
    yield number_field("file.link_count", "", of_opened("link_count"), "hard links", events=_OPEN)
    flags = (name for name, _, _ in OPEN_FLAGS)
    yield texts_field("file.flags", "", open_flags, "those of the following that are set", _FILE, values=flags)
    for name, attribute, description in OPEN_FLAGS:
        getter = of_walked(attribute) if name == "path_truncated" else file_flag(attribute)
        yield flag_field(f"file.flags.{name}", getter, description, _FILE)
    types = "file dir char block fifo socket symlink"
    yield text_field("file.type", "", file_type, types, events=_FILE, values=types.split())
    yield number_field("file.inode", "", of_file("inode"), "of the file; not of a name", events=_FILE)
    yield number_field("file.device", "", of_file("device"), "of the file; not of a name", events=_FILE)
    yield text_field(
        "file.mode", "", file_mode, "permission bits, four octal digits, e.g. 0640; of a chmod the new ones",
        events=_FILE,
    )  # fmt: skip
    yield from _change_fields()


def _change_fields() -> Iterator[Field]:
    yield text_field(
        "file.original.path",
        "SourceFilename",
        original_path,
        "of a rename or a link: the name that was there before; a claim where the path is one",
        fold=fold_ascii,
        events=_CHANGE,
        aliases=("file.Ext.original.path",),
    )
    yield text_field(
        "file.target_path", "", target_path, "of a symlink: what it says, a claim", fold=fold_ascii, events=_CHANGE
    )
    yield number_field("file.size", "", file_size, "of a truncation: the new length in bytes", events=_CHANGE)
    yield number_field("file.uid", "", of_event(FileChange, "owner"), "of a chown: the new owner", events=_CHANGE)
    yield number_field("file.gid", "", of_event(FileChange, "group"), "of a chown: the new group", events=_CHANGE)


def _access_fields() -> Iterator[Field]:
    yield text_field(
        "target.process.executable", "TargetImage", target_executable,
        "program of the process that is accessed, where it is known", events=_ACCESS,
    )  # fmt: skip
    yield text_field(
        "target.process.name", "", target_name, "last component of target.process.executable", events=_ACCESS
    )
    yield number_field(
        "target.process.pid", "TargetProcessId", target_pid,
        "process that is accessed, as the host's first pid namespace shows it", events=frozenset({"ProcessAccess"}),
    )  # fmt: skip
    yield number_field(
        "target.process.vpid", "", target_vpid, "that process, as the call gave it", events=frozenset({"ProcessAccess"})
    )


def _connection_fields() -> Iterator[Field]:
    yield text_field(
        "destination.address", "", destination_address,
        "of a Unix socket the path that it was bound to (below /run, whether that was said of /run or of /var/run), "
        "or @ and its abstract name",
        fold=fold_ascii, events=_CONNECTION,
    )  # fmt: skip
    yield text_field("network.transport", "", network_transport, "unix", events=_CONNECTION, values=("unix",))


def _container_fields() -> Iterator[Field]:
    yield text_field("container.id", "", container_text("id"), "full id; absent for host processes")
    yield text_field("container.name", "", container_text("name"), "absent until the runtime has told it")
    yield text_field("container.image.name", "", container_text("image_name"), "absent until the runtime has told it")
    yield text_field("container.runtime", "", container_text("runtime"), "docker containerd cri-o podman runc ...")
    yield text_field("container.nested.id", "", container_text("nested_id"), "innermost id when runtimes are nested")
    yield text_field(
        "container.pod.uid", "", container_text("pod_uid"), "Kubernetes pod", aliases=("orchestrator.resource.id",)
    )
    yield flag_field(
        "container.pending",
        lambda c: None if c.container is None else c.container.pending,
        "name, image, labels not known yet",
    )
    yield flag_field(
        "container.runtime_init",
        lambda c: None if c.container is None else c.is_runtime_init,
        "the runtime's own set-up step",
    )


FIELDS: tuple[Field, ...] = tuple(_fields())
"""Every field with a fixed name."""

_BY_NAME: dict[str, Field] = {
    name: field for field in FIELDS for name in (field.name, field.sigma, *field.aliases) if name
}


def find_field(name: str) -> Field | None:
    """The field of this ECS or Sigma name; ``container.labels.KEY`` for any key. None when there is no such field."""
    field = _BY_NAME.get(name)
    if field is None and name.startswith(LABEL_PREFIX) and len(name) > len(LABEL_PREFIX):
        return text_field(name, "", label(name.removeprefix(LABEL_PREFIX)), "label of the container")
    return field


def field_names() -> tuple[str, ...]:
    """Every fixed name that a rule may use, in both taxonomies, and those that are known to have no sensor."""
    return (*_BY_NAME, *unavailable_names())
