"""Each shipped rule fires on a real command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.rules.loader import load_rules
from monitor.rules.shipped import get_shipped_rules
from tests.containers.commands import IN_A_CONTAINER, ON_THE_HOST, SERVERS, STAND_INS
from tests.support import oci
from tests.support.documents import Document, Predicate, field, is_alert
from tests.support.programs import find_loader
from tests.support.rootfs import build_rootfs
from tests.support.sandbox import Sandbox
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

RUNTIME = (oci.find_runtimes() or ("runc",))[0]


@pytest.fixture(scope="module")
def service(sandbox: Sandbox) -> Iterator[Service]:
    with Service(sandbox) as started:
        yield started


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, programs: dict[str, Path]) -> Path:
    """The usual root file system, and the programs that it lacks under their names."""
    tools = {f"/opt/{name}": program for name, program in programs.items()}
    tools |= dict.fromkeys(STAND_INS, programs["stand_in"]) | dict.fromkeys(SERVERS, programs["server"])
    return build_rootfs(tmp_path_factory.mktemp("image"), {**tools, "/lib64/ld-linux-x86-64.so.2": find_loader()})


def an_alert(rule: str, container_id: str | None) -> Predicate:
    def judge(document: Document) -> bool:
        names = (field(document, "rule.name"), *(field(document, "stockade.rules") or ()))
        return is_alert(document) and field(document, "container.id") == container_id and rule in names

    judge.__doc__ = f"an alert of {rule} in {container_id or 'no container'}"
    return judge


def test_every_shipped_rule_has_its_command() -> None:
    rules = load_rules([get_shipped_rules()]).rules

    assert {rule.name for rule in rules if rule.generates_alert} == IN_A_CONTAINER.keys() | ON_THE_HOST.keys()
    assert not [rule.name for rule in rules if rule.inactive_reason]


@pytest.mark.parametrize("rule", IN_A_CONTAINER)
def test_a_rule_fires_in_a_container(rule: str, sandbox: Sandbox, service: Service, tail: Tail, image: Path) -> None:
    with oci.start_container(sandbox, RUNTIME, image) as container:
        container.exec("sh", "-c", f"({IN_A_CONTAINER[rule]}); exit 0")

        tail.wait_for(an_alert(rule, container.id))


@pytest.mark.parametrize("rule", ON_THE_HOST)
def test_a_rule_fires_on_the_host(rule: str, sandbox: Sandbox, service: Service, tail: Tail) -> None:
    sandbox.run(["sh", "-c", ON_THE_HOST[rule]])

    tail.wait_for(an_alert(rule, None))
