"""What must not be denied is found by file and by process."""

import os
import sys
from pathlib import Path

from monitor.host.protected_programs import find_protected_programs


def make_program(folder: Path, name: str, mode: int = 0o755) -> Path:
    program = folder / name
    program.write_bytes(b"")
    program.chmod(mode)
    return program


def test_installed_programs_with_their_calls_and_parents(tmp_path: Path) -> None:
    bin_folder, link = tmp_path / "bin", tmp_path / "sbin"
    bin_folder.mkdir()
    link.symlink_to(bin_folder)
    shim, runc = make_program(bin_folder, "containerd-shim-runc-v2"), make_program(bin_folder, "runc")
    make_program(bin_folder, "crun", mode=0o777)  # anybody may have written it
    found = {each.executable: each for each in find_protected_programs([str(link), str(bin_folder)])}

    assert found[str(runc)].what == "a container runtime"
    assert found[str(runc)].parents == (str(shim),)
    assert {"create", "start", "init"} <= {word for call in found[str(runc)].calls for word in call}
    assert str(bin_folder / "crun") not in found
    assert not [each for each in found if each.startswith(str(link))]


def test_the_first_process_and_ourselves_as_they_run(tmp_path: Path) -> None:
    for name, program, arguments in (
        ("1", "/usr/lib/systemd/systemd (deleted)", b"/sbin/init\0"),
        ("self", "/x", b"y\0--z\0"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "exe").symlink_to(program)
        (tmp_path / name / "cmdline").write_bytes(arguments)
    first, ours = find_protected_programs([], proc=tmp_path)

    assert (first.executable, first.calls) == ("/usr/lib/systemd/systemd", (("/sbin/init",),))
    assert (ours.executable, ours.calls[0]) == ("/x", ("y", "--z"))
    assert ("stockade", "run") in ours.calls


def test_ourselves_on_this_host() -> None:
    (ours,) = (each for each in find_protected_programs([]) if each.what == "Stockade itself")

    assert ours.executable == os.path.realpath(sys.executable)


def test_processes_of_which_we_may_not_know_are_left_out(tmp_path: Path) -> None:
    assert find_protected_programs([], proc=tmp_path) == []
