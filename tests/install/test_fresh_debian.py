"""The two commands, the installation and its removal on Debian as it comes: nothing there but what it must have.

The tests of one tree follow each other as a user's day does, each on what the one before has left.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.install.commands import find_tested_commands
from tests.install.tree import COPY, Tree, make_tree

pytestmark = pytest.mark.kernel

FIRST_CALL_S = 400
"""Downloads of some 150 MB among them."""
JOB_STARTS_WITHIN_S = 3.0
ALL_TESTS_S = 1200

# Start the installed service, wait for its socket, and run each argument as a command line of a shell.
WITH_SERVICE = """
stockade run --alerts >/tmp/service.log 2>&1 &
trap 'kill $!; wait $! || true' EXIT
timeout 20 sh -c 'until [ -S /run/stockade/stream.sock ]; do sleep 0.1; done' || { cat /tmp/service.log; exit 1; }
for command; do
    printf '$ %s\n' "$command"
    timeout 20 bash -euo pipefail -c "$command"
done
"""

RELEASES = ["bookworm", pytest.param("trixie", marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=RELEASES)
def debian(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    root = tmp_path_factory.mktemp("debian") / request.param
    yield make_tree(root, request.param)
    shutil.rmtree(root)


def job_started_at_s(output: str, job: str = "stockade run") -> float:
    """When the script handed over to its job, by its own clock."""
    match = re.search(rf"^\[ *([0-9.]+) s\] {job}", output, re.MULTILINE)
    assert match, output
    return float(match[1])


def test_no_script_works_without_root_and_each_says_so_in_a_line(debian: Tree) -> None:
    for name in ("run", "test", "install", "uninstall"):
        status, output = debian.script(name, user="nobody")

        assert status == 3
        assert output.count("\n") == 1, output
        assert f"sudo scripts/{name}" in output


def test_without_a_network_it_says_what_is_wrong(debian: Tree) -> None:
    status, output = debian.script("run", network=False)

    assert status == 3, output
    assert "no network?" in output.splitlines()[-1]


def test_an_option_without_the_dashes_is_explained(debian: Tree) -> None:
    status, output = debian.script("run", "--duration", "3")

    assert status == 2
    assert "scripts/run -- --duration 3" in output


def test_run_installs_what_is_missing_and_watches(debian: Tree) -> None:
    status, output = debian.script("run", "--", "--duration", "3", timeout=FIRST_CALL_S)

    assert status == 0, output
    for step in ("apt-get install", "making .venv", "pip install", "building the BPF objects"):
        assert step in output


def test_the_second_call_starts_its_job_at_once(debian: Tree) -> None:
    status, output = debian.script("run", "--", "--duration", "1")

    assert status == 0, output
    assert job_started_at_s(output) < JOB_STARTS_WITHIN_S
    assert "install" not in output.partition("stockade run")[0]


def test_the_second_call_needs_no_network(debian: Tree) -> None:
    status, output = debian.script("run", "--", "--duration", "1", network=False)

    assert status == 0, output


def test_the_tests_install_what_they_need_and_run(debian: Tree) -> None:
    some = ("-q", "tests/containers/test_end_to_end.py", "-k", "a_shell_that_reads_shadow")
    status, first = debian.script("test", *some, timeout=FIRST_CALL_S)
    assert status == 0, first
    assert "apt-get install" in first

    status, second = debian.script("test", *some, timeout=120)

    assert status == 0, second
    assert job_started_at_s(second, "pytest") < JOB_STARTS_WITHIN_S


def test_a_run_without_a_test_fails(debian: Tree) -> None:
    status, _ = debian.script("test", "-q", "-k", "no_test_has_this_name", "tests/unit/rules")

    assert status == 5


@pytest.mark.long
def test_all_tests_pass_on_it(debian: Tree, capfd: pytest.CaptureFixture[str]) -> None:
    def show(line: str) -> None:
        """This takes long: what has failed so far must not be lost when somebody ends it."""
        with capfd.disabled():
            print(line, end="", flush=True)

    options = ("-q", "--failures-at-once", "--ignore=tests/install")
    status, output = debian.script("test", *options, timeout=ALL_TESTS_S, watch=show)

    assert status == 0, output[-10_000:]


def test_install_puts_a_working_service_on_the_host(debian: Tree) -> None:
    status, output = debian.script("install", timeout=FIRST_CALL_S)

    assert status == 0, output
    assert "systemd does not run here" in output
    for command in (("--version",), ("rules", "list"), ("doctor",)):
        done = debian.run("stockade", *command)
        assert done.returncode == 0, done.stdout
    assert "stockade:" in debian.read("/etc/group")


def test_the_installed_service_needs_nothing_of_the_checkout(debian: Tree) -> None:
    (debian.root / COPY.relative_to("/")).rename(debian.root / "srv/moved")
    try:
        done = debian.run("stockade", "run", "--duration", "1")
    finally:
        (debian.root / "srv/moved").rename(debian.root / COPY.relative_to("/"))

    assert done.returncode == 0, done.stdout


def test_the_commands_of_the_documentation_work(debian: Tree) -> None:
    commands = find_tested_commands()
    assert commands

    done = debian.run("bash", "-euc", WITH_SERVICE, "bash", *commands, timeout=120)

    assert done.returncode == 0, done.stdout


def test_installing_again_keeps_the_configuration(debian: Tree) -> None:
    configuration = debian.root / "etc/stockade/stockade.yml"
    mine = configuration.read_text() + "\n# mine\n"
    configuration.write_text(mine)

    status, output = debian.script("install")

    assert status == 0, output
    assert "is there already" in output
    assert configuration.read_text() == mine


def test_an_upgrade_replaces_the_release(debian: Tree) -> None:
    before = (debian.root / "opt/stockade/current").readlink()
    with (debian.root / COPY.relative_to("/") / "monitor/__init__.py").open("a") as source:
        source.write("# changed\n")

    status, output = debian.script("install", timeout=FIRST_CALL_S)

    assert status == 0, output
    assert (debian.root / "opt/stockade/current").readlink() != before
    assert len(list((debian.root / "opt/stockade/releases").iterdir())) == 1
    assert debian.run("stockade", "--version").returncode == 0


def test_systemd_accepts_the_units(debian: Tree) -> None:
    installed = debian.run("apt-get", "install", "-qq", "--no-install-recommends", "systemd", timeout=FIRST_CALL_S)
    assert installed.returncode == 0, installed.stdout

    verified = debian.run("systemd-analyze", "verify", "--man=no", "stockade.service", "run-stockade-bpf.mount")
    exposure = debian.run("systemd-analyze", "security", "--offline=yes", "--threshold=50", "stockade.service")

    assert verified.returncode == 0, verified.stdout
    assert "stockade" not in verified.stdout, verified.stdout
    assert exposure.returncode == 0, exposure.stdout


def test_install_enables_the_service_where_systemd_is_not_running(debian: Tree) -> None:
    status, output = debian.script("install")

    assert status == 0, output
    assert (debian.root / "etc/systemd/system/multi-user.target.wants/stockade.service").is_symlink()


def test_uninstall_leaves_only_what_is_yours(debian: Tree) -> None:
    status, output = debian.script("uninstall")

    assert status == 0, output
    assert find_traces(debian) == {"/etc/stockade", "/var/lib/stockade"}
    assert "# mine" in debian.read("/etc/stockade/stockade.yml")


def test_purge_leaves_nothing(debian: Tree) -> None:
    status, output = debian.script("uninstall", "--purge")

    assert status == 0, output
    assert find_traces(debian) == set()
    assert "stockade:" not in debian.read("/etc/group")


def find_traces(debian: Tree) -> set[str]:
    """Whatever bears our name, the checkout aside."""
    found = debian.run("find", "/", "-xdev", "-path", "/srv", "-prune", "-o", "-name", "*stockade*", "-prune", "-print")
    return {line for line in found.stdout.splitlines() if Path(line).name not in {"pip", "python3"}}
