"""Doctor on the running kernel: what it says is true, and its commands mend what they are for."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.sandbox import Sandbox, find_modes

pytestmark = pytest.mark.kernel

REPOSITORY = Path(__file__).parents[2]
PIN_DIR = "/run/stockade-test/doctor's own/bpf"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(find_modes()[0]) as made:
        yield made


def doctor(sandbox: Sandbox, *prefix: str) -> tuple[int, dict[str, dict[str, Any]]]:
    command = [*prefix, sys.executable, "-m", "monitor.cli.main", "doctor", "-o", "json", "--pin-dir", PIN_DIR]
    done = sandbox.run(command, env={"PYTHONPATH": str(REPOSITORY)}, check=False)
    assert not done.stderr
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_the_bpffs_command_mends_the_gap(sandbox: Sandbox) -> None:
    status, before = doctor(sandbox)
    assert (status, before["bpffs"]["state"]) == (0, "gap")

    sandbox.run(["sh", "-c", before["bpffs"]["fix"]])

    status, after = doctor(sandbox)
    assert (status, after["bpffs"]["state"]) == (0, "ok")
    assert sandbox.run(["stat", "--format=%a", PIN_DIR]).stdout == "1700\n", "for root alone; bpffs is sticky"


def test_a_mounted_tracefs_is_named(sandbox: Sandbox) -> None:
    sandbox.run(["mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing"])

    assert doctor(sandbox)[1]["tracefs"]["finding"] == "mounted at /sys/kernel/tracing"


def test_without_privilege_the_exit_status_is_3(sandbox: Sandbox) -> None:
    status, checks = doctor(sandbox, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

    assert status == 3
    assert checks["privilege"]["state"] == "blocker"
    assert checks["programs"]["state"] == "unknown"


def test_without_btf_the_exit_status_is_3(sandbox: Sandbox) -> None:
    sandbox.run(["mount", "-t", "tmpfs", "none", "/sys/kernel/btf"])

    status, checks = doctor(sandbox)

    assert (status, checks["btf"]["state"]) == (3, "blocker")
    assert "CONFIG_DEBUG_INFO_BTF=y" in checks["btf"]["fix"]


def test_no_cgroup_hierarchy_blocks(sandbox: Sandbox) -> None:
    status, checks = doctor(sandbox, "unshare", "--mount", "sh", "-c", 'umount -R /sys/fs/cgroup && exec "$@"', "sh")

    assert (status, checks["cgroups"]["state"]) == (3, "blocker")
    assert checks["cgroups"]["fix"].startswith("mount -t cgroup2")
