"""``stockade run`` and ``replay`` before anything starts: what is wrong with options, settings and rules."""

from pathlib import Path

import pytest

from tests.unit.cli.commands import run


@pytest.mark.parametrize(
    ("glob", "mistake"), [("etc/*", "'etc/*': a path to observe begins with /"), ("/**", "'/**' names every file")]
)
@pytest.mark.parametrize("command", ["run", "record"])
def test_a_glob_that_cannot_be_meant(command: str, glob: str, mistake: str, tmp_path: Path) -> None:
    file = [tmp_path / "recording"] if command == "record" else []
    done = run(command, *file, "--observe", glob, "--state-dir", tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith(f"stockade: --observe: {mistake}")
    assert done.stderr.count("\n") == 1


def test_one_mistake_is_not_many(tmp_path: Path) -> None:
    done = run("run", "--rules", tmp_path / "nowhere", "--state-dir", tmp_path)

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"{tmp_path}/nowhere:1:1: no such file or folder",
        "stockade: 1 mistake in the rules: nothing was started",
    ]


def test_mistakes_do_not_reach_the_terminal_raw(tmp_path: Path) -> None:
    folder = tmp_path / "\x1b[31mred"
    folder.mkdir()
    (folder / "x.yml").write_text("- no rule")
    done = run("run", "--rules", folder, "--state-dir", tmp_path)

    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "\\x1b[31mred/x.yml:1:1" in done.stderr
