"""Random patterns against random real opens: what the reference matches arrives, and nothing else that it could not.

The reference is text comparison in Python (``open_model.matches``); the opens go through
symbolic links, bind mounts of folders and of single files, deep and long paths.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from monitor.model.interest import OpenPattern, PatternKind
from monitor.rules.fields import fold_ascii
from tests.support.open_model import matches
from tests.support.open_sensor import VARIANTS, OpenSensor
from tests.support.opener import Opener

pytestmark = pytest.mark.kernel

FOLDERS = (
    "a",
    "a/B",
    "a/B/hot",
    "a/cron.d",
    "etc",
    "etc/SSH",
    "deep/" + "/".join("abcdefghijklmnopqrstuvwxyz"),
    "w" * 90,
)
NAMES = ("f", "so", "x.so", "Shadow", "id_rsa", "authorized_keys", "key.PEM", "é", "n" * 40, "lib.so.6", "a@b", "A`B")
FLAGS = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT)


class Scene(Struct):
    """A tree, the process that opens in it, and what watches."""

    root: Path
    opener: Opener
    sensor: OpenSensor
    real_paths: list[str]
    """Of files, as the opener's namespace shows them."""
    aliases: list[str]
    """Ways to them, the plain ones included."""


@pytest.fixture(scope="module", params=VARIANTS)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("Tree")
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (root / folder / name).touch()
    (root / "bound").mkdir()
    (root / "link").symlink_to(root / "etc")
    (root / "a" / "secret").symlink_to(root / "etc" / "Shadow")
    binds = [(root / "a", root / "bound"), (root / "a" / "f", root / "etc" / "f")]
    plain = [f"{root}/{folder}/{name}" for folder in (*FOLDERS, "bound", "bound/B/hot") for name in NAMES]
    detours = [f"{root}/link/{name}" for name in NAMES]
    detours += [f"{root}/a/secret", f"{root}/a/B/../../etc/./SSH/so", f"/proc/self/root{root}/a/x.so"]
    with Opener(binds) as opener, OpenSensor(request.param) as sensor:
        yield Scene(root, opener, sensor, plain, plain + detours)


@st.composite
def patterns(draw: st.DrawFn, real_paths: list[str]) -> OpenPattern:
    """Pieces of real paths, sometimes a letter off."""
    path = fold_ascii(draw(st.sampled_from(real_paths)))
    at = draw(st.integers(max(0, len(path) - 60), len(path)))
    kind = draw(st.sampled_from((PatternKind.EXACT, PatternKind.PREFIX, PatternKind.SUFFIX)))
    text = {PatternKind.EXACT: path, PatternKind.PREFIX: path[:at], PatternKind.SUFFIX: path[at:]}[kind]
    text += draw(st.sampled_from(("", "", "", "x", "/")))
    return OpenPattern(kind, text, reads=draw(st.booleans()), writes=draw(st.booleans()))


def fold(text: str) -> bytes:
    """As the kernel side folds: a little coarser than letters."""
    return bytes(byte | 0x20 for byte in text.encode())


def may_arrive(pattern: OpenPattern, path: str) -> bool:
    """Whether the kernel's coarser comparison matches."""
    own, other = fold(pattern.text), fold(path)
    match pattern.kind:
        case PatternKind.EXACT:
            return own == other if len(own) < 255 else other.startswith(own[:255])
        case PatternKind.PREFIX:
            return other.startswith(own)
        case _:
            return len(own) < 2 or other.endswith(own[-63:])


def asks_for(pattern: OpenPattern, flags: int) -> bool:
    reads = flags & os.O_ACCMODE != os.O_WRONLY
    writes = flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)
    return (pattern.reads and reads) or (pattern.writes and writes)


def check(scene: Scene, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(patterns(scene.real_paths), min_size=1, max_size=30))
    orders = data.draw(
        st.lists(st.tuples(st.sampled_from(scene.aliases), st.sampled_from(FLAGS)), min_size=20, max_size=60)
    )
    scene.sensor.read_all()
    scene.sensor.watch(wanted)

    made = [(*scene.opener.open(path, flags), flags) for path, flags in orders]
    arrived = [event.path for event in scene.sensor.read(scene.opener.tgid)]

    assert all(number == 0 for _, number, _ in made)
    must = [path for path, _, flags in made if any(matches(p, path) and asks_for(p, flags) for p in wanted)]
    may = [path for path, _, flags in made if any(may_arrive(p, path) and asks_for(p, flags) for p in wanted)]
    assert is_within(must, arrived), "an open that a pattern matches did not arrive"
    assert is_within(arrived, may), "an open arrived that no pattern could match"


def is_within(few: list[str], many: list[str]) -> bool:
    """``few`` is ``many`` with some left out, in the same order."""
    rest = iter(many)
    return all(path in rest for path in few)


FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=40, deadline=None, suppress_health_check=FIXTURES)
@given(data=st.data())
def test_opens_that_a_pattern_matches_arrive_and_no_others(scene: Scene, data: st.DataObject) -> None:
    check(scene, data)


@pytest.mark.long
@settings(max_examples=2000, deadline=None, suppress_health_check=FIXTURES)
@given(data=st.data())
def test_opens_that_a_pattern_matches_arrive_and_no_others_for_long(scene: Scene, data: st.DataObject) -> None:
    check(scene, data)
