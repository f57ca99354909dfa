"""The tag's hierarchy with real containers in every cgroup mode: each container has an id of its own in it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import oci
from tests.support.rootfs import build_rootfs
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.containers

REPOSITORY = Path(__file__).parents[2]
INODE = (1 << 40) - 1
"""Below the hierarchy's number."""

LOOK = """
import json, sys
from monitor.host.cgroups import find_tag_hierarchy, read_memberships, recheck_hierarchy, walk_cgroups
from monitor.host.proc import snapshot_processes
from tests.support.proc_facts import get_facts
found, tgid = find_tag_hierarchy(), int(sys.argv[1])
(event,) = snapshot_processes([get_facts(tgid)])
print(json.dumps({
    "kind": found.kind,
    "is_whole": found.is_whole,
    "is_right": recheck_hierarchy(found, [tgid]) == found,
    "path": read_memberships(tgid)[found.controller],
    "walked": {event.path: event.cgroup_id for event in walk_cgroups(found)},
    "cgroup_id": event.cgroup_id,
    "is_of_the_hierarchy": found.is_of(event.cgroup_id),
    "executable": event.executable,
    "args": event.args,
    "namespace_tgid": event.namespace_tgid,
}))
"""


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_rootfs(tmp_path_factory.mktemp("rootfs"), {})


def look(sandbox: Sandbox, tgid: int) -> dict[str, Any]:
    done = sandbox.run([sys.executable, "-c", LOOK, str(tgid)], env={"PYTHONPATH": str(REPOSITORY)})
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize(("runtime", "mode"), oci.find_combinations())
@pytest.mark.parametrize("shape", ["/docker/{id}", "/{free}"])
def test_a_container_is_told_by_its_cgroup(runtime: str, mode: str, shape: str, rootfs: Path) -> None:
    identifier = oci.new_id()
    path = shape.format(id=identifier, free=oci.free_name())
    wish = oci.Wish(id=identifier, cgroup_path=path)
    with Sandbox(mode) as sandbox, oci.start_container(sandbox, runtime, rootfs, "sleep", "77", wish=wish) as container:
        ids = sandbox.cgroup_ids(path)
        seen = look(sandbox, container.pid)

    assert seen["kind"] == ("v1" if mode == "v1" else "cgroup2")
    assert seen["is_right"]
    assert seen["is_whole"] == (mode != "v2ns"), "in a cgroup namespace a part of the tree is seen"
    assert seen["path"] == path
    assert seen["cgroup_id"] == seen["walked"][path] > 1
    assert seen["cgroup_id"] & INODE in ids.values()
    assert seen["is_of_the_hierarchy"]
    assert seen["executable"] == "/bin/busybox"
    assert seen["args"] == ["sleep", "77"]
    assert seen["namespace_tgid"] == 1


def test_two_containers_differ_on_v1(rootfs: Path) -> None:
    """On v1 alone all containers share one cgroup2 id: the choice of the hierarchy is what tells them apart."""
    combinations = [runtime for runtime, mode in oci.find_combinations() if mode == "v1"]
    if not combinations:
        pytest.skip("this machine has no v1 controllers")
    with (
        Sandbox("v1") as sandbox,
        oci.start_container(sandbox, combinations[0], rootfs) as one,
        oci.start_container(sandbox, combinations[0], rootfs) as two,
    ):
        assert look(sandbox, one.pid)["cgroup_id"] != look(sandbox, two.pid)["cgroup_id"]
