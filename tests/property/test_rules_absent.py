"""What an event lacks has no value: neither 0 nor false nor an empty text, which conditions could match."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from monitor.engine.images import EMPTY_IMAGE
from monitor.model.events import AnyEvent, ChangeAction, Namespaces, TaskEvent
from monitor.model.ids import CgroupId, ProcessKey, Tgid
from monitor.model.process import Context, Process, ProcessImage
from monitor.rules.fields import FIELDS
from tests.support import make

OF_TASK = frozenset({"process.pid", "process.entity_id", "process.thread.id", "user.id", "user.name"})
"""What every event of a task says, whatever it runs."""
OF_CALL = frozenset({"file.path", "file.name", "file.directory", "file.extension", "file.path_claimed"})
"""What a refused call says of the file that it named."""
ONLY_OF_CHANGE = frozenset({"file.original.path", "file.target_path", "file.size", "file.uid", "file.gid"})
OF_FILE = frozenset({"file.flags", "file.type", "file.mode", "file.inode", "file.device"})
OF_CHANGE = (
    OF_CALL | OF_FILE | ONLY_OF_CHANGE | {field.name for field in FIELDS if field.name.startswith("file.flags.")}
)
OF_REFUSED_OPEN = OF_CALL | {"file.access", "file.created", "file.flags", "file.flags.path_truncated"}

tasks = {"tgid": st.integers(1, 2**22), "start_boottime_ns": st.integers(1, 2**50), "uid": st.sampled_from([0, 1000])}
services = st.sampled_from([make.loss(), make.tick(5), make.cgroup_create("/x", 7)])


@st.composite
def events(draw: st.DrawFn) -> AnyEvent:
    facts: dict[str, Any] = {name: draw(values) for name, values in tasks.items()}
    kind = draw(
        st.sampled_from([make.fork, make.exec, make.exit, make.exec_failed, make.file_open, make.file_change, None])
    )
    if kind is make.exit:
        facts["signal"] = draw(st.sampled_from([0, 9]))
    if kind is make.file_open and draw(st.booleans()):
        facts |= {"errno": 13, "is_path_claimed": True, "inode": 0, "file_mode": 0, "link_count": 0}
    if kind is make.file_change:
        facts["action"] = draw(st.sampled_from(ChangeAction))
        facts |= draw(st.sampled_from([{}, {"inode": 7, "file_mode": 0o100600, "is_path_claimed": False}]))
    return draw(services) if kind is None else kind(**facts)


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    event = draw(events())
    has_process = isinstance(event, TaskEvent)
    program: ProcessImage = EMPTY_IMAGE
    if has_process and (isinstance(event, type(make.exec())) or draw(st.booleans())):
        program = make.image("/bin/x", tgid=7, tty=draw(st.sampled_from(["", "pts0"])), namespaces=Namespaces())
    parent = draw(st.sampled_from([None, EMPTY_IMAGE, make.image("/bin/sh", tgid=6)])) if has_process else None
    key = ProcessKey(event.tgid, event.start_boottime_ns) if isinstance(event, TaskEvent) else ProcessKey(Tgid(0), 0)
    parent_key = None if parent is None else ProcessKey(Tgid(6), 1)
    process = Process(key, program, 1, CgroupId(1), parent_key, parent)
    container = draw(st.sampled_from([None, make.container()]))
    return Context(event, process, program, parent, container, boot_id=make.BOOT_ID)


def must_lack(name: str, context: Context) -> bool:
    """Whether this field is about something that the context does not have."""
    event = context.event
    if name.startswith("container."):
        return context.container is None
    if name.startswith("process.parent."):
        if context.parent_image is None:
            return True
        return not context.parent_image.exec.tgid and name != "process.parent.pid"
    if name.startswith(("file.", "error.")):
        kind = type(event).__name__
        if kind == "FileChange":
            return name not in OF_CHANGE
        if kind not in {"FileOpen", "ProcessExecFailed"}:
            return True
        if name in ONLY_OF_CHANGE:
            return True
        if kind == "ProcessExecFailed":
            return name not in OF_CALL | {"error.code"}
        return bool(event.errno) and name not in OF_REFUSED_OPEN | {"error.code"}  # type: ignore[union-attr]
    if name.startswith("event.") or name == "stockade.cgroup_id":
        return False
    if name.startswith("process.exit_"):
        return type(event).__name__ != "ProcessExit"
    if not context.has_process:
        return True
    return not context.image.exec.tgid and name not in OF_TASK


@given(contexts())
def test_what_a_context_lacks_has_no_value(context: Context) -> None:
    values = {field.name: field.get(context) for field in FIELDS}

    assert {name: value for name, value in values.items() if value is not None and must_lack(name, context)} == {}


@given(contexts())
def test_absent_texts_are_empty_and_nothing_else_is(context: Context) -> None:
    for field in FIELDS:
        value = field.get(context)
        assert value not in ("", ())
        if field.text is not None and field.folded is not None:
            assert (field.text(context), field.folded(context)) == (value or "", field.fold(str(value or "")))
