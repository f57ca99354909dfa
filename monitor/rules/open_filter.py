"""Derive what the kernel's filter of opens and changes must let through from the rules about files.

Connections to Unix sockets go by the same filter, and accesses to processes by its scopes.

Two questions are asked of a predicate tree, and both answers err towards more:
which paths (an AND needs one of its parts, an OR all of them; what has no
anchored literal is every path), and in which situations (in a container or on
the host, reading or writing, what was done) it can be true at all. A pattern is
compared with every path that an event has. That whatever a rule
matches its patterns match too is a property test.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct

from monitor.model.events import BulkEvent, ChangeAction, FileChange, FileOpen, NetworkConnection, ProcessAccess
from monitor.model.interest import OpenPattern, PatternKind
from monitor.rules import system_paths
from monitor.rules.categories import Category
from monitor.rules.changes import ATTRIBUTES, DELETED, MADE, OPEN, PATH_FIELDS, RENAMED, absent_fields
from monitor.rules.field import fold_ascii
from monitor.rules.ir import And, AnyNode, Exists, Flag, Glob, Not, Or, Regex, Text
from monitor.rules.regex_literals import find_literal_prefix
from monitor.rules.system_paths import find_usual_path

PREFIX_BYTES_MAX = 255
_PREFIX_RANK = 2
SUFFIX_BYTES_MIN = 2


class PathTerm(NamedTuple):
    """One pattern over paths."""

    kind: PatternKind
    text: str


Terms = tuple[PathTerm, ...] | None
"""Patterns, one of which a matching path fulfils; None: any path could match."""


class Situation(Struct, frozen=True):
    """What is known of an event before its path is looked at."""

    in_container: bool
    action: str
    """``event.action``."""
    access: frozenset[str] = frozenset()
    """Of an open, of ``read write create``: the values of ``file.access``."""


_READ, _WRITE, _CREATE = "read", "write", "create"
_READS = (frozenset({_READ}),)
_WRITES = (
    frozenset({_WRITE}),
    frozenset({_READ, _WRITE}),
    frozenset({_WRITE, _CREATE}),
    frozenset({_READ, _WRITE, _CREATE}),
    frozenset({_CREATE}),
    frozenset({_READ, _CREATE}),
)


def build_open_patterns(condition: AnyNode, category: Category, wanted_by: str) -> tuple[OpenPattern, ...]:
    """The patterns of one rule; empty when it can never match."""
    if not category.is_file:
        return _build_other_patterns(condition, category, wanted_by)
    situations = [situation for situation in _list_situations(category) if _judge(condition, situation) is not False]
    if not situations:
        return ()
    accesses = {situation.access for situation in situations if situation.action == OPEN}
    actions = {situation.action for situation in situations}
    terms = path_terms(condition, relative=category.failed)
    return tuple(
        OpenPattern(
            kind=term.kind,
            text=term.text,
            in_containers=any(situation.in_container for situation in situations),
            on_host=any(not situation.in_container for situation in situations),
            # A rule on failed opens asks for no other: those that succeed stay in the kernel, whatever their access.
            reads=not category.failed and not accesses.isdisjoint(_READS),
            writes=not category.failed and not accesses.isdisjoint(_WRITES),
            failed=category.failed,
            made=category.changes == MADE and not actions.isdisjoint(MADE),
            renamed=category.changes == RENAMED,
            deleted=category.changes == DELETED,
            attributes=category.changes == ATTRIBUTES,
            wanted_by=wanted_by,
        )
        for term in dict.fromkeys((PathTerm(PatternKind.ANY, ""),) if terms is None else terms)
    )


def _build_other_patterns(condition: AnyNode, category: Category, wanted_by: str) -> tuple[OpenPattern, ...]:
    """Of rules about connections (a socket has a path too) and about accesses to processes, which have none."""
    is_connected, is_accessed = NetworkConnection in category.events, ProcessAccess in category.events
    scopes = [inside for inside in (False, True) if _judge(condition, Situation(inside, "")) is not False]
    if not scopes or not (is_connected or is_accessed):
        return ()
    terms = path_terms(condition) if is_connected else None
    return tuple(
        OpenPattern(
            kind=term.kind,
            text=term.text,
            in_containers=True in scopes,
            on_host=False in scopes,
            reads=False,
            writes=False,
            connected=is_connected,
            accessed=is_accessed,
            wanted_by=wanted_by,
        )
        for term in dict.fromkeys((PathTerm(PatternKind.ANY, ""),) if terms is None else terms)
    )


def _list_situations(category: Category) -> Iterator[Situation]:
    """All that events of the category can be."""
    for in_container in (False, True):
        for action in category.changes:
            yield Situation(in_container, action)
        if FileOpen in category.events:
            for access in _WRITES if category.writes_only else _READS + _WRITES:
                yield Situation(in_container, OPEN, access)


def path_terms(node: AnyNode, *, relative: bool = False) -> Terms:
    """Patterns over the path that this tree needs. ``relative``: the path may be relative (a claim)."""
    match node:
        case And(nodes):
            found = [terms for part in nodes if (terms := path_terms(part, relative=relative)) is not None]
            return min(found, key=_cost, default=None)
        case Or(nodes):
            return _union(path_terms(part, relative=relative) for part in nodes)
        case Text(field, match, values):
            return _union(_text_term(field, match, value, relative=relative) for value in values)
        case Glob(field, parts):
            return _glob_terms(field, parts)
        case Regex(field, pattern, flags) if field in PATH_FIELDS:
            return _prefix_term(find_literal_prefix(pattern, flags))
        case _:
            return None


def long_prefixes(node: AnyNode) -> list[str]:
    """Prefixes of the path in a tree that the kernel cannot hold (more than 255 bytes)."""
    match node:
        case And(nodes) | Or(nodes):
            return [text for part in nodes for text in long_prefixes(part)]
        case Text(field, "prefix", values) if field in PATH_FIELDS or field == "file.directory":
            return [value for value in values if len(value.encode()) > PREFIX_BYTES_MAX]
        case _:
            return []


def _union(parts: Iterable[Terms]) -> Terms:
    union: list[PathTerm] = []
    for part in parts:
        if part is None:
            return None
        union += part
    return tuple(union)


def _cost(terms: tuple[PathTerm, ...]) -> tuple[int, int, int]:
    """More telling and fewer patterns first, then the longest literal; of prefixes the longest first.

    A whole last name is dismissed by a bitmap in the kernel; a prefix costs a tag of the directories, and
    one as short as ``/proc/`` lets a crowd through; an ending without a slash is shared by many names.
    """
    shortest = min((len(term.text) for term in terms), default=0)
    rank = max(map(_rank, terms), default=0)
    return (rank, -shortest, len(terms)) if rank == _PREFIX_RANK else (rank, len(terms), -shortest)


def _rank(term: PathTerm) -> int:
    if term.kind is PatternKind.SUFFIX:
        return 1 if "/" in term.text else 3
    return {PatternKind.EXACT: 0, PatternKind.PREFIX: _PREFIX_RANK}.get(term.kind, 4)


def _text_term(field: str, match: str, value: str, *, relative: bool) -> Terms:
    match "file.path" if field in PATH_FIELDS else field, match:
        case "file.path", "exact":
            return (PathTerm(PatternKind.EXACT, fold_ascii(value)),)
        case "file.path" | "file.directory", "prefix":
            return _prefix_term(value)
        case "file.path" | "file.name", "suffix":
            return _suffix_term(value)
        case "file.name", "exact":
            return _suffix_term(value if relative else f"/{value}")
        case "file.directory", "exact":
            return _prefix_term(value if value == "/" else f"{value}/")
        case system_paths.FIELD, "exact" if usual := find_usual_path(value):
            return (PathTerm(PatternKind.EXACT, fold_ascii(usual)),)
        case system_paths.FIELD, "prefix" if usual := find_usual_path(value):
            return _prefix_term(usual)
        case "file.extension", "exact":
            return _suffix_term(f".{value}")
        case "file.extension", "suffix":
            return _suffix_term(value)
        case _:
            return None


def _glob_terms(field: str, parts: tuple[str | int | None, ...]) -> Terms:
    head, tail = parts[0], parts[-1]
    candidates: list[Terms] = []
    if isinstance(head, str) and field in PATH_FIELDS | {"file.directory"}:
        candidates.append(_prefix_term(head))
    if isinstance(tail, str) and field in PATH_FIELDS | {"file.name", "file.extension"}:
        candidates.append(_suffix_term(tail))
    found = [terms for terms in candidates if terms is not None]
    return min(found, key=_cost, default=None)


def _prefix_term(text: str) -> Terms:
    return (PathTerm(PatternKind.PREFIX, fold_ascii(_cut(text, PREFIX_BYTES_MAX))),) if text else None


def _suffix_term(text: str) -> Terms:
    if len(text.encode()) < SUFFIX_BYTES_MIN:
        return None
    reverse = _cut(text[::-1], PREFIX_BYTES_MAX)
    return (PathTerm(PatternKind.SUFFIX, fold_ascii(reverse[::-1])),)


def _cut(text: str, bytes_max: int) -> str:
    """The longest beginning of ``text`` of at most ``bytes_max`` UTF-8 bytes: a shorter literal lets more through."""
    while len(text.encode()) > bytes_max:
        text = text[: min(len(text) - 1, bytes_max)]
    return text


def _judge(node: AnyNode, situation: Situation) -> bool | None:
    """What the tree is in a situation: true, false, or None when that depends on more."""
    match node:
        case And(nodes):
            return _judge_all([_judge(part, situation) for part in nodes])
        case Or(nodes):
            judged = _judge_all([_negate(_judge(part, situation)) for part in nodes])
            return _negate(judged)
        case Not(inner):
            return _negate(_judge(inner, situation))
        case _ if node.field in absent_fields(situation.action):
            return False
        case Exists("container.id"):
            return situation.in_container
        case Flag("file.created", value):
            return (_CREATE in situation.access) is value
        case Text("file.access", "exact", values):
            return any(value in situation.access for value in values)
        case Text("event.action", "exact", values):
            return situation.action in values
        case _:
            is_absent = node.field.startswith("container.") and not situation.in_container
            return False if is_absent else None


def _judge_all(parts: list[bool | None]) -> bool | None:
    if False in parts:
        return False
    return None if None in parts else True


def _negate(judged: bool | None) -> bool | None:
    return None if judged is None else not judged


def passes(pattern: OpenPattern, event: BulkEvent, *, in_container: bool) -> bool:
    """Whether an event fulfils a pattern: what the kernel's filter must at least let through."""
    if not (pattern.in_containers if in_container else pattern.on_host):
        return False
    return is_asked(pattern, event) and any(_fits(pattern, path) for path in paths_of(event))


def paths_of(event: BulkEvent) -> tuple[str, ...]:
    """The texts that a pattern can be about."""
    match event:
        case FileOpen():
            return (event.path,)
        case FileChange():
            return (event.path, event.source, event.target)
        case NetworkConnection():
            return (event.address,)
        case ProcessAccess():
            return ("",)


def _fits(pattern: OpenPattern, path: str) -> bool:
    folded = fold_ascii(path)
    match pattern.kind:
        case PatternKind.EXACT:
            return folded == pattern.text
        case PatternKind.PREFIX:
            return folded.startswith(pattern.text)
        case PatternKind.SUFFIX:
            return folded.endswith(pattern.text)
        case PatternKind.ANY:
            return True


def is_asked(pattern: OpenPattern, event: BulkEvent) -> bool:
    """Whether the pattern is about events like this one, whatever their paths."""
    if isinstance(event, NetworkConnection):
        return pattern.connected
    if isinstance(event, ProcessAccess):
        return pattern.accessed
    if isinstance(event, FileChange):
        return _is_change_asked(pattern, event.action)
    if event.errno:
        return pattern.failed
    return pattern.writes if event.is_write or event.is_created else pattern.reads and event.is_read


def _is_change_asked(pattern: OpenPattern, action: ChangeAction) -> bool:
    return (
        (pattern.made and action in MADE)
        or (pattern.renamed and action in RENAMED)
        or (pattern.deleted and action in DELETED)
        or (pattern.attributes and action in ATTRIBUTES)
    )
