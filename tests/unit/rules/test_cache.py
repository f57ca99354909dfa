"""The cache saves reading; it never decides what a rule means."""

import subprocess
import sys
from pathlib import Path

import pytest

from monitor.rules import cache
from monitor.rules.source_files import RuleFile
from tests.support.rule_texts import event, load_text, matching, rule_text

RULE = rule_text("sel: {Image|endswith: /sh}\ncondition: sel", extra="""\
    stockade: {exceptions: [{when: {user.id: 0}, owner: o, reason: r, expires: never}]}
""")  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rules = tmp_path / "rules"
    rules.mkdir()
    load_text(rules, RULE, cache_dir=tmp_path / "cache")
    return tmp_path


def test_known_files_need_neither_yaml_nor_pysigma(folder: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom monitor.rules.loader import load_rules\n"
        f"rules = load_rules([Path({str(folder / 'rules')!r})], cache_dir=Path({str(folder / 'cache')!r}))\n"
        "assert len(rules.enabled) == 1\n"
        "sys.exit(','.join(name for name in ('yaml', 'sigma', 'pyparsing') if name in sys.modules) or 0)\n"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr


def test_cached_rules_match_as_before(folder: Path) -> None:
    rules = load_text(folder / "rules", cache_dir=folder / "cache")

    assert matching(rules, event(process__executable="/bin/sh"))
    assert not matching(rules, event(process__executable="/bin/sh", user__id=0))


def test_a_changed_file_is_read_again(folder: Path) -> None:
    rules = load_text(folder / "rules", RULE.replace("/sh", "/zsh"), cache_dir=folder / "cache")

    assert matching(rules, event(process__executable="/bin/zsh"))


@pytest.mark.parametrize("damage", [b"", b"\x93", b"\xff" * 100, b"{}"])
def test_a_damaged_cache_is_ignored_and_replaced(folder: Path, damage: bytes) -> None:
    path = folder / "cache" / cache.FILE_NAME
    good = path.read_bytes()
    path.write_bytes(damage)

    rules = load_text(folder / "rules", cache_dir=folder / "cache")

    assert matching(rules, event(process__executable="/bin/sh"))
    assert path.read_bytes() == good
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_cut_cache_is_ignored(folder: Path) -> None:
    path = folder / "cache" / cache.FILE_NAME
    good = path.read_bytes()
    for size in range(0, len(good), 17):
        path.write_bytes(good[:size])
        assert cache.load_cached(folder / "cache", good[:0].decode()) is None


def test_right_types_with_wrong_content_are_read_again(folder: Path) -> None:
    path = folder / "cache" / cache.FILE_NAME
    path.write_bytes(path.read_bytes().replace(b"process.executable", b"process.executeble"))

    assert matching(load_text(folder / "rules", cache_dir=folder / "cache"), event(process__executable="/bin/sh"))


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_cache_that_others_can_write_is_not_believed(folder: Path, mode: int) -> None:
    path = folder / "cache" / cache.FILE_NAME
    path.chmod(mode)

    load_text(folder / "rules", cache_dir=folder / "cache")

    assert path.stat().st_mode & 0o777 == 0o600, "it was replaced"


def test_a_link_in_the_place_of_the_cache_is_not_followed(folder: Path) -> None:
    path = folder / "cache" / cache.FILE_NAME
    target = folder / "target"
    path.rename(target)
    path.symlink_to(target)

    load_text(folder / "rules", cache_dir=folder / "cache")

    assert not path.is_symlink()


def test_a_folder_that_cannot_be_written_costs_only_speed(folder: Path) -> None:
    (folder / "file").write_text("")

    assert load_text(folder / "rules", cache_dir=folder / "file").enabled


def test_the_key_knows_the_versions_of_what_reads_rules() -> None:
    versions = dict(cache._library_versions())

    assert versions["sigma"].lower().startswith(b"pysigma-")
    assert versions["re2"].startswith(b"google_re2-")


def test_the_key_depends_on_names_and_bytes_of_all_files() -> None:
    def key(*files: tuple[str, bytes]) -> str:
        return cache.build_key([RuleFile(name, content) for name, content in files])

    keys = {key(), key(("a", b"b")), key(("ab", b"")), key(("a", b""), ("b", b"")), key(("a", b"c"))}

    assert len(keys) == 5
    assert key(("a", b"b")) == key(("a", b"b"))


def test_a_cache_that_cannot_be_written_leaves_nothing_behind(folder: Path) -> None:
    cached = folder / "cache" / cache.FILE_NAME
    cached.unlink()
    cached.mkdir()
    (cached / "in-the-way").touch()

    rules = load_text(folder / "rules", cache_dir=folder / "cache")

    assert len(rules.enabled) == 1
    assert [path.name for path in (folder / "cache").iterdir()] == [cache.FILE_NAME]
