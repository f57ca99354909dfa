"""``stockade`` as a process: what it says when the world around it is broken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.commands import REPOSITORY, WAIT_S

LINE = [sys.executable, "-m", "monitor.cli.main"]


def stockade(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", line, "sh", *LINE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("command", ["--help", "rules list rules", "rules check rules", "doctor"])
def test_a_full_disk_is_one_line(command: str) -> None:
    done = stockade(f'exec "$@" {command} >/dev/full')

    assert done.returncode == 3
    assert done.stderr.startswith("stockade: No space left on device")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", ["--help", "--version", "run --help", "rules --help", "rules check --help", "rules list rules"]
)
def test_a_reader_that_has_gone_is_no_error(command: str) -> None:
    done = run_without_reader(*command.split(), stderr=subprocess.PIPE)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_shell_is_told_how_to_complete_our_commands() -> None:
    done = stockade('exec "$@"', _STOCKADE_COMPLETE="bash_source")

    assert (done.returncode, done.stderr) == (0, "")
    assert "complete -o nosort -F _stockade_completion stockade" in done.stdout


@pytest.mark.parametrize("mistake", [(), ("no-such-command",), ("run", "--no-such-option")])
def test_a_mistake_is_one_although_nobody_reads_of_it(mistake: tuple[str, ...]) -> None:
    assert run_without_reader(*mistake, stderr=subprocess.STDOUT).returncode == 2


def run_without_reader(*words: str, stderr: int) -> subprocess.CompletedProcess[str]:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        return subprocess.run(
            [*LINE, *words], stdout=nobody, stderr=stderr, cwd=REPOSITORY, text=True, timeout=WAIT_S, check=False
        )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["--version", "rules list rules"])
def test_closed_streams_break_nothing(command: str, closed: str) -> None:
    done = stockade(f'exec "$@" {command} {closed}')

    assert (done.returncode, done.stderr) == (0, "")


def test_an_internal_error_is_one_line_and_exit_code_4(tmp_path: Path) -> None:
    broken = "import monitor.cli.output as output\noutput.format_table = None\n"
    (tmp_path / "sitecustomize.py").write_text(broken)
    done = stockade('exec "$@" rules list rules', PYTHONPATH=f"{tmp_path}:{REPOSITORY}")

    assert done.returncode == 4
    assert done.stderr.startswith("stockade: internal error: TypeError: ")
    assert done.stderr.count("\n") == 1
