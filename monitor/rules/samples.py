"""Read rule samples: events written with the catalogue's field names, one JSON object a line.

A sample says only what matters to the rule; the rest has plain defaults. Format
and keys: docs/rules.md. Evaluating them is :mod:`monitor.runtime.rule_tests`.
"""

import errno
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct, structs

from monitor.model.arguments import CUT
from monitor.model.capabilities import ALL_CAPABILITIES, parse_capabilities
from monitor.model.container import Container
from monitor.model.events import (
    AccessKind,
    ChangeAction,
    FileChange,
    FileOpen,
    Namespaces,
    NetworkConnection,
    ProcessAccess,
    ProcessExec,
    ProcessExecFailed,
    ProcessExit,
    TaskEvent,
)
from monitor.model.ids import CgroupId, Tgid, Tid
from monitor.model.process import Context, Process, ProcessImage
from monitor.model.rule import Location
from monitor.rules.errors import RuleError
from monitor.rules.field import FieldKind
from monitor.rules.field_values import EXEC_FLAGS, FILE_TYPES, LOGIN_UID_UNSET, OPEN_FLAGS
from monitor.rules.fields import find_field
from monitor.rules.suggest import suggest

LINE_BYTES_MAX = 1 << 20
SEQUENCE_MAX = 1_000
CHANGES = {f"file_{action.value}": action for action in ChangeAction}
ACCESSES = {f"process_{kind.name.lower()}": kind for kind in AccessKind}
EVENTS = (
    "process_exec", "process_exit", "process_exec_failed", "file_open", *CHANGES, *ACCESSES, "network_connection",
)  # fmt: skip
HOST_CGROUP = CgroupId(1)
FIRST_START_NS = 1_000_000_000
_OWN_KEYS = frozenset({"event", "note", "after_s", "repeat"})
_NOT_SETTABLE = frozenset(
    {
        "process.name", "process.args_count", "process.args_cut_at", "process.script_name", "process.entity_id",
        "process.interactive", "process.parent.name", "process.parent.entity_id", "user.name", "file.name",
        "file.directory", "file.extension", "process.cap_effective", "process.flags", "file.flags", "event.action",
        "event.outcome", "file.path_claimed", "container.pending", "process.parent.user.id", "process.thread.id",
        "target.process.name",
    }
)  # fmt: skip
"""Fields that follow from others."""

Values = dict[str, Any]


class SampleError(ValueError):
    """What is wrong with one sample."""


class SampleEvent(Struct, frozen=True):
    """One event with what it happens in."""

    event: TaskEvent
    program: ProcessExec
    """The exec that started the program it happens in; for an exec the event itself."""
    parent: ProcessExec | None
    container: Container | None
    after_s: float = 0.0
    """Seconds since the event before it in the sequence."""


class Sample(Struct, frozen=True):
    """One line of a sample file."""

    location: Location
    events: tuple[SampleEvent, ...]
    is_sequence: bool


def read_samples(name: str, content: bytes) -> tuple[list[Sample], list[RuleError]]:
    """The samples of one file, and the mistakes in it."""
    samples: list[Sample] = []
    errors: list[RuleError] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        location = Location(name, number, 1)
        try:
            samples.append(_read_line(line, location))
        except SampleError as error:
            errors.append(RuleError(location, str(error)))
    return samples, errors


def build_context(sample: SampleEvent) -> Context:
    """What a rule sees of this event, with the parent's program as the parent image."""
    image = build_image(sample.program)
    parent = build_image(sample.parent) if sample.parent is not None else None
    process = Process(
        key=sample.event.key,
        image=image,
        exec_id=sample.program.exec_id,
        cgroup_id=sample.event.cgroup_id,
        parent_key=sample.parent.key if sample.parent is not None else None,
        parent_image=parent,
    )
    return Context(sample.event, process, image, parent, sample.container)  # type: ignore[arg-type]  # of the union


def build_image(event: ProcessExec) -> ProcessImage:
    """The image that an exec starts, as the engine makes it."""
    command_line = " ".join(event.args)
    return ProcessImage(
        exec=event,
        executable=event.executable,
        executable_folded=event.executable.lower(),
        name=event.executable.rpartition("/")[2],
        command_line=command_line,
        command_line_folded=command_line.lower(),
    )


def _read_line(line: bytes, location: Location) -> Sample:
    if len(line) > LINE_BYTES_MAX:
        raise SampleError(f"longer than {LINE_BYTES_MAX:,} bytes")
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SampleError(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise SampleError("a sample is a JSON object")
    if "sequence" not in record:
        return Sample(location, (_build_event(record, 0),), is_sequence=False)
    unknown = sorted(record.keys() - {"sequence", "note"})
    if unknown:
        raise SampleError(f"unknown key {unknown[0]!r} beside sequence")
    return Sample(location, tuple(_build_sequence(record["sequence"])), is_sequence=True)


def _build_sequence(records: object) -> Iterator[SampleEvent]:
    if not isinstance(records, list) or not records:
        raise SampleError("sequence must be a list of events")
    number = 0
    for record in records:
        if not isinstance(record, dict):
            raise SampleError("an event is a JSON object")
        repeat = record.get("repeat", 1)
        if type(repeat) is not int or not 1 <= repeat <= SEQUENCE_MAX:
            raise SampleError(f"repeat must be 1 to {SEQUENCE_MAX}")
        for _ in range(repeat):
            number += 1
            if number > SEQUENCE_MAX:
                raise SampleError(f"more than {SEQUENCE_MAX} events")
            yield _build_event(record, number)


def _build_event(record: dict[str, object], number: int) -> SampleEvent:
    kind = record.get("event")
    if kind not in EVENTS:
        raise SampleError(f"event must be one of {', '.join(EVENTS)}")
    after_s = record.get("after_s", 0)
    if type(after_s) not in {int, float} or not 0 <= after_s <= 10_000_000:  # type: ignore[operator]
        raise SampleError("after_s must be a number of seconds")
    values = _check_values(record)
    if kind == "process_exec" and "process.executable" not in values:
        raise SampleError("process_exec needs process.executable (Image)")
    container = _build_container(values)
    program = _build_program(values, number, container)
    event = _build_task_event(str(kind), values, program)
    return SampleEvent(event, program, _build_parent(values, program), container, float(after_s))  # type: ignore[arg-type]


def _check_values(record: dict[str, object]) -> Values:
    """The record by ECS names, each value of its field's type."""
    values: Values = {}
    for key, value in record.items():
        if key in _OWN_KEYS:
            continue
        field = find_field(key)
        if field is None or field.name in _NOT_SETTABLE:
            why = "follows from other fields" if field else f"is unknown{suggest(key, _settable_names())}"
            raise SampleError(f"{key!r} {why}")
        if field.name in values:
            raise SampleError(f"{field.name} is there under two names")
        if not _is_of_kind(value, field.kind):
            raise SampleError(f"{key} must be {field.kind.value}")
        values[field.name] = value
    return values


def _settable_names() -> list[str]:
    from monitor.rules.fields import FIELDS  # noqa: PLC0415  # only when a message needs it

    return [name for field in FIELDS if field.name not in _NOT_SETTABLE for name in (field.name, field.sigma) if name]


def _is_of_kind(value: object, kind: FieldKind) -> bool:
    match kind:
        case FieldKind.TEXT:
            return isinstance(value, str)
        case FieldKind.TEXTS:
            return isinstance(value, list) and all(isinstance(part, str) for part in value)
        case FieldKind.NUMBER:
            return type(value) is int and abs(value) < 1 << 63
        case FieldKind.BOOLEAN:
            return value is None or isinstance(value, bool)


def _build_container(values: Values) -> Container | None:
    identity = values.get("container.id")
    if identity is None:
        extra = [key for key in values if key.startswith("container.") and key != "container.runtime_init"]
        if extra:
            raise SampleError(f"{extra[0]} without container.id")
        return None
    if not identity or len(identity) > 64 or set(identity) - set("0123456789abcdef"):
        raise SampleError("container.id must be 1 to 64 hex digits")
    identity = identity.rjust(64, "0")
    labels = tuple((key.removeprefix("container.labels."), text) for key, text in values.items() if ".labels." in key)
    name, image = values.get("container.name", ""), values.get("container.image.name", "")
    return Container(
        id=identity,
        runtime=values.get("container.runtime", "docker"),
        cgroup_id=CgroupId(2 + int(identity, 16) % (1 << 32)),
        cgroup_path=f"/docker/{identity}",
        nested_id=values.get("container.nested.id", ""),
        pod_uid=values.get("container.pod.uid", ""),
        name=name,
        image_name=image,
        labels=labels,
        pending=not (name or image or labels),
    )


def _args(values: Values, prefix: str, executable: str) -> tuple[str, ...]:
    args, line = values.get(f"{prefix}.args"), values.get(f"{prefix}.command_line")
    if args is not None and line is not None:
        raise SampleError(f"{prefix}.args and {prefix}.command_line are one thing: give one")
    if args is not None:
        return tuple(args)
    return tuple(line.split(" ")) if line is not None else (executable.rpartition("/")[2],)


def _capabilities(values: Values, kind: str, uid: int) -> int:
    names = values.get(f"process.thread.capabilities.{kind}")
    if names is None:
        return 0 if uid else ALL_CAPABILITIES
    try:
        return parse_capabilities(tuple(names))
    except ValueError as error:
        raise SampleError(f"unknown capability among {', '.join(names)[:100]}") from error


def _build_program(values: Values, number: int, container: Container | None) -> ProcessExec:
    """The exec of the program; a sample without a pid is a process of its own."""
    executable = values.get("process.executable", "/usr/bin/sample")
    args = _args(values, "process", executable)
    uid: int = values.get("user.id", 1000)
    gid: int = values.get("group.id", uid)
    tgid = Tgid(values.get("process.pid", 1_000 + number))
    flags: dict[str, Any] = {}
    for name, attribute, _ in EXEC_FLAGS:
        value = values.get(f"process.flags.{name}")
        flags[attribute] = value if attribute == "is_upper_layer" else bool(value)
    namespaces = {kind: values.get(f"process.namespaces.{kind}", 0) for kind in Namespaces.__struct_fields__}
    return ProcessExec(
        ktime_ns=FIRST_START_NS,
        cpu=0,
        sequence=0,
        cgroup_id=container.cgroup_id if container is not None else HOST_CGROUP,
        tgid=tgid,
        tid=Tid(tgid),
        start_boottime_ns=FIRST_START_NS + (0 if "process.pid" in values else number),
        exec_id=1,
        uid=uid,
        executable=executable,
        script=values.get("process.script", ""),
        args=args,
        args_truncated=bool(values.get("process.args_truncated", values.get("process.args_omitted_bytes"))),
        args_omitted_bytes=values.get("process.args_omitted_bytes", 0),
        args_cut_at=args.index(CUT) if values.get("process.args_omitted_bytes") and CUT in args else -1,
        cwd=values.get("process.working_directory", "/"),
        parent_tgid=Tgid(values.get("process.parent.pid", 999)),
        parent_start_boottime_ns=1,
        gid=gid,
        euid=values.get("user.effective.id", uid),
        egid=values.get("group.effective.id", gid),
        login_uid=values.get("process.login_uid", LOGIN_UID_UNSET),
        session_id=values.get("process.session_id", int(tgid)),
        tty=values.get("process.tty.name", ""),
        cap_effective=_capabilities(values, "effective", uid),
        cap_permitted=_capabilities(values, "permitted", uid),
        namespaces=Namespaces(**namespaces),
        namespace_tgid=values.get("process.vpid", int(tgid)),
        inode=values.get("stockade.executable.inode", 1_234),
        device=1,
        link_count=values.get("stockade.executable.link_count", 1),
        **flags,
    )


def _build_parent(values: Values, program: ProcessExec) -> ProcessExec | None:
    executable = values.get("process.parent.executable", "")
    if not executable and not any(key.startswith("process.parent.") for key in values):
        return None
    return structs.replace(
        program,
        executable=executable,
        args=_args(values, "process.parent", executable),
        tgid=program.parent_tgid,
        tid=Tid(program.parent_tgid),
        start_boottime_ns=program.parent_start_boottime_ns,
        parent_tgid=Tgid(1),
        script=values.get("process.parent.script", ""),
        **{attribute: None if attribute == "is_upper_layer" else False for _, attribute, _ in EXEC_FLAGS},
    )


def _build_task_event(kind: str, values: Values, program: ProcessExec) -> TaskEvent:
    if kind == "process_exec":
        return program
    task = {name: getattr(program, name) for name in TaskEvent.__struct_fields__}
    match kind:
        case "process_exit":
            code, signal = values.get("process.exit_code", 0), values.get("process.exit_signal", 0)
            return ProcessExit(**task, exit_status=code, signal=signal)
        case "process_exec_failed":
            path = _required(values, "file.path", kind)
            return ProcessExecFailed(**task, path_claimed=path, errno=_errno(values, default=errno.ENOENT))
        case "file_open":
            return _build_open(values, task)
        case "network_connection":
            return _build_connection(values, task)
        case _ if kind in ACCESSES:
            target = Tgid(values.get("target.process.pid", 0))
            number = values.get("target.process.vpid", int(target))
            executable = values.get("target.process.executable", "")
            return ProcessAccess(
                **task, action=ACCESSES[kind], target_pid=number, target_tgid=target, target_executable=executable
            )
        case _:
            return _build_change(CHANGES[kind], values, task)


def _build_connection(values: Values, task: dict[str, Any]) -> NetworkConnection:
    transport = values.get("network.transport", "unix")
    if transport != "unix":
        raise SampleError("network.transport is unix: no other connections are seen")
    return NetworkConnection(
        **task, transport=transport, address=_required(values, "destination.address", "network_connection")
    )


def _build_open(values: Values, task: dict[str, Any]) -> FileOpen:
    access = values.get("file.access", ["read"])
    if not access or set(access) - {"read", "write", "create"}:
        raise SampleError("file.access is of read, write and create")
    created = bool(values.get("file.created")) or "create" in access
    failed = _errno(values, default=0)
    return FileOpen(
        **task,
        path=_required(values, "file.path", "file_open"),
        is_write="write" in access or created,
        is_read="read" in access,
        is_created=created,
        flags=0,
        fd=-1 if failed else 3,
        errno=failed,
        inode=values.get("file.inode", 4_321),
        device=1,
        file_mode=_file_mode(values),
        link_count=values.get("file.link_count", 1),
        is_path_claimed=bool(failed),
        **_file_flags(values),
    )


def _file_flags(values: Values) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    for name, attribute, _ in OPEN_FLAGS:
        value = values.get(f"file.flags.{name}")
        flags[attribute] = value if attribute == "is_upper_layer" else bool(value)
    return flags


def _build_change(action: ChangeAction, values: Values, task: dict[str, Any]) -> FileChange:
    """By name, unless the inode is said: a name has none."""
    kind = f"file_{action.value}"
    has_source, inode = action in {ChangeAction.RENAME, ChangeAction.LINK}, values.get("file.inode", 0)
    default_type = {ChangeAction.SYMLINK: "symlink", ChangeAction.TRUNCATE: "file"}.get(action, "")
    return FileChange(
        **task,
        action=action,
        path=_required(values, "file.path", kind),
        source=_required(values, "file.original.path", kind) if has_source else "",
        target=_required(values, "file.target_path", kind) if action is ChangeAction.SYMLINK else "",
        size=values.get("file.size", 0),
        owner=values.get("file.uid"),
        group=values.get("file.gid"),
        inode=inode,
        device=1 if inode else 0,
        file_mode=_file_mode(values, default_type),
        is_path_claimed=not inode,
        **_file_flags(values),
    )


def _file_mode(values: Values, default_type: str = "file") -> int:
    kind, bits = values.get("file.type", default_type), values.get("file.mode", "0644")
    types = {name: number for number, name in FILE_TYPES.items()}
    if kind and kind not in types:
        raise SampleError(f"file.type is one of {', '.join(types)}")
    if not 3 <= len(bits) <= 4 or set(bits) - set("01234567"):
        raise SampleError("file.mode is three or four octal digits, e.g. 0644")
    return types.get(kind, 0) | int(bits, 8)


def _required(values: Values, key: str, kind: str) -> str:
    if not values.get(key):
        raise SampleError(f"{kind} needs {key}")
    return str(values[key])


def _errno(values: Values, *, default: int) -> int:
    name = values.get("error.code")
    if name is None:
        return default
    number = next((number for number, code in errno.errorcode.items() if code == name), 0)
    if not number:
        raise SampleError(f"error.code {name!r} is no errno name such as ENOENT")
    return number
