"""Whatever a pattern matches, the packed policy lets through: by name, by path, and past the directory's verdict."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.bpf.open_policy import OpenPolicy
from monitor.model.interest import OpenPattern, PatternKind
from monitor.rules.fields import fold_ascii
from monitor.wire import _layout as layout
from tests.support.open_model import READ, SEED, WRITE, KernelModel, MemoryMaps, matches

# Few letters, so that patterns and paths meet; two that are no ASCII, one with other bytes in lower case.
letters = st.text("abAB.é\u0420", min_size=1, max_size=10)
paths = st.lists(letters, min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))
long_paths = st.tuples(paths, st.integers(1, 60)).map(lambda pair: pair[0] * pair[1])


INTERESTS = {
    "reads": (layout.INTEREST_HOST_READ, layout.INTEREST_CONTAINER_READ),
    "writes": (layout.INTEREST_HOST_WRITE, layout.INTEREST_CONTAINER_WRITE),
    "failed": (layout.INTEREST_HOST_FAILED, layout.INTEREST_CONTAINER_FAILED),
    "made": (layout.INTEREST_HOST_MADE, layout.INTEREST_CONTAINER_MADE),
    "renamed": (layout.INTEREST_HOST_RENAMED, layout.INTEREST_CONTAINER_RENAMED),
    "deleted": (layout.INTEREST_HOST_DELETED, layout.INTEREST_CONTAINER_DELETED),
    "attributes": (layout.INTEREST_HOST_ATTRIBUTES, layout.INTEREST_CONTAINER_ATTRIBUTES),
}


@st.composite
def patterns_for(draw: st.DrawFn, path: str) -> OpenPattern:
    """A pattern that often matches ``path``."""
    source = fold_ascii(draw(st.sampled_from([path, draw(paths)])))
    at = draw(st.integers(0, len(source)))
    kind = draw(st.sampled_from([PatternKind.EXACT, PatternKind.PREFIX, PatternKind.SUFFIX]))
    text = {PatternKind.EXACT: source, PatternKind.PREFIX: source[:at], PatternKind.SUFFIX: source[at:]}[kind]
    flags = {name: draw(st.booleans()) for name in ("in_containers", "on_host", *INTERESTS)}
    return OpenPattern(kind, text, **flags)


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, list[OpenPattern]]:
    path = draw(st.one_of(paths, long_paths))
    return path, draw(st.lists(patterns_for(path), min_size=1, max_size=12))


def interest_of(pattern: OpenPattern) -> int:
    """Written out anew, not taken from the module under test."""
    interest = 0
    for name, (in_host, in_container) in INTERESTS.items():
        if getattr(pattern, name):
            interest |= (in_host if pattern.on_host else 0) | (in_container if pattern.in_containers else 0)
    return interest


@settings(max_examples=300, deadline=None)
@given(cases())
@example(("/a", [OpenPattern(PatternKind.SUFFIX, "/a")]))
@example(("/" + "b" * 255, [OpenPattern(PatternKind.PREFIX, "/" + "b" * 254)]))
def test_a_packed_policy_is_a_superset_of_its_patterns(case: tuple[str, list[OpenPattern]]) -> None:
    path, patterns = case
    maps = MemoryMaps()
    OpenPolicy.apply(OpenPolicy(SEED).build(patterns), maps)
    model = KernelModel(maps)
    raw = path.encode()
    directory, _, name = raw.rpartition(b"/")

    for pattern in patterns:
        if not matches(pattern, path):
            continue
        interest = interest_of(pattern)
        assert model.wanted & interest == interest
        assert model.path_interest(raw) & interest == interest
        for class_, asked in CLASSES.items():
            if interest & asked:
                assert not is_dismissed(model, directory + b"/", name, class_)


CLASSES = {
    READ: layout.INTEREST_HOST_READ | layout.INTEREST_CONTAINER_READ,
    WRITE: layout.INTEREST_HOST_READ
    | layout.INTEREST_CONTAINER_READ
    | layout.INTEREST_HOST_WRITE
    | layout.INTEREST_CONTAINER_WRITE
    | sum(sum(INTERESTS[name]) for name in ("made", "renamed", "deleted", "attributes")),
}


def is_dismissed(model: KernelModel, directory: bytes, name: bytes, class_: int) -> bool:
    """By the quick tests, once the directory has been walked."""
    asked = CLASSES[class_]
    if model.any & asked or model.name_is_suspect(name, class_):
        return False
    return not (model.prefixes & model.directory_interest(directory) & asked)
