"""The file at a denied path, under other names, in two containers of one image: denied in the one that the rule names.

Natively in tier ``kill``; in the guest (tests/vm) in tier ``lsm``.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import oci
from tests.support.documents import field, has
from tests.support.enforcement import TIER
from tests.support.leftovers import new_id
from tests.support.rule_texts import DENY, rule_text
from tests.support.sandbox import Sandbox, find_modes
from tests.support.service import Service, Tail

pytestmark = pytest.mark.containers

RUNS = 7
"""What the program answers."""
KNOWN_WITHIN_S = 10.0
ROUNDS = {
    "renamed": "mv /opt/status7 /opt/renamed; /opt/renamed",
    "moved and changed": "mv /opt/renamed /tmp/moved; chmod 711 /tmp/moved; /tmp/moved",
}
"""Each goes on where the one before has stopped; the file is copied up at the first."""


class Scene(NamedTuple):
    sandbox: Sandbox
    rootfs: Path
    service: Service
    tail: Tail
    named: str
    """Id of the container that the rule is about."""


@pytest.fixture(scope="module")
def scene(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    rules, named = tmp_path_factory.mktemp("rules"), new_id()
    programs = "Image: [/opt/status7, /bin/true, /opt/nothing-is-there]"  # /bin/true is a link to a busybox
    detection = f"{{s: {{{programs}, container.id: {named}}}, condition: s}}"
    (rules / "status7.yml").write_text(rule_text(detection, extra=f"name: status7\n{DENY}"))
    with (
        Sandbox(find_modes()[0], network=True) as sandbox,
        Service(sandbox, "--no-shipped-rules", f"--rules={rules}", "--mode=enforce") as service,
    ):
        yield Scene(sandbox, rootfs, service, service.tail(), named)


def shell(container: oci.Container, script: str) -> int:
    """What the last command of a script answers."""
    container.exec("sh", "-c", f"({script}); echo $? >/status; sync", check=False)
    return int(container.root("/status").read_text())


def count_known(service: Service) -> int:
    return int(field(service.status(), "denial.files"))


def wait_known(service: Service, count: int) -> None:
    """The files at the rule's paths are looked for once a container's program runs."""
    end = time.monotonic() + KNOWN_WITHIN_S
    while count_known(service) < count:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_other_names_of_a_file_of_the_image(scene: Scene) -> None:
    wish, before = oci.Wish(id=scene.named), count_known(scene.service)
    with (
        oci.start_container(scene.sandbox, "runc", scene.rootfs, wish=wish) as named,
        oci.start_container(scene.sandbox, "runc", scene.rootfs) as other,
    ):
        wait_known(scene.service, before + 2)
        for name, script in ROUNDS.items():
            assert shell(named, script) != RUNS
            path = script.rpartition("; ")[2]
            denied = scene.tail.wait_for(has(event__action="exec-denied", container__id=named.id, file__path=path))
            assert field(denied, "stockade.denial.rules") == ["status7"], name
            assert field(denied, "stockade.denial.tier") == TIER
            assert "known_file" in field(denied, "file.flags")
            alert = scene.tail.wait_for(has(event__kind="alert", container__id=named.id, file__path=path))
            assert field(alert, "rule.name") == "status7"
            assert shell(other, script) == RUNS
        assert shell(named, "/bin/true") == 0, "what a link at the path leads to is many programs"
    assert not scene.tail.matching(has(event__action="exec-denied", container__id=other.id))
