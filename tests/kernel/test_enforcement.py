"""The kernel decides: each dimension of a deny rule, on real programs in a cgroup of the test's own.

Natively in tier ``kill``; the same tests run in tier ``lsm`` in the guest (tests/vm).
"""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.support.enforcement import REFUSED, TIER, Denier
from tests.support.rule_texts import DENY, rule_text

pytestmark = pytest.mark.kernel


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program of the test's own; it exists nowhere else."""
    return Path(shutil.copy("/bin/true", tmp_path / "Canary.bin"))


def deny(denier: Denier, folder: Path, *detections: str) -> int:
    """Deny what any of these finds."""
    texts = [rule_text(detection, extra=DENY, number=number) for number, detection in enumerate(detections)]
    return denier.deny(folder, *texts)


def test_a_path_is_denied_inside_and_nowhere_else(denier: Denier, program: Path, tmp_path: Path) -> None:
    generation = deny(denier, tmp_path, f"{{s: {{Image: {program}}}, condition: s}}")

    assert denier.run(program) == REFUSED
    assert denier.run("/bin/true") == 0
    assert denier.run(program, cgroup=denier.cgroup.parent) == 0
    (denial,) = denier.denials()
    assert (denial.path, denial.action, denial.tier, denial.generation) == (str(program), "exec", TIER, generation)
    assert denial.cgroup_id == denier.cgroup_id
    assert denial.inode == program.stat().st_ino


@pytest.mark.parametrize(
    "detection",
    [
        "{{s: {{Image: '{upper}'}}, condition: s}}",
        "{{s: {{Image|startswith: '{folder}/'}}, condition: s}}",
        "{{s: {{Image|endswith: /canary.BIN}}, condition: s}}",
        "{{s: {{Image|endswith: nary.bin}}, condition: s}}",
        "{{s: {{process.name: CANARY.bin}}, condition: s}}",
        "{{s: {{ParentImage: '{python}', Image|startswith: '{folder}'}}, condition: s}}",
        "{{s: {{user.id: 12345, Image|startswith: '{folder}'}}, condition: s}}",
        "{{a: {{Image|startswith: '{folder}'}}, b: {{Image|endswith: /true}}, condition: a and not b}}",
    ],
)
def test_each_way_to_name_it(denier: Denier, program: Path, tmp_path: Path, detection: str) -> None:
    python = Path("/proc/self/exe").resolve()
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents[:-2]:
        folder.chmod(folder.stat().st_mode | 0o011)
    deny(denier, tmp_path, detection.format(upper=str(program).upper(), folder=tmp_path, python=python))

    assert denier.run(program, uid=12345) == REFUSED
    assert denier.run("/bin/true", uid=12345) == 0
    assert [denial.path for denial in denier.denials()] == [str(program)]


SCRIPTS = {
    "by its path": ("process.script: {script}", "{script}", True),
    "by its name": ("process.script_name: THE.script", "{script}", True),
    "by its folder, of the one interpreter": ("process.script|startswith: '{folder}', Image: {dash}", "{script}", True),
    "of another interpreter": ("process.script|startswith: '{folder}', Image: /bin/false", "{script}", False),
    "called from its folder, by its path": ("process.script: {script}", "./The.script", TIER == "lsm"),
    "called from its folder, by its name": ("process.script|endswith: /the.script", "./The.script", True),
    "by a link, by its path": ("process.script: {script}", "{folder}/link", TIER == "lsm"),
    "whatever is not it": ("process.script|startswith: '{folder}', process.name: dash", "{dash}", False),
}
"""How the rule names a script, how it is called, and whether that is denied: by the file only before it is read."""


@pytest.mark.parametrize("how", SCRIPTS)
def test_a_script_is_denied(denier: Denier, tmp_path: Path, how: str) -> None:
    asked, called, is_denied = SCRIPTS[how]
    script, dash, mark = tmp_path / "The.script", Path("/bin/dash").resolve(), tmp_path / "mark"
    script.write_text(f"#!{dash}\n: > {mark}\n")
    script.chmod(0o755)
    asked, called = (text.format(script=script, folder=tmp_path, dash=dash) for text in (asked, called))
    deny(denier, tmp_path, f"{{s: {{{asked}}}, condition: s}}")
    (tmp_path / "link").hardlink_to(script)

    answer = denier.run("/bin/sh", "-c", f"cd '{tmp_path}' && '{called}' -c 'exit 0'; exit $?")
    assert (answer != 0, mark.exists()) == (is_denied, not is_denied and "dash" not in called)
    assert len(denier.denials()) == is_denied


@pytest.mark.parametrize(
    ("length", "on_truncated", "is_denied"), [(4095, "alert", True), (4096, "deny", True), (4096, "alert", False)]
)
def test_the_longest_path(denier: Denier, tmp_path: Path, length: int, on_truncated: str, is_denied: bool) -> None:
    """One byte more has no beginning, and says so."""
    extra = f"status: stable\nstockade: {{response: deny, on_truncated: {on_truncated}}}\n"
    detection = f"{{s: {{Image|startswith: {tmp_path}/}}, condition: s}}"
    denier.deny(tmp_path, rule_text(detection, extra=extra))
    folder, rest = os.open(tmp_path, os.O_PATH), length - len(str(tmp_path))
    while rest > 1 + 250:
        name = "d" * min(200, rest - 2 - len("program"))
        os.mkdir(name, dir_fd=folder)
        inner = os.open(name, os.O_PATH, dir_fd=folder)
        os.close(folder)
        folder, rest = inner, rest - 1 - len(name)
    program = Path(f"/proc/self/fd/{folder}") / ("p" * (rest - 1))
    shutil.copy("/bin/true", program)
    try:
        assert denier.run(program, pass_fds=[folder]) == (REFUSED if is_denied else 0)
    finally:
        os.close(folder)


THREAD = "import os, sys, threading; threading.Thread(target=os.execv, args=(sys.argv[1], sys.argv[1:])).start()"
EXACT, BEGINNING = "ParentImage: {forker}", "ParentImage|startswith: {folder}/"
FORKS = {
    "its parent has ended": (EXACT, "( (sleep 0.2; exec {program} {mark}) & )"),
    "its parent runs another program": (BEGINNING, "(sleep 0.2; exec {program} {mark}) & exec sleep 0.5"),
    "from a thread": (EXACT, "{python} -c '{thread}' {program} {mark}; true"),
    "it has executed something else": (BEGINNING, "( (exec sh -c 'sleep 0.2; exec {program} {mark}') & )"),
}
"""Ways to lose the program that forked it, and how the rule names that."""


@pytest.mark.parametrize("how", FORKS)
def test_who_forked_it_is_its_parent(denier: Denier, tmp_path: Path, how: str) -> None:
    where, script = FORKS[how]
    program, forker, mark = tmp_path / "program", tmp_path / "forker", tmp_path / "mark"
    shutil.copy("/bin/touch", program)
    shutil.copy("/bin/dash", forker)
    shown = where.format(forker=forker, folder=tmp_path)
    deny(denier, tmp_path, f"{{s: {{{shown}, Image: {program}}}, condition: s}}")

    denier.run(forker, "-c", script.format(program=program, mark=mark, python=sys.executable, thread=THREAD))
    end, told = time.monotonic() + 10, denier.denials()
    while not told and not mark.exists() and time.monotonic() < end:
        time.sleep(0.02)
        told = denier.denials()
    assert [denial.path for denial in told] == [str(program)]
    assert not mark.exists()
    assert denier.run("/bin/sh", "-c", f"{program} {mark}; true") == 0
    assert mark.exists()
