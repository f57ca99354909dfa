"""What a container may choose freely (arguments, file names) is shown escaped and breaks nothing."""

import re

import pytest

from tests.support import oci
from tests.support.documents import Predicate, field, has
from tests.support.sandbox import Sandbox
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
"""What must never reach a terminal: control characters but the line's own end, and what turns text around."""


def test_lines_stay_one_document(container: oci.Container, tail: Tail) -> None:
    container.exec("/opt/hostile", "lines", "/bin/true")

    ran = tail.wait_for(is_run_of_true(container))
    assert field(ran, "process.args") == ["true", 'one\ntwo\r\n{"event":{"kind":"alert"}}']


def test_terminal_escapes_come_as_data(container: oci.Container, tail: Tail) -> None:
    container.exec("/opt/hostile", "escapes", "/bin/true")

    ran = tail.wait_for(is_run_of_true(container))
    assert field(ran, "process.args") == ["true", "\x1b[2J\x1b]0;owned\x07\\x9b\x1b1m\x9b"]


def test_invalid_utf8_is_escaped(container: oci.Container, tail: Tail) -> None:
    container.exec("/opt/hostile", "invalid", "/bin/true")

    ran = tail.wait_for(is_run_of_true(container))
    assert field(ran, "process.args") == ["true", r"\xff\xfe\xc0\x80\xed\xa0\x80caf\xe9"]


def test_an_argument_of_128_kib_is_cut_and_marked(container: oci.Container, tail: Tail) -> None:
    container.exec("/opt/hostile", "long", "/bin/true")

    ran = tail.wait_for(is_run_of_true(container))
    assert field(ran, "process.args_truncated") is True
    assert field(ran, "process.args_omitted_bytes") == len("true") + 128 * 1024 + len("the end") + 2 - 4096
    assert field(ran, "process.args_cut_at") == 2
    assert field(ran, "process.args")[1].startswith("A" * 3000)
    assert field(ran, "process.args")[2:] == ["…", "A" * 1015, "the end"]
    assert field(ran, "process.command_line").endswith("AA the end")
    assert len(field(ran, "process.command_line")) <= 4098


def test_no_arguments_and_empty_arguments(container: oci.Container, tail: Tail) -> None:
    container.exec("/opt/runner", "no-arguments", "/opt/status7", check=False)
    container.exec("/opt/hostile", "empty", "/bin/true")

    none = tail.wait_for(has(event__action="exec", container__id=container.id, process__executable="/opt/status7"))
    empty = tail.wait_for(is_run_of_true(container))
    assert field(none, "process.args") in ([], [""])  # Linux 5.18 and newer put an empty argument there
    assert field(empty, "process.args") == ["true", "", ""]


def test_hostile_file_names(container: oci.Container, tail: Tail) -> None:
    container.exec("mkdir", "/etc/cron.d")
    container.exec("/opt/hostile", "files", "/etc/cron.d")

    opened = tail.wait_for_count(
        has(
            event__action="open",
            event__kind="event",
            container__id=container.id,
            file__path=lambda path: path.startswith("/etc/cron.d/"),
        ),
        5,
    )
    names = [field(document, "file.path").removeprefix("/etc/cron.d/") for document in opened]
    assert names[1] == "\x1b[2J\x1b]0;owned\x07\\x9b\x1b1m\x9b"
    assert names[2] == r"\xff\xfe\xc0\x80\xed\xa0\x80caf\xe9"
    assert names[4] == "n" * 255


@pytest.mark.parametrize("output", ["pretty", "wide", "json"])
def test_nothing_that_a_terminal_obeys_is_printed(
    output: str, container: oci.Container, sandbox: Sandbox, service: Service, tail: Tail
) -> None:
    for how in ("lines", "escapes", "invalid", "bidi", "long", "empty"):
        container.exec("/opt/hostile", how, "/bin/true")
    container.exec("mkdir", "/etc/cron.d")
    container.exec("/opt/hostile", "files", "/etc/cron.d")
    tail.wait_for(has(event__action="open", container__id=container.id, file__path=f"/etc/cron.d/{'n' * 255}"))

    shown = service.command("tail", "-o", output, "--container", container.id, "-n", "10000", "--no-follow")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("/etc/cron.d/") >= 5
    assert not CONTROL.findall(shown.stdout)


def test_the_service_goes_on(service: Service, tail: Tail, container: oci.Container) -> None:
    container.exec("echo", "still there")

    tail.wait_for(has(event__action="exec", container__id=container.id, process__args=["echo", "still there"]))
    assert "Traceback" not in service.log


def is_run_of_true(container: oci.Container) -> Predicate:
    return has(
        event__action="exec",
        event__kind="event",
        container__id=container.id,
        process__executable="/bin/busybox",
        process__args=lambda args: args is not None and args[:1] == ["true"],
    )
