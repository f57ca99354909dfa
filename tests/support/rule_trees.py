"""Random predicate trees and contexts that meet: small vocabularies, so that tests are often true."""

import fnmatch
import itertools
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from monitor.model.events import ChangeAction
from monitor.model.process import Context
from monitor.rules.field import FieldKind
from monitor.rules.fields import find_field
from monitor.rules.ir import And, AnyNode, Exists, FieldRef, Flag, Glob, Not, Number, Or, Regex, Text
from monitor.rules.items import build_text_node, join_parts
from tests.support.rule_texts import event

PATHS = [
    "/etc/shadow",
    "/etc/Shadow",
    "/etc/cron.d/x",
    "/etc/cron.daily",
    "/x",
    "/a/b.sh",
    "/tmp/Ärger.SH",
    "/",
    "/tmp/.x/kK",
]
PROGRAMS = ["/bin/sh", "/usr/bin/Bash", "/usr/bin/cat", "/tmp/x", "sh", "", "/tmp/.hidden/y"]
PIECES = [
    "/etc/",
    "/etc/cron",
    "/shadow",
    "shadow",
    "sh",
    "/sh",
    ".sh",
    "/bash",
    "x",
    "/",
    "/tmp",
    "a",
    "/etc/shadow",
    "Ä",
    "/x",
]
ACCESS = ["read", "write", "create"]

_texts = st.sampled_from(PIECES + PATHS + [program for program in PROGRAMS if program])
_matches = st.sampled_from(["exact", "prefix", "suffix", "contains"])
_patterns = st.sampled_from(
    [
        "^/etc/",
        "^/etc/(shadow|x)",
        "^/tmp/\\.x",
        "sh$",
        "^/etc/c?ron",
        "cat",
        "^/etc|^/tmp",
        "",
        "^/e{0,2}tc",
        "\\A/etc/sh*",
    ]
)


def _fold(field: str, text: str, *, cased: bool) -> str:
    found = find_field(field)
    assert found is not None
    return text if cased else found.fold(text)


@st.composite
def _text_nodes(draw: st.DrawFn, fields: list[str]) -> AnyNode:
    field, cased = draw(st.sampled_from(fields)), draw(st.booleans())
    values = draw(st.lists(_texts, min_size=1, max_size=3))
    return Text(field, draw(_matches), tuple(_fold(field, value, cased=cased) for value in values), cased)


@st.composite
def _glob_nodes(draw: st.DrawFn, fields: list[str]) -> AnyNode:
    field = find_field(draw(st.sampled_from(fields)))
    assert field is not None
    pieces: list[Any] = draw(st.lists(st.one_of(_texts, st.none(), st.just(1)), min_size=1, max_size=4))
    return build_text_node(field, join_parts(pieces), cased=draw(st.booleans()))


def leaves(fields: list[str], others: list[AnyNode]) -> st.SearchStrategy[AnyNode]:
    """Tests of text fields, and some given ones."""
    return st.one_of(
        _text_nodes(fields),
        _glob_nodes(fields),
        st.builds(Regex, st.sampled_from(fields), _patterns, st.sampled_from(["", "i"])),
        st.builds(Exists, st.sampled_from(fields)),
        st.builds(FieldRef, st.sampled_from(fields), st.sampled_from(fields), _matches),
        st.sampled_from(others),
    )


def trees(fields: list[str], others: list[AnyNode]) -> st.SearchStrategy[AnyNode]:
    """Trees over these tests."""
    return st.recursive(
        leaves(fields, others),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map(lambda nodes: And(tuple(nodes))),
            st.lists(inner, max_size=4).map(lambda nodes: Or(tuple(nodes))),
            inner.map(Not),
        ),
        max_leaves=8,
    )


FILE_FIELDS = [
    "file.path",
    "file.name",
    "file.directory",
    "file.extension",
    "file.original.path",
    "file.target_path",
    "process.executable",
    "container.name",
]
FILE_OTHERS: list[AnyNode] = [
    Exists("container.id"),
    Not(Exists("container.id")),
    Text("file.access", "exact", ("read",)),
    Text("file.access", "exact", ("write", "create")),
    Flag("file.created", True),
    Flag("container.runtime_init", False),
    Flag("container.pending", False),
    Text("container.runtime", "exact", ("docker",)),
    Text("event.action", "exact", ("open", "rename")),
    Text("event.action", "exact", ("symlink", "chmod", "deletion")),
    Exists("file.uid"),
    Number("file.size", "eq", 0),
]
FILE_TREES = trees(FILE_FIELDS, FILE_OTHERS)
PROCESS_FIELDS = [
    "process.executable",
    "process.name",
    "process.command_line",
    "process.script",
    "process.parent.name",
    "container.name",
]
PROCESS_OTHERS: list[AnyNode] = [
    Exists("container.id"),
    Text("process.args", "exact", ("sh", "x")),
    Text("process.args", "contains", ("a",)),
    Number("user.id", "gte", 1),
    Number("user.id", "neq", 0),
    Flag("process.flags.memfd", False),
    Flag("container.runtime_init", False),
    Flag("container.pending", True),
    Not(Exists("process.script_name")),
]
PROCESS_TREES = trees(PROCESS_FIELDS, PROCESS_OTHERS)


def every_leaf(fields: list[str], others: list[AnyNode]) -> list[AnyNode]:
    """Each test of each field by itself, and its negation: what random trees seldom hit."""
    found: list[AnyNode] = [
        Text(field, match, (_fold(field, piece, cased=False),))
        for field in fields
        for match in ("exact", "prefix", "suffix", "contains")
        for piece in PIECES
    ]
    found += others
    return [*found, *(Not(leaf) for leaf in found)]


def _container(number: int) -> dict[str, object]:
    """By turns: the host, a container that is not resolved, one with a name."""
    return [{}, {"container__id": "ab"}, {"container__id": "ab", "container__name": "x"}][number % 3]


def _execs() -> Iterator[Context]:
    arguments = [["sh"], ["x", "/etc/shadow"], ["A"], []]
    for number, (program, script) in enumerate(itertools.product(PROGRAMS, ["", "/a/b.sh", "x"])):
        for turn in range(3):
            parent = {"process__parent__executable": PROGRAMS[number % 4]} if (number + turn) % 2 else {}
            yield event(
                process__executable=program,
                process__script=script,
                process__args=arguments[(number + turn) % 4],
                user__id=number % 2,
                **parent,
                **_container(turn),
            )


def _opens() -> Iterator[Context]:
    accesses = [["read"], ["write"], ["read", "write"], ["write", "create"], ["read", "create"]]
    paths = [*PATHS, *("/" + piece for piece in PIECES)]
    for number, (path, access) in enumerate(itertools.product(paths, accesses)):
        failed = {"error__code": "ENOENT"} if number % 4 == 3 else {}
        program = PROGRAMS[number % len(PROGRAMS)]
        for turn in range(2):
            yield event(
                file__path=path, file__access=access, process__executable=program, **failed, **_container(number + turn)
            )


def _changes() -> Iterator[Context]:
    others = itertools.cycle(PATHS + [piece for piece in PIECES if piece])
    for number, (path, action) in enumerate(itertools.product(PATHS, ChangeAction)):
        facts: dict[str, object] = {}
        if action in {ChangeAction.RENAME, ChangeAction.LINK}:
            facts["file__original__path"] = next(others)
        elif action is ChangeAction.SYMLINK:
            facts["file__target_path"] = next(others)
        elif action is ChangeAction.CHOWN and number % 2:
            facts["file__uid"] = number % 3
        program = PROGRAMS[number % len(PROGRAMS)]
        for turn in range(2):
            yield event(
                event=f"file_{action.value}",
                file__path=path,
                process__executable=program,
                **facts,
                **_container(number + turn),
            )


def _accesses() -> Iterator[Context]:
    for number, (target, program) in enumerate(itertools.product(filter(None, PROGRAMS), PROGRAMS)):
        yield event(
            event="process_read",
            target__process__executable=target,
            process__executable=program,
            user__id=number % 2,
            **_container(number),
        )


def _connections() -> Iterator[Context]:
    addresses = [*PATHS, "@/etc/x", "@sh", "@"]
    for number, (address, program) in enumerate(itertools.product(addresses, PROGRAMS)):
        yield event(
            event="network_connection",
            destination__address=address,
            process__executable=program,
            **_container(number),
        )


ACCESSES = tuple(_accesses())
"""Every program gets hold of every other one."""
CONNECTIONS = tuple(_connections())
"""Every program connects to every path, and to abstract names."""
EXECS = tuple(_execs())
"""Every program with every kind of script, on the host and in containers."""
OPENS = tuple(_opens())
"""Every path with every access, succeeded and failed, on the host and in containers."""
CHANGES = tuple(_changes())
"""Every path with everything that can be done to it, on the host and in containers."""
FILES = OPENS + CHANGES


def walk(node: AnyNode, context: Context) -> bool:
    """What a tree means, the plain way."""
    match node:
        case And(nodes):
            return all(walk(part, context) for part in nodes)
        case Or(nodes):
            return any(walk(part, context) for part in nodes)
        case Not(inner):
            return not walk(inner, context)
    texts = _values(node.field, context)
    match node:
        case Exists():
            return texts is not None
        case Flag(value=wanted):
            return texts == [str(wanted)]
        case Number(operator=operator, value=bound):
            return texts is not None and _compare(operator, int(texts[0]), bound)
        case Text(match=match, values=values, cased=cased):
            return any(
                _test(match, _fold(node.field, text, cased=cased), value) for text in texts or [] for value in values
            )
        case Glob(parts=parts, cased=cased):
            pattern = "".join(re.escape(part) if isinstance(part, str) else "." if part else ".*" for part in parts)
            return any(re.fullmatch(pattern, _fold(node.field, text, cased=cased), re.DOTALL) for text in texts or [])
        case Regex(pattern=pattern, flags=flags):
            return any(re.search(pattern, text, re.IGNORECASE if flags else 0) for text in texts or [])
        case FieldRef(other=other, match=match):
            others = [_fold(node.field, text, cased=False) for text in _values(other, context) or []]
            return any(
                _test(match, _fold(node.field, text, cased=False), value) for text in texts or [] for value in others
            )
    raise AssertionError(node)


def _values(name: str, context: Context) -> list[str] | None:
    field = find_field(name)
    assert field is not None
    value = field.get(context)
    if value is None:
        return None
    return list(value) if field.kind is FieldKind.TEXTS and isinstance(value, tuple) else [str(value)]


def _test(match: str, text: str, value: str) -> bool:
    glob = {"exact": "{}", "prefix": "{}*", "suffix": "*{}", "contains": "*{}*"}[match].format(glob_escaped(value))
    return fnmatch.fnmatchcase(text, glob)


def glob_escaped(text: str) -> str:
    """The text as a glob that means itself."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)


def _compare(operator: str, number: int, bound: float) -> bool:
    return {
        "eq": number == bound,
        "neq": number != bound,
        "lt": number < bound,
        "lte": number <= bound,
        "gt": number > bound,
        "gte": number >= bound,
    }[operator]
