"""Each shipped rule fires on a real command: run in a real container, or on the host, and seen through the service.

The acts (:mod:`tests.containers.rule_acts`) are all performed first, each as a session of its own in a
folder of its own. By that folder an alert is known to come from its rule's act and from no other's.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.rules.loader import load_rules
from monitor.shipped import get_shipped_rules
from tests.containers.rule_acts import IN_A_CONTAINER, ON_THE_HOST, SERVERS, STAND_INS
from tests.support import oci
from tests.support.documents import Document, field, is_alert, summarize
from tests.support.programs import find_loader
from tests.support.rootfs import build_rootfs
from tests.support.sandbox import Sandbox
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

ACTS = "/acts"
"""In the container: one folder for each rule, named like it."""

ALERTS_WAIT_S = 20.0

DRIVER = """
for rule in {rules}; do
    cd {acts}/$rule && {setsid} /bin/sh ./act
done
"""

PRIVATE_COPIES = """
set -e
export PROGRAMS={programs}
mkdir -p /run/acts
cp -r {source}/. /run/acts
for folder in /etc /var/log; do
    own=/run/private$folder
    mkdir -p $own/upper $own/work
    mount -t overlay overlay -o lowerdir=$folder,upperdir=$own/upper,workdir=$own/work $folder
done
mount -t tmpfs tmpfs /root
mount -t tmpfs tmpfs /dev/shm
set +e
"""
"""Run in a mount namespace that nobody else is in: the acts change nothing of the machine."""


class Seen(NamedTuple):
    """The alerts of the acts: (place, rule) to the first alert that came from that rule's own act."""

    container_id: str
    alerts: Mapping[tuple[str, str], Document]
    others: list[Document]


def rule_names(alert: Document) -> list[str]:
    """All rules that an alert is about."""
    return field(alert, "stockade.rules") or [field(alert, "rule.name")]


@pytest.fixture(scope="module")
def service(sandbox: Sandbox) -> Iterator[Service]:
    """The shipped rules alone."""
    with Service(sandbox) as started:
        yield started


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, programs: dict[str, Path]) -> Path:
    """A root file system with the stand-ins, the servers and a folder for each act."""
    contents = {f"/opt/{name}": path for name, path in programs.items()}
    contents |= dict.fromkeys(STAND_INS, programs["stand_in"]) | dict.fromkeys(SERVERS, programs["server"])
    contents |= {"/lib64/ld-linux-x86-64.so.2": find_loader()}
    root = build_rootfs(tmp_path_factory.mktemp("stage"), contents)
    write_acts(root / "acts", IN_A_CONTAINER)
    (root / "driver").write_text(build_driver(IN_A_CONTAINER, ACTS, "/usr/bin/setsid"))
    return root


def write_acts(folder: Path, acts: Mapping[str, str]) -> None:
    for rule, script in acts.items():
        (folder / rule).mkdir(parents=True)
        (folder / rule / "act").write_text(script + "\n")


def build_driver(acts: Mapping[str, str], folder: str, setsid: str) -> str:
    return DRIVER.format(rules=" ".join(acts), acts=folder, setsid=setsid)


def act_in_container(container: oci.Container) -> None:
    container.exec("/bin/sh", "/driver", check=False, timeout_s=120)


def act_on_host(sandbox: Sandbox, folder: Path, programs: Mapping[str, Path]) -> None:
    acts = folder / "acts"
    write_acts(acts, ON_THE_HOST)
    preparation = PRIVATE_COPIES.format(source=acts, programs=next(iter(programs.values())).parent)
    driver = folder / "driver"
    driver.write_text(preparation + build_driver(ON_THE_HOST, "/run/acts", "/usr/bin/setsid --wait"))
    sandbox.run(["unshare", "--mount", "--propagation=private", "/bin/sh", driver], check=False, timeout_s=120)


@pytest.fixture(scope="module")
def seen(
    sandbox: Sandbox, service: Service, stage: Path, programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Seen]:
    tail = service.tail()
    with oci.start_container(sandbox, oci.find_runtimes()[0], stage) as container:
        act_in_container(container)
        act_on_host(sandbox, tmp_path_factory.mktemp("host"), programs)
        yield collect(tail, container.id)


def collect(tail: Tail, container_id: str) -> Seen:
    """Wait until every act has its alert, or the time is over.

    An alert comes from its rule's own act when its program was started in that act's folder.
    """
    wanted = {("container", rule) for rule in IN_A_CONTAINER} | {("host", rule) for rule in ON_THE_HOST}
    end = time.monotonic() + ALERTS_WAIT_S
    while True:
        folders = {
            field(event, "process.entity_id"): Path(folder).name
            for event in tail.matching(lambda document: not is_alert(document))
            if (folder := field(event, "process.working_directory"))
        }
        alerts = tail.matching(is_alert)
        found: dict[tuple[str, str], Document] = {}
        for alert in alerts:
            place = {container_id: "container", None: "host"}.get(field(alert, "container.id"), "")
            folder = folders.get(field(alert, "process.entity_id"))
            if folder in rule_names(alert):
                found.setdefault((place, folder), alert)
        if wanted <= found.keys() or time.monotonic() > end:
            return Seen(container_id, found, alerts)
        time.sleep(0.1)


def test_every_shipped_rule_has_an_act() -> None:
    rules = load_rules([get_shipped_rules()]).rules

    assert set(IN_A_CONTAINER) | set(ON_THE_HOST) == {rule.name for rule in rules if rule.generates_alert}
    assert not [rule.name for rule in rules if rule.inactive_reason]


@pytest.mark.parametrize("rule", IN_A_CONTAINER)
def test_the_rule_fires_in_a_container(seen: Seen, rule: str) -> None:
    assert_fired(seen, "container", rule)


@pytest.mark.parametrize("rule", ON_THE_HOST)
def test_the_rule_fires_on_the_host(seen: Seen, rule: str) -> None:
    assert_fired(seen, "host", rule)


def assert_fired(seen: Seen, place: str, rule: str) -> None:
    alert = seen.alerts.get((place, rule))
    related = "\n  ".join(summarize(other) for other in seen.others if rule in rule_names(other))
    assert alert is not None, f"no alert of {rule} came from its act ({place}); its alerts:\n  {related or 'none'}"
    assert rule in rule_names(alert)
    assert field(alert, "stockade.mode") == "audit"
    assert all(risk["score"] > 0 and risk["contributions"] for risk in field(alert, "stockade.risk"))
