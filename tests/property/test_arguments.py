"""Any argv, cut as the kernel side cuts it, comes out as its head and its tail, and nothing else matches in it."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.engine.images import SLIM_CHARS, ImageBuilder, build_slim, is_long
from monitor.model.arguments import CUT
from monitor.model.events import ProcessExec
from monitor.wire import _layout as layout
from monitor.wire.decoder import decode_record

HEAD, TAIL = layout.ARGS_HEAD_BYTES, layout.ARGS_TAIL_BYTES

# Short pieces, repeated: long command lines of every shape, with bytes that are no UTF-8 at the cuts.
pieces = st.lists(st.binary(max_size=12).map(lambda text: text.replace(b"\0", b"")), min_size=1, max_size=6)
argvs = st.tuples(pieces, st.integers(1, 400), pieces).map(lambda parts: parts[0] * parts[1] + parts[2])


def show(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def record_of(memory: bytes) -> bytes:
    """A record of an exec, as ``fill_args()`` of ebpf/process.bpf.c makes it."""
    is_long = len(memory) > HEAD + TAIL
    head, tail = (memory[:HEAD], memory[-TAIL:]) if is_long else (memory, b"")
    struct = layout.STRUCTS["process_exec_event"]
    values = dict.fromkeys(layout.FIELDS["process_exec_event"], 0)
    values |= {
        "type": layout.EVENT_PROCESS_EXEC,
        "exec_flags": layout.EXEC_ARGS_TRUNCATED if is_long else 0,
        "args_omitted_bytes": len(memory) - len(head) - len(tail),
        "args_offset": struct.size,
        "args_length": len(head),
        "args_tail_offset": struct.size + len(head),
        "args_tail_length": len(tail),
    }
    return struct.pack(*values.values()) + head + tail


def decode(memory: bytes) -> ProcessExec:
    record = record_of(memory)
    event = decode_record(record, 0, len(record))
    assert isinstance(event, ProcessExec)
    return event


def lie_in_memory(argv: list[bytes]) -> bytes:
    return b"".join(argument + b"\0" for argument in argv)


@given(argvs)
def test_what_comes_out_is_head_and_tail_of_what_went_in(argv: list[bytes]) -> None:
    memory = lie_in_memory(argv)

    event = decode(memory)

    if len(memory) <= HEAD + TAIL:
        assert event.args == tuple(map(show, argv))
        assert (event.args_truncated, event.args_omitted_bytes, event.args_cut_at) == (False, 0, -1)
        return
    head, tail = event.args[: event.args_cut_at], event.args[event.args_cut_at + 1 :]
    assert event.args[event.args_cut_at] == CUT
    assert "\0".join(head) + "\0" in (show(memory[:HEAD]), show(memory[:HEAD]) + "\0")
    assert "\0".join((*tail, "")) == show(memory[-TAIL:].removeprefix(b"\0"))
    assert (event.args_truncated, event.args_omitted_bytes) == (True, len(memory) - HEAD - TAIL)


@given(argvs, st.data())
def test_a_literal_that_matches_lies_in_the_head_or_in_the_tail(argv: list[bytes], data: st.DataObject) -> None:
    event = decode(lie_in_memory(argv))
    line = ImageBuilder().build(event).command_line
    at = data.draw(st.integers(0, len(line)))
    literal = line[at : at + data.draw(st.integers(1, 20))]

    if event.args_cut_at >= 0 and CUT not in literal:
        before, after = event.args[: event.args_cut_at], event.args[event.args_cut_at + 1 :]
        assert literal in " ".join(before) + " " or literal in " " + " ".join(after)


@given(argvs)
def test_a_slim_image_is_bounded_and_keeps_both_ends(argv: list[bytes]) -> None:
    image = ImageBuilder().build(decode(lie_in_memory(argv)))

    slim = build_slim(image)

    assert len(slim.command_line) <= SLIM_CHARS + len(f" {CUT} ")
    assert not is_long(slim)
    at = slim.exec.args_cut_at if slim.exec.args_cut_at >= 0 else len(slim.exec.args)
    assert image.command_line.startswith(" ".join(slim.exec.args[:at]))
    assert image.command_line.endswith(" ".join(slim.exec.args[at + 1 :]))
    assert (slim.exec.args_cut_at >= 0) == slim.exec.args_truncated
