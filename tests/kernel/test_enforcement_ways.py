"""The ways round a rule about a program's path: what is denied runs no instruction and is told once.

Natively in tier ``kill``; the same tests run in tier ``lsm`` in the guest (tests/vm).
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.denial_ways import DYNAMIC, SCRIPT, STATIC, WAYS, Stop, Way
from tests.support.enforcement import REFUSED, TIER, Denier
from tests.support.programs import build_programs
from tests.support.rule_texts import DENY, load_text, rule_text

pytestmark = pytest.mark.kernel

UNKNOWN = 77
"""The kernel knows no such call."""
ASKING_SINCE = (6, 14)
STOPS = [(way, stop) for way in WAYS for stop in way.stops if TIER in stop.tiers]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    into = tmp_path_factory.mktemp("programs")
    return build_programs(Path(__file__).parent / "programs", into, "canary", "canary_dynamic", "round")


class Scene:
    """A folder with the program that is not to run."""

    def __init__(self, denier: Denier, programs: dict[str, Path], folder: Path) -> None:
        self.denier = denier
        self._programs = programs
        self._rules = folder / "rules"
        self.folder = folder / "image"
        self.links = folder / "links"
        for path in (self._rules, self.folder, self.links, folder / "image.upper", folder / "image.work"):
            path.mkdir()
        self.program = self.folder / "canary"
        denier.denials()

    def place(self, way: Way) -> None:
        if way.kind == SCRIPT:
            self.program.write_text("#!/bin/sh\n: >mark\n")
            self.program.chmod(0o700)
        else:
            shutil.copy(self._programs[{STATIC: "canary", DYNAMIC: "canary_dynamic"}[way.kind]], self.program)
        if way.name == "link-before":
            (self.links / "before").hardlink_to(self.program)
        if way.name == "link-beside":
            (self.folder / "beside").hardlink_to(self.program)

    def deny(self, what: str, category: str = "process_creation") -> None:
        where = what.format(program=self.program, folder=self.folder)
        text = rule_text(f"{{s: {{{where}}}, condition: s}}", category=category, extra=DENY)
        self.denier.apply(load_text(self._rules, text))

    def go(self, way: Way, what: str, category: str = "process_creation", *, on_overlay: bool = False) -> int:
        """Go this way round a rule that denies ``what``, with a descriptor from before the rule."""
        self.place(way)
        earlier = os.open(self.program, os.O_PATH | os.O_CLOEXEC)
        try:
            self.deny(what, category)
            words = [self._programs["round"], way.name, self.folder, str(earlier), *(["overlay"] if on_overlay else [])]
            return self.denier.run(*words, pass_fds=(earlier,))
        finally:
            os.close(earlier)

    @property
    def has_run(self) -> bool:
        return any((folder / "mark").exists() for folder in (self.folder, self.folder.with_name("image.upper")))


@pytest.fixture
def scene(loaded_denier: Denier, programs: dict[str, Path], tmp_path: Path) -> Scene:
    return Scene(loaded_denier, programs, tmp_path)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.name}-{way.kind}")
def test_a_rule_about_the_exact_path(scene: Scene, way: Way) -> None:
    status = scene.go(way, "Image: {program}")

    told = [(denial.is_known_file, denial.tier) for denial in scene.denier.denials()]
    if way.name == "asked" and status == UNKNOWN:
        assert kernel_version() < ASKING_SINCE
    elif TIER in way.denied_in:
        is_known = way.by_file and not (way.by_file_system and find_mount(scene.folder) == Path("/"))
        assert (status, scene.has_run, told) == (way.status or REFUSED, False, [(is_known, TIER)])
    else:
        assert (status, scene.has_run, told) == (0, True, [])


@pytest.mark.parametrize(("way", "stop"), STOPS, ids=lambda each: each.name)
def test_what_else_denies_it(scene: Scene, way: Way, stop: Stop) -> None:
    status = scene.go(way, stop.detection, stop.category, on_overlay=stop.needs_overlay)

    assert status != 0
    assert (scene.has_run, len(scene.denier.denials())) == (False, 1)


def test_an_untouched_file_of_the_image_has_not_drifted(scene: Scene) -> None:
    assert scene.go(WAYS[0], "process.flags.upper_layer: true", on_overlay=True) == 0
    assert (scene.has_run, scene.denier.denials()) == (True, [])


def find_mount(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_mount())


def kernel_version() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2])


@pytest.mark.parametrize("name", ["direct", "link-before", "link-after", "renamed", "bind-mount", "cloned-tree"])
def test_the_file_of_an_image_below_an_overlay(scene: Scene, name: str) -> None:
    """Known by what lies in the image's layer, also once it has been copied up."""
    (way,) = (way for way in WAYS if way.name == name)
    assert scene.go(way, "Image: {program}", on_overlay=True) == REFUSED
    assert (scene.has_run, len(scene.denier.denials())) == (False, 1)
