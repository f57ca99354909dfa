"""Denial by arguments, on real programs: what is asked of them, wherever it stands, however much surrounds it."""

import shutil
from pathlib import Path

import pytest

from tests.support.enforcement import REFUSED, Denier
from tests.support.programs import build_programs
from tests.support.rule_texts import DENY, rule_text

pytestmark = pytest.mark.kernel

LENIENT = "status: stable\nstockade: {response: deny, on_truncated: alert}\n"
EXECS = 400
JUNK = ["x" * 4000] * 20


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return Path(shutil.copy("/bin/true", tmp_path / "program"))


def deny(denier: Denier, folder: Path, what: str, extra: str = DENY) -> None:
    detection = f"{{s: {{Image: {folder}/program, {what}}}, condition: s}}"
    denier.deny(folder, rule_text(detection, extra=extra))


@pytest.mark.parametrize(
    ("what", "examples"),
    [
        ("CommandLine|contains: --evil", (["--EVIL=1"], ["--good"])),
        ("CommandLine|contains: --evil", (["a", "b", "c", "--evil"], ["--", "evil"])),
        ("CommandLine|contains: 'a b'", (["a", "b"], ["a", "", "b"])),
        ("CommandLine|endswith: ' -d'", (["x", "-d"], ["-d", "x"])),
        ("process.args: -e", (["-e"], ["-ee"])),
        ("process.args|startswith: http", (["-O", "https://x"], ["-O", "xhttp"])),
        ("CommandLine|re: 'b[a-c]{2}d.*z$'", (["1bacd2", "yz"], ["1bacd2", "zy"])),
    ],
)
def test_what_is_asked_of_arguments(
    denier: Denier, program: Path, tmp_path: Path, what: str, examples: tuple[list[str], list[str]]
) -> None:
    """Examples: arguments that it denies, and such that it does not."""
    denied, allowed = examples
    deny(denier, tmp_path, what)

    assert denier.run(program, *allowed) == 0
    assert denier.run(program, *denied) == REFUSED
    assert [denial.path for denial in denier.denials()] == [str(program)]


@pytest.mark.parametrize("before", [0, 1, 5, 20])
def test_padding_hides_nothing(denier: Denier, program: Path, tmp_path: Path, before: int) -> None:
    deny(denier, tmp_path, "CommandLine|contains: --evil")

    assert denier.run(program, *JUNK[:before], "--evil", *JUNK[before:]) == REFUSED
    assert denier.run(program, *JUNK) == 0


def test_what_is_too_long_to_be_read_is_denied_unless_the_rule_says_not(
    denier: Denier, program: Path, tmp_path: Path
) -> None:
    long = ["x" * 100_000] * 4
    deny(denier, tmp_path, "CommandLine|contains: --evil")
    assert denier.run(program, *long) == REFUSED

    deny(denier, tmp_path, "CommandLine|contains: --evil", LENIENT)
    assert denier.run(program, *long) == 0


def test_the_environment_is_no_argument(denier: Denier, program: Path, tmp_path: Path) -> None:
    deny(denier, tmp_path, "CommandLine|contains: --evil")

    assert denier.run("/usr/bin/env", "EVIL=--evil", program) == 0
    assert denier.run("/usr/bin/env", "A=1", program, "--evil") == REFUSED


def test_a_script_is_denied_by_the_arguments_of_its_interpreter(denier: Denier, tmp_path: Path) -> None:
    interpreter = Path(shutil.copy("/bin/dash", tmp_path / "program"))
    script = tmp_path / "script"
    script.write_text(f"#!{interpreter}\nexit 0\n")
    script.chmod(0o755)
    deny(denier, tmp_path, "CommandLine|endswith: 'script --evil'")

    assert denier.run(script, "--good") == 0
    assert denier.run(script, "--evil") == REFUSED


def test_who_changes_an_argument_meanwhile_never_runs_the_denied_one(denier: Denier, tmp_path: Path) -> None:
    programs = build_programs(Path(__file__).parent / "programs", tmp_path, "racer", "teller")
    teller = tmp_path / "program"
    programs["teller"].rename(teller)
    deny(denier, tmp_path, "CommandLine|contains: --evil")
    output = tmp_path / "output"

    with output.open("wb") as said:
        assert denier.run(programs["racer"], teller, str(EXECS), stdout=said) == 0

    ran = output.read_text().split()
    assert "--evil" not in ran
    assert 0 < len(ran) < EXECS, "both were tried"
    assert len(ran) + len(denier.denials()) == EXECS
