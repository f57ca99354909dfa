"""What BPF LSM denies that is done to a file by its name: run in the guest by ``test_enforcement``."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.enforcement import Denier
from tests.support.names import ACTS, DONE, REFUSED, Act, Doer, doing
from tests.support.rule_texts import DENY, rule_text

pytestmark = pytest.mark.kernel


class Scene:
    """A folder with a file that nobody is to change, and one that is anybody's."""

    def __init__(self, denier: Denier, doer: Doer, folder: Path) -> None:
        self.denier = denier
        self._doer = doer
        self.folder = folder
        self.root = folder / "root"
        self.kept = self.root / "etc" / "kept"
        self.build()
        denier.denials()

    def build(self) -> None:
        """All that an act finds, as it was."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.kept.mkdir(parents=True)
        for name in ("file", "full"):
            (self.kept / name).write_text(name)
        (self.kept / "empty").mkdir()
        (self.root / "other").write_text("other")
        (self.root / "folder").mkdir()
        self.before = self.read()

    def read(self) -> list[tuple[str, int, int, int, bytes]]:
        """All that is there."""
        found = []
        for path in sorted(self.root.rglob("*")):
            stat = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found.append((str(path.relative_to(self.root)), stat.st_ino, stat.st_mode, stat.st_uid, content))
        return found

    def deny(self, where: str, category: str) -> None:
        detection = f"{{s: {{{where.format(kept=self.kept)}}}, condition: s}}"
        self.denier.deny(self.folder, rule_text(detection, category=category, extra=DENY))

    def do(self, act: Act) -> tuple[str, list[tuple[str, str]]]:
        """What came of it and what was told."""
        self.build()
        outcome = self._doer.do(act.code)
        return outcome, [(denial.action, denial.path) for denial in self.denier.denials()]


@pytest.fixture
def scene(loaded_denier: Denier, tmp_path: Path) -> Iterator[Scene]:
    with doing(loaded_denier.cgroup, tmp_path / "root") as doer:
        yield Scene(loaded_denier, doer, tmp_path)


@pytest.mark.parametrize(
    "where",
    ["TargetFilename|startswith: '{kept}/'", "TargetFilename: ['{kept}/file', '{kept}/new', '{kept}/empty']"],
    ids=["prefix", "exact"],
)
def test_who_may_not_write_a_file_may_not_change_it_in_any_other_way(scene: Scene, where: str) -> None:
    scene.deny(where, "file_event")

    for act in ACTS:
        outcome, told = scene.do(act)

        if act.action:
            assert (act.code, outcome, told) == (act.code, REFUSED, [(act.action, str(scene.root / act.path))])
            assert scene.read() == scene.before
        else:
            assert (act.code, outcome, told) == (act.code, DONE, [])


@pytest.mark.parametrize("category", ["file_rename", "file_delete", "file_change"])
def test_a_rule_about_one_kind_of_change_leaves_the_others_alone(scene: Scene, category: str) -> None:
    scene.deny("TargetFilename|startswith: '{kept}/'", category)

    for act in [act for act in ACTS if act.path.startswith("etc/kept/")]:
        outcome, told = scene.do(act)

        if category in act.categories:
            assert (act.code, outcome, told) == (act.code, REFUSED, [(act.action, str(scene.root / act.path))])
            assert scene.read() == scene.before
        else:
            assert (act.code, outcome, told) == (act.code, DONE, [])


def test_nothing_is_denied_outside_of_the_container(scene: Scene) -> None:
    scene.deny("TargetFilename|startswith: '{kept}/'", "file_event")

    (scene.kept / "file").rename(scene.kept / "renamed").unlink()

    assert scene.denier.denials() == []
