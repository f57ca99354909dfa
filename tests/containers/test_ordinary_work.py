"""Ordinary work on a host and in a container raises no alert of high or more; how many lesser ones is printed."""

import collections
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import oci
from tests.support.documents import Document, field, has, is_alert
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

WRITABLE = ("/etc", "/usr", "/var", "/opt")
"""Folders of the machine that the work may change: overlays in the sandbox, gone with it."""

SHOUTED = ("high", "critical")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0], network=True) as made:
        for folder in WRITABLE:
            layers = Path(f"/run/layers{folder}")
            for name in ("upper", "work"):
                made.inside(layers / name).mkdir(parents=True)
            options = f"lowerdir={folder},upperdir={layers}/upper,workdir={layers}/work"
            made.run(["mount", "-t", "overlay", "overlay", "-o", options, folder])
        yield made


@pytest.fixture(scope="module")
def service(sandbox: Sandbox) -> Iterator[Service]:
    with Service(sandbox) as started:
        yield started


def own_alerts(sandbox: Sandbox, tail: Tail, container_id: str | None) -> list[Document]:
    """Alerts about what the test did: on a shared machine others are at work too."""
    namespace = Path(f"/proc/{sandbox.pid}/ns/mnt").stat().st_ino
    programs = tail.matching(has(event__action="exec", event__kind="event", stockade__namespaces__mnt=namespace))
    ours = {field(document, "process.entity_id") for document in programs}

    def is_own(document: Document) -> bool:
        if field(document, "container.id") is not None:
            return bool(field(document, "container.id") == container_id)
        return bool({field(document, "process.entity_id"), field(document, "process.parent.entity_id")} & ours)

    return tail.matching(lambda document: is_alert(document) and is_own(document))


def assert_quiet(work: str, alerts: list[Document]) -> None:
    counts = collections.Counter((field(alert, "rule.level"), field(alert, "rule.name")) for alert in alerts)
    print(f"{work}: {len(alerts)} alerts", *(f"  {level} {name}: {n}" for (level, name), n in counts.items()), sep="\n")
    loud = [alert for alert in alerts if field(alert, "rule.level") in SHOUTED]
    assert not loud, [(field(alert, "rule.name"), field(alert, "process.command_line")) for alert in loud]


def finish(sandbox: Sandbox, tail: Tail, work: str) -> None:
    """What was done before this mark has been judged when the mark is seen."""
    sandbox.run(["env", "true", work])
    tail.wait_for(has(event__action="exec", process__args=["true", work]))


def test_packages_are_installed_and_removed(sandbox: Sandbox, tail: Tail, tmp_path: Path) -> None:
    package = build_deb(sandbox, tmp_path)
    sandbox.run(["apt-get", "install", "--yes", "--no-install-recommends", package], timeout_s=120)
    assert sandbox.run(["ordinary"]).stdout == "ordinary work\n"
    sandbox.run(["apt-get", "purge", "--yes", "ordinary"], timeout_s=120)

    finish(sandbox, tail, "apt-get")
    assert_quiet("apt-get install and purge", own_alerts(sandbox, tail, None))


def build_deb(sandbox: Sandbox, folder: Path) -> Path:
    """A package with a program and scripts of its own."""
    folder.chmod(0o755)
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: ordinary\nVersion: 1.0\nArchitecture: all\nMaintainer: Test <test@example.org>\nDescription: test\n"
    )
    for name in ("preinst", "postinst", "prerm", "postrm"):
        script = tree / "DEBIAN" / name
        script.write_text("#!/bin/sh\nset -e\ntrue\n")
        script.chmod(0o755)
    program = tree / "usr/bin/ordinary"
    program.write_text("#!/bin/sh\necho ordinary work\n")
    program.chmod(0o755)
    package = folder / "ordinary.deb"
    sandbox.run(["dpkg-deb", "--build", "--root-owner-group", tree, package])
    return package


def test_a_python_package_is_installed(sandbox: Sandbox, tail: Tail, tmp_path: Path) -> None:
    wheel = tmp_path / "ordinary-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ordinary.py", "print('ordinary work')\n")
        archive.writestr("ordinary-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: ordinary\nVersion: 1.0\n")
        archive.writestr(
            "ordinary-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("ordinary-1.0.dist-info/RECORD", "")
    target = "/opt/python-packages"
    sandbox.run([sys.executable, "-m", "pip", "install", "--no-index", f"--target={target}", wheel], timeout_s=120)
    assert sandbox.run([sys.executable, f"{target}/ordinary.py"]).stdout == "ordinary work\n"

    finish(sandbox, tail, "pip")
    assert_quiet("pip install", own_alerts(sandbox, tail, None))


def test_a_program_is_compiled(sandbox: Sandbox, tail: Tail, tmp_path: Path) -> None:
    source, program = tmp_path / "hello.c", tmp_path / "hello"
    source.write_text('#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
    sandbox.run(["gcc", "-O2", "-o", program, source])
    assert sandbox.run([program]).stdout == "hello\n"

    finish(sandbox, tail, "gcc")
    assert_quiet("a compile", own_alerts(sandbox, tail, None))


def test_the_daily_jobs_run(sandbox: Sandbox, tail: Tail) -> None:
    sandbox.run(["run-parts", "/etc/cron.daily"], timeout_s=120, check=False)

    finish(sandbox, tail, "cron")
    assert_quiet("the jobs of cron.daily", own_alerts(sandbox, tail, None))


def test_a_web_server_serves_in_a_container(sandbox: Sandbox, tail: Tail, rootfs: Path) -> None:
    server = ("httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/var/www")
    get = "wget -qO- http://127.0.0.1:8080/"
    script = f"until {get}; do usleep 20000; done; for turn in $(seq 20); do {get}; done"
    with oci.start_container(sandbox, oci.find_runtimes()[0], rootfs, *server) as container:
        container.exec("ip", "link", "set", "lo", "up", check=False)
        answers = container.exec("sh", "-c", script).stdout
        container.exec("true", "web server")
        tail.wait_for(has(container__id=container.id, event__action="exec", process__args=["true", "web server"]))
        alerts = own_alerts(sandbox, tail, container.id)

    assert answers.count("hello from the container") == 21
    assert_quiet("a web server in a container", [each for each in alerts if field(each, "container.id")])
