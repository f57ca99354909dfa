"""Which opens and changes of files the stream shows: those that an enabled rule or an ``observe:`` entry names.

The kernel's filter lets a superset through (it folds case, widens globs, and takes
every open of a cgroup that it does not know yet). What nobody asked for is still
judged by the rules, and counted, but not streamed.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Final

import re2

from monitor.config.settings import Observe
from monitor.model.events import ChangeAction, FileChange, FileEvent, FileOpen
from monitor.model.interest import OpenPattern, PatternKind
from monitor.model.process import Context
from monitor.rules.changes import ATTRIBUTES, DELETED, MADE, RENAMED
from monitor.rules.open_filter import paths_of

GLOB_BYTES_MAX: Final = 1024


def check_glob(glob: str) -> None:
    """Refuse a glob that cannot be meant.

    Raises:
        ValueError: one line, what is wrong with it.
    """
    if not glob.startswith("/"):
        raise ValueError(f"{glob!r}: a path to observe begins with /")
    if len(glob.encode("utf-8", "surrogateescape")) > GLOB_BYTES_MAX:
        raise ValueError(f"a path to observe has at most {GLOB_BYTES_MAX} bytes")
    if glob.strip("*/") == "":
        raise ValueError(f"{glob!r} names every file: name a folder or a file")


def glob_to_regex(glob: str) -> Any:  # re2 has no types
    """``*`` and ``?`` within one component, ``**`` across components. RE2: linear whatever the glob."""
    out, index = [], 0
    while index < len(glob):
        if glob.startswith("**", index):
            out.append(".*")
            index += 2
            while index < len(glob) and glob[index] == "*":
                index += 1
            continue
        char = glob[index]
        out.append("[^/]*" if char == "*" else "[^/]" if char == "?" else re2.escape(char))
        index += 1
    return re2.compile("(?s)" + "".join(out))


def build_observe_pattern(observe: Observe) -> OpenPattern:
    """What the kernel is asked to let through for one entry: a superset of its glob.

    The literal head or the literal tail, whichever tells more.
    """
    wild = [index for index, char in enumerate(observe.path) if char in "*?"]
    kind, text = PatternKind.EXACT, observe.path
    if wild:
        head, tail = observe.path[: wild[0]], observe.path[wild[-1] + 1 :]
        is_tail_better = len(tail) > 1 and (tail.count("/"), len(tail)) > (head.count("/") - 1, len(head))
        kind, text = (PatternKind.SUFFIX, tail) if is_tail_better else (PatternKind.PREFIX, head)
    if kind is PatternKind.PREFIX:
        text = text.encode("utf-8", "surrogateescape")[:255].decode("utf-8", "ignore")
    writes = observe.access in ("write", "any")
    return OpenPattern(
        kind,
        text.lower(),
        in_containers=observe.container in ("any", "all"),
        on_host=observe.container in ("none", "all"),
        reads=observe.access in ("read", "any"),
        writes=writes,
        made=writes,
        renamed=writes,
        deleted=writes,
        attributes=writes,
        wanted_by="observe",
    )


class _Side:
    """Rule patterns of one combination of scope and kind of event, ready for C-speed tests."""

    def __init__(self, patterns: Iterable[OpenPattern]) -> None:
        texts: dict[PatternKind, set[str]] = {kind: set() for kind in PatternKind}
        for pattern in patterns:
            texts[pattern.kind].add(pattern.text)
        self.any = bool(texts[PatternKind.ANY])
        self.exact = frozenset(texts[PatternKind.EXACT])
        self.prefixes = tuple(texts[PatternKind.PREFIX])
        self.suffixes = tuple(texts[PatternKind.SUFFIX])

    def matches(self, path: str) -> bool:
        return self.any or path in self.exact or path.startswith(self.prefixes) or path.endswith(self.suffixes)


class OpenVisibility:
    """The test that the pipeline asks for each event about a file. Rebuilt whenever rules or observe entries change."""

    def __init__(self, rule_patterns: Iterable[OpenPattern], observe: Iterable[Observe]) -> None:
        patterns = tuple(rule_patterns)
        self._sides = {
            (in_container, kind): _Side(
                pattern
                for pattern in patterns
                if (pattern.in_containers if in_container else pattern.on_host) and is_asked(pattern)
            )
            for in_container in (False, True)
            for kind, is_asked in _KINDS.items()
        }
        self._globs = [(entry, glob_to_regex(entry.path)) for entry in observe]

    def shows(self, context: Context) -> bool:
        """Whether a rule or an entry names the file."""
        event = context.event
        assert isinstance(event, FileOpen | FileChange)
        in_container = context.container is not None
        if self._is_named_by_rule(event, in_container=in_container):
            return True
        paths = paths_of(event)
        return any(
            _is_asked(entry, event, in_container=in_container) and any(map(regex.fullmatch, paths))
            for entry, regex in self._globs
        )

    def _is_named_by_rule(self, event: FileEvent, *, in_container: bool) -> bool:
        if isinstance(event, FileOpen):
            return self._sides[in_container, _kind_of(event)].matches(event.path.lower())
        paths = [path.lower() for path in paths_of(event)]
        sides = (self._sides[in_container, kind] for kind in _CHANGE_KINDS[event.action])
        return any(side.matches(path) for side in sides for path in paths)


_KINDS: Final[dict[str, Callable[[OpenPattern], bool]]] = {
    "read": attrgetter("reads"),
    "write": attrgetter("writes"),
    "failed": attrgetter("failed"),
    "made": attrgetter("made"),
    "renamed": attrgetter("renamed"),
    "deleted": attrgetter("deleted"),
    "attributes": attrgetter("attributes"),
}
_CHANGE_KINDS: Final[dict[ChangeAction, tuple[str, ...]]] = {
    action: tuple(
        kind
        for kind, actions in (("made", MADE), ("renamed", RENAMED), ("deleted", DELETED), ("attributes", ATTRIBUTES))
        if action in actions
    )
    for action in ChangeAction
}
"""Which patterns are about a change."""


def _kind_of(event: FileOpen) -> str:
    if event.errno:
        return "failed"
    return "write" if event.is_write else "read"


def _is_asked(entry: Observe, event: FileEvent, *, in_container: bool) -> bool:
    if entry.container == ("none" if in_container else "any"):
        return False
    if isinstance(event, FileChange):
        return entry.access != "read"
    if entry.access == "write":
        return event.is_write
    return entry.access == "any" or event.is_read
