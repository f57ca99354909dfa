"""``stockade tail`` against a real stream on a real socket."""

import json
import os
import pty
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from monitor.cli.tail import parse_since
from monitor.sinks.frames import build_frame
from tests.unit.cli.commands import finish, run, start
from tests.unit.sinks import samples
from tests.unit.sinks.serving import FULL, RunningStream, running_control, running_stream

SECOND_NS = 1_000_000_000


@pytest.fixture
def served() -> Iterator[RunningStream]:
    with running_stream() as stream:
        yield stream


def numbers(text: str) -> list[int]:
    return [json.loads(line)["event"]["sequence"] for line in text.splitlines()]


def test_kept_records_are_printed_as_json_lines(served: RunningStream) -> None:
    served.publish(*[samples.context()] * 20, samples.alert())
    done = run("tail", "-o", "json", "-n", "3", "--no-follow", "--run-dir", served.folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert numbers(done.stdout) == [19, 20, 21]


def test_the_last_ones_come_first_and_then_what_happens(served: RunningStream) -> None:
    served.publish(*[samples.context()] * 5)
    process = start("tail", "-o", "json", "-n", "1", "--run-dir", served.folder)
    assert process.stdout
    kept = process.stdout.readline()
    served.publish(samples.context(samples.open_event()))
    live = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, err = finish(process)

    assert numbers((kept + live).decode()) == [5, 6]
    assert (process.returncode, rest, err) == (0, b"", "")


def test_msgpack_documents_can_be_read_one_after_the_other(served: RunningStream) -> None:
    served.publish(samples.context())
    process = start("tail", "-o", "msgpack", "--no-follow", "--run-dir", served.folder)
    out, _ = finish(process)

    assert msgspec.msgpack.decode(out)["process"]["args"] == ["cat", "/etc/shadow"]


def test_alerts_alone_and_one_container(served: RunningStream) -> None:
    served.publish(samples.context(), samples.alert(), samples.context(in_container=samples.container()))
    options = ("-o", "json", "--no-follow", "--run-dir", served.folder)

    assert numbers(run("tail", "--alerts", *options).stdout) == [2]
    assert numbers(run("tail", "--container", "web-1", *options).stdout) == [2, 3]
    assert numbers(run("tail", "--container", "host", *options).stdout) == [1]


def test_an_empty_answer_is_told_apart_from_a_failed_one(served: RunningStream) -> None:
    served.publish(samples.context())
    done = run("tail", "--container", "nosuch", "--no-follow", "--run-dir", served.folder)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "stockade: nothing that is kept matches\n")


def test_pretty_is_plain_where_stdout_is_no_terminal(served: RunningStream) -> None:
    served.publish(samples.context(samples.exec_event(args=("cat", "\x1b[31mred"))), samples.alert())
    done = run("tail", "--no-follow", "--run-dir", served.folder)

    first, second = done.stdout.splitlines()
    assert first.endswith("cat '\\x1b[31mred'")
    assert second.endswith("stockade rules explain shadow_read")
    assert "\x1b" not in done.stdout


def test_pretty_is_coloured_on_a_terminal(served: RunningStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    served.publish(samples.alert())
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "wb") as terminal:
        process = start("tail", "--no-follow", "--run-dir", served.folder, stdout=terminal)
        shown = os.read(ours, 65_536)
        process.communicate(timeout=20)
    os.close(ours)

    assert b"\x1b[1;31m" in shown


def test_dropped_records_are_told_on_stderr() -> None:
    with running_stream(queue_events=50) as served:
        process = start("tail", "-o", "json", "--run-dir", served.folder)
        while not served.thread.call(served.stream.stats).subscribers:
            assert process.poll() is None
        process.send_signal(signal.SIGSTOP)
        for _ in range(100):
            served.publish(*[samples.context()] * 100)
        served.publish(samples.alert())
        process.send_signal(signal.SIGCONT)
        assert process.stdout
        printed = 0
        while b'"kind":"alert"' not in process.stdout.readline():
            printed += 1
        served.stop()
        _, err = finish(process)
        dropped = served.stream.stats().dropped

    assert dropped > 0
    assert printed + dropped == 10_000
    told = [line for line in err.splitlines() if "dropped" in line]
    assert sum(int(line.split()[1]) for line in told) == dropped


def test_no_service_is_one_line_and_status_3(tmp_path: Path) -> None:
    done = run("tail", "--run-dir", tmp_path)

    assert done.returncode == 3
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"no service listens on {tmp_path}/stream.sock: start it with" in line


def test_a_dead_service_is_one_line_and_status_3(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as old:
        old.bind(str(tmp_path / "stream.sock"))
    done = run("tail", "--run-dir", tmp_path)

    assert done.returncode == 3
    assert "no service listens" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody who may not")
def test_without_permission_the_group_is_named() -> None:
    with running_stream(group="daemon") as served:
        served.folder.chmod(0o755)
        # An interpreter and a tree that the other user can read.
        if not _is_readable_by_all(Path(shutil.which("python3") or "/usr/bin/python3")):
            pytest.fail("no interpreter that another user may run")
        done = run("tail", "--run-dir", served.folder, user=65534, group=65534, extra_groups=[])

    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.endswith("run as root or as a member of group 'daemon'")


def _is_readable_by_all(path: Path) -> bool:
    return path.stat().st_mode & 0o005 == 0o005


def test_the_end_of_the_service_ends_it_cleanly(served: RunningStream) -> None:
    process = start("tail", "-o", "json", "-n", "1", "--run-dir", served.folder)
    served.publish(samples.context())
    assert process.stdout
    assert process.stdout.readline()
    served.stop()
    _, err = finish(process)

    assert process.returncode == 0
    assert err == "stockade: the service has stopped\n"


def test_a_service_that_vanishes_is_an_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "stream.sock"))
        listener.listen()
        process = start("tail", "--run-dir", tmp_path)
        accepted, _ = listener.accept()
        accepted.recv(65_536)
        accepted.sendall(build_frame({"hello": {"version": 1}}))
        accepted.close()
        _, err = finish(process)

    assert process.returncode == 3
    assert "gone without a word" in err


def test_something_else_behind_the_socket_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "stream.sock"))
        listener.listen()
        process = start("tail", "--run-dir", tmp_path)
        accepted, _ = listener.accept()
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        _, err = finish(process)
        accepted.close()

    assert process.returncode == 3
    assert "not this version of stockade" in err
    assert "Traceback" not in err


def test_a_reader_that_leaves_ends_it_even_when_nothing_happens(served: RunningStream) -> None:
    served.publish(samples.context())
    process = start("tail", "-n", "1", "--run-dir", served.folder)
    assert process.stdout
    assert process.stdout.readline()
    process.stdout.close()

    assert process.wait(20) == 0
    assert process.stderr
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_wrong_filter_is_shown_with_its_place_before_anything_is_asked(tmp_path: Path) -> None:
    done = run("tail", "--filter", "Image|endswith /curl", "--run-dir", tmp_path)

    assert done.returncode == 2
    first, shown, caret = done.stderr.splitlines()
    assert first.startswith("stockade: --filter: ")
    assert shown.strip() == "Image|endswith /curl"
    assert caret.strip() == "^"


def test_a_filter_selects(served: RunningStream) -> None:
    served.publish(samples.context(), samples.context(samples.exec_event("/usr/bin/curl", ("curl",))))
    done = run("tail", "--filter", "Image|endswith: /curl", "-o", "json", "--no-follow", "--run-dir", served.folder)

    assert numbers(done.stdout) == [2]


def test_observing_lasts_as_long_as_the_command(served: RunningStream) -> None:
    with running_control(served.folder) as handler:
        process = start("tail", "-n", "1", "--observe", "/etc/**", "--container", "web-1", "--run-dir", served.folder)
        served.publish(samples.context(in_container=samples.container()))
        assert process.stdout
        assert process.stdout.readline()
        (observed,) = handler.observed.values()
        assert (observed.path, observed.container) == ("/etc/**", "any")
        process.send_signal(signal.SIGINT)
        finish(process)
        with handler.removed:
            assert handler.removed.wait_for(lambda: not handler.observed, 10)


def test_a_glob_that_the_service_refuses_is_an_error(served: RunningStream) -> None:
    with running_control(served.folder):
        done = run("tail", "--observe", FULL, "--run-dir", served.folder)

    assert done.returncode == 3
    assert done.stderr == "stockade: the table is full\n"


@pytest.mark.parametrize(
    ("text", "age_ns"),
    [("30s", 30 * SECOND_NS), ("5m", 300 * SECOND_NS), ("1h30m", 5_400 * SECOND_NS), ("0.5s", SECOND_NS // 2)],
)
def test_an_age_is_before_now(text: str, age_ns: int) -> None:
    now_ns = 1_800_000_000 * SECOND_NS

    assert parse_since(text, now_ns) == now_ns - age_ns


def test_an_iso_time_may_have_a_zone() -> None:
    assert parse_since("2026-11-23T15:30:00+00:00", 0) == 1_795_447_800 * SECOND_NS


@pytest.mark.parametrize("text", ["", "5", "5x", "yesterday", "-5m", "99999-01-01"])
def test_other_times_are_a_usage_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither an age"):
        parse_since(text, 0)


def test_a_wrong_time_is_told_with_the_option(tmp_path: Path) -> None:
    done = run("tail", "--since", "yesterday", "--run-dir", tmp_path)

    assert done.returncode == click.UsageError.exit_code == 2
    assert "--since" in done.stderr


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (("--container", ""), "is empty"),
        (("--observe", "etc/*"), "a path to observe begins with /"),
        (("--observe", "/**"), "names every file"),
    ],
)
def test_wrong_options_are_the_users_mistake(tmp_path: Path, words: tuple[str, str], mistake: str) -> None:
    done = run("tail", *words, "--run-dir", tmp_path)

    assert done.returncode == 2
    assert mistake in done.stderr
