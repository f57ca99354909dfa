"""The service under other kernels: what it sees there of a few acts on the host and in a container.

Each time under Debian 12's, the oldest one, which loads the variant of the file sensor that reads by helper.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from monitor.bpf.change_source import HOOKS, SOURCE_TEXTS
from monitor.rules.loader import load_rules
from monitor.shipped import get_shipped_rules
from tests.support.documents import Document, Predicate, field, has, is_alert, summarize
from tests.support.vm import RESULTS, run_in_guest
from tests.support.vm_kernel import Kernel, get_kernel
from tests.support.vm_pool import GuestPool
from tests.support.vm_tests import REPOSITORY, for_each_kernel

pytestmark = pytest.mark.vm

GUEST_S = 400
FILE_VARIANTS = {"bookworm": "direct and probe reads", "trixie": "direct reads", "sid": "direct reads"}


class Observed(NamedTuple):
    """What the service said in one guest, and what it should have seen."""

    suite: str
    kernel: Kernel
    documents: list[Document]
    status: dict[str, Any]
    acts: dict[str, Any]

    def the(self, wanted: Predicate) -> Document:
        """The one event that fits. Raises AssertionError that shows what came instead."""
        found = [document for document in self.documents if not is_alert(document) and wanted(document)]
        seen = "\n  ".join(map(summarize, self.documents))
        assert len(found) == 1, f"{len(found)} events with {wanted.__doc__}; all that came:\n  {seen}"
        return found[0]

    def alerts(self, wanted: Predicate) -> list[str]:
        """Rules of the alerts that fit."""
        return [field(each, "rule.name") for each in self.documents if is_alert(each) and wanted(each)]


@dataclass(frozen=True, slots=True)
class Observation:
    """A job of :class:`GuestPool`: ``observed_acts`` under the kernel of a Debian suite."""

    suite: str

    def run(self, results: Path) -> Observed:
        kernel = get_kernel(self.suite)
        # Compiling the shipped rules takes a minute in a guest.
        load_rules([get_shipped_rules()], cache_dir=results / "state" / "cache")
        done = run_in_guest(
            kernel,
            [sys.executable, str(REPOSITORY / "tests" / "vm" / "observed_acts.py"), str(RESULTS)],
            results,
            folder=REPOSITORY,
            env={"PYTHONPATH": str(REPOSITORY)},
            timeout_s=GUEST_S,
        )
        log = (results / "service.log").read_text(errors="backslashreplace")
        assert done.status == 0, (
            f"status {done.status}\n{done.stderr}\nservice said:\n{log}\nconsole:\n{done.console[-3000:]}"
        )
        return Observed(
            self.suite,
            kernel,
            [json.loads(line) for line in (results / "events.jsonl").read_text().splitlines()],
            json.loads((results / "status.json").read_text()),
            json.loads((results / "acts.json").read_text()),
        )


@pytest.fixture(scope="module", params=for_each_kernel(Observation, always=("bookworm",)))
def observed(request: pytest.FixtureRequest, guests: GuestPool) -> Observed:
    found: Observed = guests.answer(request.param)
    return found


def test_the_sensors_that_rules_need_are_attached_and_nothing_is_lost(observed: Observed) -> None:
    sensors = observed.status["sensors"]

    assert observed.status["kernel"] == observed.kernel.release
    assert {name: sensor["is_attached"] for name, sensor in sensors.items()} == {
        **dict.fromkeys(("process", "cgroup", "failed_exec", "file_open", "file_change"), True),
        **dict.fromkeys(("process_access", "connection"), False),  # no rule that is in force asks for them
    }
    assert sensors["file_open"]["reason"] == FILE_VARIANTS[observed.suite]
    assert sensors["file_change"]["reason"] == SOURCE_TEXTS[HOOKS]
    assert observed.status["lost"]["total"] == 0


def test_an_exec_has_arguments_folder_and_parent(observed: Observed) -> None:
    event = observed.the(has(event__action="exec", process__pid=observed.acts["echo"]))

    assert field(event, "process.executable") == "/usr/bin/echo"
    assert field(event, "process.args") == ["/bin/echo", "two words", ""]
    assert field(event, "process.working_directory") == "/srv/a folder"
    assert field(event, "process.parent.pid") == observed.acts["parent"]
    assert field(event, "process.parent.executable") == str(Path(sys.executable).resolve())


def test_an_open_has_its_path_and_raises_the_alert(observed: Observed) -> None:
    cat = has(process__pid=observed.acts["cat"], file__path="/etc/shadow")

    event = observed.the(cat)

    assert field(event, "event.action") == "open"
    assert field(event, "file.access") == ["read"]
    assert field(event, "process.args") is None or field(event, "process.command_line") == "/bin/cat /etc/shadow"
    assert observed.alerts(cat) == ["shadow_file_read"]


def test_a_new_program_is_told_from_one_of_the_image(observed: Observed) -> None:
    copied = observed.the(has(event__action="exec", process__pid=observed.acts["copied"]))
    echo = observed.the(has(event__action="exec", process__pid=observed.acts["echo"]))

    assert field(copied, "process.executable") == "/srv/a folder/copied"
    assert "upper_layer" in field(copied, "process.flags")
    assert field(echo, "process.flags") is None


def test_a_failed_exec_and_the_exit_status(observed: Observed) -> None:
    failed = observed.the(has(event__action="exec-failed", process__pid=observed.acts["missing"]))
    ended = observed.the(has(event__action="exit", process__pid=observed.acts["missing"]))

    assert field(failed, "file.path") == "/nonexistent"
    assert field(ended, "process.exit_code") == 3


def test_a_container_is_told_by_its_cgroup(observed: Observed) -> None:
    inside = {"container__id": observed.acts["container_id"]}
    cat = observed.the(has(event__action="exec", process__args=["cat", "/etc/shadow"], **inside))
    opened = has(event__action="open", file__path="/etc/shadow", **inside)

    assert field(cat, "process.executable") == "/bin/busybox"
    assert field(observed.the(opened), "process.entity_id") == field(cat, "process.entity_id")
    assert observed.alerts(opened) == ["shadow_file_read"]
