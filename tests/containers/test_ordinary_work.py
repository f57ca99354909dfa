"""Ordinary work raises no alert of level high or more; how many lesser ones it raises, by rule, is printed.

The work is real: packages from the machine's own mirror with their scripts, a Python package from its index,
a compiler, a scheduler and its daily jobs, logins by ssh, a web server in a container. The folders that
it changes are overlays in a sandbox, so the machine stays as it is.
"""

import collections
import shlex
import socket
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import pytest

from tests.support import oci
from tests.support.documents import Document, field, has, is_alert
from tests.support.sandbox import Sandbox, SandboxError, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

WRITABLE = ("/etc", "/usr", "/var", "/opt", "/root")
"""Folders of the machine that the work may change: overlays in the sandbox, gone with it."""

PACKAGES = ("cron", "logrotate", "openssh-server", "openssh-client", "sudo", "at")
"""Small, and full of what monitors stumble over: accounts, units, jobs, PAM, setuid programs, debconf, ucf."""

DAILY_JOBS = "^(dpkg|passwd|logrotate|man-db)$"
"""Debian's own, but for apt-compat, which sleeps for a random time first."""

SOURCE_PACKAGE = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "built.c": "int built(void) { return 0; }\n",
    "backend.py": """
import subprocess, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "built.so", "built.c"], check=True)
    name = "built-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as archive:
        archive.write("built.so")
        facts = "built-1.0.dist-info"
        archive.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\\nName: built\\nVersion: 1.0\\n")
        archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{facts}/RECORD", "")
    return name
""",
}
"""A Python package that is compiled when it is installed, without any other package's help."""

SHOUTED = ("high", "critical")


class Workplace:
    """A place to work in, watched."""

    def __init__(self, sandbox: Sandbox, service: Service, tail: Tail) -> None:
        self.sandbox = sandbox
        self.service = service
        self.tail = tail
        self._marks = 0
        self._rules: set[str] = set()
        """Rules that any of our work has set off so far."""

    def run(self, *words: str | PathLike[str], timeout_s: float = 120, check: bool = True) -> str:
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        return self.sandbox.run(words, timeout_s=timeout_s, check=check, env=env).stdout

    @contextmanager
    def watched(self, work: str, container: oci.Container | None = None) -> Iterator[None]:
        """All that happens in the block has been judged at its end, and nothing of it was shouted about."""
        first = self._mark()
        yield
        last = self._mark()
        seen = self.tail.matching(lambda document: first < field(document, "event.sequence") < last)
        own = self._find_own(container)
        assert any(field(document, "process.entity_id") in own for document in seen), "nothing of the work was seen"
        alerts = [alert for alert in seen if is_alert(alert) and self._names(alert) & own]
        self._rules |= {field(alert, "rule.name") for alert in alerts}
        report(work, [alert for alert in alerts if self._caused(alert)])

    def _mark(self) -> int:
        """Run a program whose exec divides the stream, and say where: what was done before lies in front of it."""
        self._marks += 1
        words = ["true", f"mark {self._marks}"]
        self.run("env", *words)
        seen = self.tail.wait_for(has(event__kind="event", event__action="exec", process__args=words))
        return int(field(seen, "event.sequence"))

    def _find_own(self, container: oci.Container | None) -> set[str]:
        """Our programs, by entity id: on a shared machine others are at work too."""
        if container is not None:
            ours = has(event__action="exec", event__kind="event", container__id=container.id)
        else:
            namespace = Path(f"/proc/{self.sandbox.pid}/ns/mnt").stat().st_ino
            ours = has(event__action="exec", event__kind="event", stockade__namespaces__mnt=namespace)
        return {field(document, "process.entity_id") for document in self.tail.matching(ours)}

    def _caused(self, alert: Document) -> bool:
        """Not so when risk has summed up to which others contributed: who runs both us and them is one lineage."""
        if field(alert, "rule.name") != "risk_threshold":
            return True
        contributions = (each for risk in field(alert, "stockade.risk") for each in risk["contributions"])
        return {contribution["rule"] for contribution in contributions} <= self._rules

    @staticmethod
    def _names(alert: Document) -> set[str | None]:
        """The program that an alert is about, and the one that forked it."""
        return {field(alert, "process.entity_id"), field(alert, "process.parent.entity_id")}


def report(work: str, alerts: Sequence[Document]) -> None:
    counts = collections.Counter((field(alert, "rule.level"), field(alert, "rule.name")) for alert in alerts)
    lines = (f"  {count} x {name} ({level})" for (level, name), count in counts.most_common())
    print(f"\n{work}: {len(alerts)} alerts", *lines, sep="\n")
    loud = [alert for alert in alerts if field(alert, "rule.level") in SHOUTED]
    assert not loud, "\n".join(
        f"{field(alert, 'rule.name')}: {field(alert, 'process.executable')}: {field(alert, 'process.command_line')}"
        f" {field(alert, 'file.path') or ''} (by {field(alert, 'process.parent.command_line')})"
        for alert in loud
    )


@pytest.fixture(scope="module")
def workplace() -> Iterator[Workplace]:
    with Sandbox(find_modes()[0]) as sandbox:
        for folder in WRITABLE:
            layers = Path(f"/run/layers{folder}")
            for name in ("upper", "work"):
                sandbox.inside(layers / name).mkdir(parents=True)
            options = f"lowerdir={folder},upperdir={layers}/upper,workdir={layers}/work"
            sandbox.run(["mount", "-t", "overlay", "overlay", "-o", options, folder])
        with Service(sandbox) as service:
            yield Workplace(sandbox, service, service.tail())


@pytest.fixture(scope="module")
def packages(workplace: Workplace) -> None:
    """Install the packages that later work needs; itself the first piece of ordinary work."""
    with workplace.watched("apt-get update and install"):
        try:
            workplace.run("apt-get", "update", timeout_s=180)
            workplace.run("apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES, timeout_s=300)
        except SandboxError as error:
            pytest.skip(f"no packages can be had here: {error}")


def test_packages_are_installed_configured_and_removed(workplace: Workplace, packages: None) -> None:
    with workplace.watched("apt-get install --reinstall, dpkg-reconfigure, purge"):
        workplace.run("apt-get", "install", "--yes", "--reinstall", "logrotate", timeout_s=300)
        workplace.run("dpkg-reconfigure", "openssh-server")
        workplace.run("apt-get", "purge", "--yes", "at", timeout_s=300)


def test_a_package_of_our_own_is_installed(workplace: Workplace, tmp_path: Path) -> None:
    package = build_deb(workplace, tmp_path)
    with workplace.watched("dpkg --install and --purge"):
        workplace.run("dpkg", "--install", package)
        assert workplace.run("ordinary") == "ordinary work\n"
        workplace.run("dpkg", "--purge", "ordinary")


def build_deb(workplace: Workplace, folder: Path) -> Path:
    """A package with a program, a job, a unit, an account, and scripts of its own."""
    folder.chmod(0o755)
    files = {
        "DEBIAN/control": (
            "Package: ordinary\nVersion: 1.0\nArchitecture: all\nMaintainer: Test <test@example.org>\n"
            "Description: test\n"
        ),
        "DEBIAN/preinst": "#!/bin/sh\nset -e\ntrue\n",
        "DEBIAN/postinst": "#!/bin/sh\nset -e\nuseradd --system ordinary\nldconfig\n",
        "DEBIAN/postrm": "#!/bin/sh\nset -e\n[ $1 != purge ] || userdel ordinary\n",
        "etc/cron.d/ordinary": "# nothing\n",
        "usr/lib/systemd/system/ordinary.service": "[Service]\nExecStart=/usr/bin/ordinary\n",
        "usr/bin/ordinary": "#!/bin/sh\necho ordinary work\n",
    }
    for name, text in files.items():
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    package = folder / "ordinary.deb"
    workplace.run("dpkg-deb", "--build", "--root-owner-group", folder / "tree", package)
    return package


def test_a_python_package_is_installed(workplace: Workplace, tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    with workplace.watched("python -m venv and pip install"):
        workplace.run(sys.executable, "-m", "venv", "/opt/environment")
        workplace.run("/opt/environment/bin/pip", "install", "--no-index", wheel)
        assert workplace.run("/opt/environment/bin/python", "-m", "ordinary") == "ordinary work\n"


def test_a_python_package_is_built_and_installed(workplace: Workplace, tmp_path: Path) -> None:
    for name, text in SOURCE_PACKAGE.items():
        (tmp_path / name).write_text(text)
    with workplace.watched("pip install from source"):
        workplace.run(sys.executable, "-m", "venv", "/opt/builder")
        workplace.run("/opt/builder/bin/pip", "install", "--no-index", tmp_path)
        find = "import ctypes, sysconfig; ctypes.CDLL(sysconfig.get_path('purelib') + '/built.so').built()"
        workplace.run("/opt/builder/bin/python", "-c", find)


def build_wheel(folder: Path) -> Path:
    wheel, facts = folder / "ordinary-1.0-py3-none-any.whl", "ordinary-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ordinary.py", "print('ordinary work')\n")
        archive.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\nName: ordinary\nVersion: 1.0\n")
        archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{facts}/RECORD", "")
    return wheel


def test_programs_are_compiled(workplace: Workplace, tmp_path: Path) -> None:
    (tmp_path / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
    (tmp_path / "Makefile").write_text("hello: hello.o\n\t$(CC) -o $@ $^\ncheck: hello\n\t./hello\n")
    with workplace.watched("make"):
        assert workplace.run("make", "-s", "-C", tmp_path, "check").endswith("hello\n")
        workplace.run("gcc", "-O2", "-flto", "-o", tmp_path / "again", tmp_path / "hello.c")


def test_the_scheduler_starts_and_its_daily_jobs_run(workplace: Workplace, packages: None) -> None:
    with workplace.watched("cron, crontab and the daily jobs"):
        workplace.run("sh", "-c", "echo '0 0 * * * true' | crontab -")
        workplace.run("timeout", "2", "cron", "-f", check=False)
        jobs = f"cd / && run-parts --report --regex={shlex.quote(DAILY_JOBS)} /etc/cron.daily"
        workplace.run("/bin/sh", "-c", jobs)
        workplace.run("crontab", "-r")


def test_somebody_logs_in_by_ssh(workplace: Workplace, packages: None) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", "ConnectionAttempts=20", "root@127.0.0.1")
    workplace.run("mkdir", "-p", "/run/sshd", "/root/.ssh")
    with workplace.watched("sshd, logins, sudo"):
        workplace.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519")
        workplace.run("cp", "/root/.ssh/id_ed25519.pub", "/root/.ssh/authorized_keys")
        with tempfile.TemporaryFile() as log:
            daemon = workplace.sandbox.start(
                ["/usr/sbin/sshd", "-D", "-e", "-o", "UsePAM=yes", "-o", f"ListenAddress=127.0.0.1:{port}"], stderr=log
            )
            try:
                assert workplace.run("ssh", *options, "echo over there") == "over there\n"
                workplace.run("ssh", "-tt", *options, "bash -lc 'sudo -n id; id; uptime'")
                workplace.run("scp", "-P", str(port), *options[2:4], "/etc/hostname", "root@127.0.0.1:/root/copied")
            finally:
                daemon.terminate()
                daemon.wait(10)


def test_a_web_server_serves_in_a_container(workplace: Workplace, rootfs: Path) -> None:
    server = ("httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/var/www")
    get = "wget -qO- http://127.0.0.1:8080/"
    script = f"until {get}; do usleep 20000; done; for turn in $(seq 20); do {get}; done"
    with (
        oci.start_container(workplace.sandbox, oci.find_runtimes()[0], rootfs, *server) as container,
        workplace.watched("a web server in a container", container),
    ):
        container.exec("ip", "link", "set", "lo", "up", check=False)
        answers = container.exec("sh", "-c", script).stdout

    assert answers.count("hello from the container") == 21
