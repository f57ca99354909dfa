"""The ways round that are known of tools like this one, tried in real containers.

THREAT_MODEL.md has a table with a row for each, and says ``detected`` or ``limit``. The tests try
every row: what is said to be detected raises its alert, and a limit is still one (when it is no more,
the table must say so). A row that no test tries, or a trial without a row, is a failure.

Each trial has a container of its own, so that no earlier alert holds its alert back.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import ways
from tests.containers.ways import WAYS, Way
from tests.support import oci
from tests.support.documents import Document, Predicate, field, has, is_alert
from tests.support.sandbox import Sandbox
from tests.support.service import REPOSITORY, Service, Tail

pytestmark = pytest.mark.containers

RUNTIME = (oci.find_runtimes() or ("runc",))[0]

TRIED_BY_THEIR_OWN_TEST = {
    "1c": "limit",
    "18": "detected",
    "19": "detected",
    "20": "detected",
    "21": "detected",
    "22": "detected",
    "25": "detected",  # tests/kernel/test_process_sensor.py: a CPU whose hooks are silent is reported
}


@pytest.fixture(scope="module")
def early(sandbox: Sandbox, rootfs: Path) -> Iterator[oci.Container]:
    """A container that runs before the service does; its shell waits for a word on a pipe, then opens shadow."""
    script = "mkfifo /tmp/word; echo > /tmp/ready; read word < /tmp/word; read line < /etc/shadow; sleep 3600"
    with oci.start_container(sandbox, RUNTIME, rootfs, "sh", "-c", script) as started:
        yield started


@pytest.fixture(scope="module")
def service(sandbox: Sandbox, early: oci.Container) -> Iterator[Service]:
    with Service(sandbox, "--rules", Path(__file__).parent / "rules") as started:
        yield started


def an_alert(rule: str, container: oci.Container) -> Predicate:
    def judge(document: Document) -> bool:
        names = [field(document, "rule.name"), *(field(document, "stockade.rules") or [])]
        return is_alert(document) and field(document, "container.id") == container.id and rule in names

    judge.__doc__ = f"an alert of {rule} in container {container.id[:12]}"
    return judge


def read_threat_model() -> dict[str, str]:
    """Number to answer, from the table of ways round."""
    text = (REPOSITORY / "THREAT_MODEL.md").read_text()
    return dict(re.findall(r"^\| (\d+[a-z]?) \|.*\| (detected|limit) \|", text, re.MULTILINE))


def test_the_threat_model_names_exactly_what_is_tried() -> None:
    tried = {way.number: "limit" if way.is_limit else "detected" for way in WAYS} | TRIED_BY_THEIR_OWN_TEST

    assert read_threat_model() == tried


def test_every_way_that_the_field_knows_for_exec_and_open_is_tried() -> None:
    numbers = {int(re.sub(r"\D", "", number)) for number in [way.number for way in WAYS] + [*TRIED_BY_THEIR_OWN_TEST]}

    assert numbers == set(range(1, 26))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.number}-{way.text.replace(' ', '-')}")
def test_a_way_round(way: Way, sandbox: Sandbox, service: Service, tail: Tail, rootfs: Path) -> None:
    wish = oci.Wish(capabilities=(*oci.CAPABILITIES, *way.capabilities))
    with oci.start_container(sandbox, RUNTIME, rootfs, wish=wish) as container:
        container.exec(*way.command)
        if way.rule:
            tail.wait_for(an_alert(way.rule, container))
            return
        raised = rules_raised_until_marker(container, tail)

    assert not raised, f"way {way.number} is detected now, by {raised}: THREAT_MODEL.md still calls it a limit"


def rules_raised_until_marker(container: oci.Container, tail: Tail) -> set[str]:
    """Run and open something that surely raises alerts, and return which of the tests' rules did so by then."""
    markers = {"test_marker_run", "test_marker_opened"}
    container.exec("sh", "-c", "echo > /root/the-mark-of-the-test")
    for rule in markers:
        tail.wait_for(an_alert(rule, container))
    alerts = tail.matching(lambda document: is_alert(document) and field(document, "container.id") == container.id)
    raised = {name for alert in alerts for name in [field(alert, "rule.name"), *(field(alert, "stockade.rules") or [])]}
    return {name for name in raised if name.startswith("test_")} - markers


def test_1c_a_descriptor_swapped_before_the_call_returns(container: oci.Container, tail: Tail) -> None:
    """The file is looked up by its number when the call ends: another thread may have put another file there."""
    made = int(container.exec("/opt/swapper", "descriptor", "/etc/hosts", "/etc/shadow", "500").stdout)
    rules_raised_until_marker(container, tail)

    seen = len(
        tail.matching(
            has(event__action="open", event__kind="event", container__id=container.id, file__path="/etc/shadow")
        )
    )
    print(f"{seen} of {made} opens seen as what they were")
    assert made == 500
    assert seen <= made


def test_18_an_act_under_a_flood_of_the_same_container(container: oci.Container, tail: Tail) -> None:
    flood = container.start("/opt/flooder", "2", "/etc/passwd", "/etc/group")
    container.exec("/opt/status7", check=False)

    tail.wait_for(an_alert(ways.PROGRAM, container))
    flood.wait(30)


def test_19_a_flood_spread_over_the_cpus(container: oci.Container, service: Service) -> None:
    """A thread on each CPU; what the container's one bucket holds back is counted under the container."""
    made, _ = map(int, container.exec("/opt/flooder", "2", "/etc/shadow").stdout.split())

    end = time.monotonic() + 10
    while True:
        status = service.status()
        held_back = sum(status[reason]["by_cgroup"].get(container.id[:12], 0) for reason in ("limited", "lost"))
        if held_back or time.monotonic() > end:
            break
    assert 0 < held_back < made


def test_20_many_cheap_alerts_before_the_one_that_matters(container: oci.Container, tail: Tail) -> None:
    container.exec("sh", "-c", "for turn in $(seq 300); do /bin/true watched-word $turn; done; cat /etc/shadow")

    tail.wait_for(an_alert(ways.SHADOW, container))
    noise = tail.matching(an_alert(ways.ARGUMENT, container))
    assert 1 <= len(noise) < 300


def test_21_the_first_program_of_a_container(sandbox: Sandbox, service: Service, tail: Tail, rootfs: Path) -> None:
    """Before anybody could ask the runtime what the container is."""
    wish = oci.Wish(id=oci.new_id())
    oci.run_container(sandbox, RUNTIME, rootfs, "cat", "/etc/shadow", wish=wish)

    alert = tail.wait_for(
        lambda document: (
            is_alert(document)
            and field(document, "container.id") == wish.id
            and field(document, "file.path") == "/etc/shadow"
        )
    )
    assert field(alert, "process.executable") == "/bin/busybox"


def test_22_a_process_older_than_the_service(early: oci.Container, tail: Tail) -> None:
    early.exec("sh", "-c", "until [ -e /tmp/ready ]; do :; done; echo go > /tmp/word")

    alert = tail.wait_for(an_alert(ways.SHADOW, early))
    assert field(alert, "process.pid") == early.pid
    assert field(alert, "process.executable") == "/bin/busybox"
    assert field(alert, "process.command_line").startswith("sh -c mkfifo /tmp/word")
