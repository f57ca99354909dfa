"""Documents: names, values and sizes that subscribers rely on."""

import json
from typing import Any

import msgspec
import pytest

from monitor.model.events import (
    CgroupAttach,
    CgroupCreate,
    CgroupRemove,
    ContainerKilled,
    ContainerResolved,
    ContainerThawed,
    LossReport,
    ProcessesKilled,
    ServiceFailure,
    Tick,
)
from monitor.model.ids import CgroupId, ProcessKey, Tgid, build_entity_id
from monitor.model.process import Context
from monitor.model.rule import Severity
from monitor.sinks.ecs import build_alert_document, build_event_document, build_timestamp
from tests.unit.sinks import samples


def document(context: Context) -> dict[str, Any]:
    """As a client reads it."""
    built = build_event_document(context, samples.ORIGIN, sequence=7)
    decoded: dict[str, Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(built))
    return decoded


def test_an_exec_in_a_container() -> None:
    event = samples.exec_event(is_memfd=True, is_upper_layer=True, euid=0, uid=1000, script="./run.sh")
    found = document(samples.context(event, in_container=samples.container()))

    assert found["@timestamp"] == "2026-11-18T11:06:45.000000123Z"
    assert found["event"] == {
        "kind": "event",
        "category": ["process"],
        "type": ["start"],
        "action": "exec",
        "outcome": "success",
        "sequence": 7,
    }
    process = found["process"]
    assert process["pid"] == 1234
    assert process["executable"] == "/usr/bin/cat"
    assert process["name"] == "cat"
    assert process["args"] == ["cat", "/etc/shadow"]
    assert process["command_line"] == "cat /etc/shadow"
    assert process["working_directory"] == "/root"
    assert process["script"] == "./run.sh"
    assert process["tty"] == {"name": "pts0"}
    assert process["flags"] == ["memfd", "upper_layer"]
    assert process["parent"]["executable"] == "/usr/bin/bash"
    assert process["parent"]["pid"] == 1200
    assert not process.keys() & {"args_truncated", "args_omitted_bytes", "args_cut_at"}
    assert found["container"] == {
        "id": samples.CONTAINER_ID,
        "runtime": "docker",
        "name": "web-1",
        "image": {"name": "nginx:1.27"},
    }
    assert found["user"]["id"] == "1000"
    assert found["user"]["effective"]["id"] == "0"
    assert found["stockade"]["cgroup_id"] == 4242
    assert (found["stockade"]["cpu"], found["stockade"]["cpu_sequence"]) == (1, 42)


def test_an_exec_whose_arguments_were_cut_says_where_and_how_much() -> None:
    event = samples.exec_event(
        args=("cat", "…", "end"), args_truncated=True, args_omitted_bytes=70_000, args_cut_at=1, is_cwd_truncated=True
    )

    process: Any = build_event_document(samples.context(event), samples.ORIGIN, sequence=7)["process"]

    assert process["args"] == ["cat", "…", "end"]
    assert process["command_line"] == "cat … end"
    assert (process["args_truncated"], process["args_omitted_bytes"], process["args_cut_at"]) == (True, 70_000, 1)
    assert process["flags"] == ["working_directory_truncated"]


def test_entity_ids_join_a_child_with_its_parent() -> None:
    found = document(samples.context())

    parent_key = ProcessKey(Tgid(1200), 4_800_000_000)
    assert found["process"]["parent"]["entity_id"] == build_entity_id(samples.BOOT_ID, parent_key, 2)
    assert found["process"]["entity_id"] != found["process"]["parent"]["entity_id"]


def test_entity_ids_differ_by_boot_process_and_program() -> None:
    key = ProcessKey(Tgid(1), 2)
    ids = {
        build_entity_id("a", key, 3),
        build_entity_id("b", key, 3),
        build_entity_id("a", ProcessKey(Tgid(1), 3), 3),
        build_entity_id("a", ProcessKey(Tgid(2), 2), 3),
        build_entity_id("a", key, 4),
    }
    assert len(ids) == 5


def test_a_failed_exec_is_a_claim() -> None:
    found = document(samples.context(samples.failed_event("/nowhere", errno=2)))

    assert found["event"]["action"] == "exec-failed"
    assert found["event"]["outcome"] == "failure"
    assert found["error"] == {"code": "ENOENT"}
    assert found["file"] == {"path": "/nowhere", "path_claimed": True}


@pytest.mark.parametrize(
    ("changes", "access", "kind"),
    [
        ({}, ["read"], "access"),
        ({"is_write": True}, ["read", "write"], "change"),
        ({"is_write": True, "is_read": False, "is_created": True}, ["write", "create"], "creation"),
    ],
)
def test_an_open_says_how(changes: dict[str, Any], access: list[str], kind: str) -> None:
    found = document(samples.context(samples.open_event(**changes)))

    assert found["event"]["action"] == "open"
    assert found["event"]["type"] == [kind]
    assert found["file"]["access"] == access
    assert found["file"]["mode"] == "0640"
    assert found["file"]["type"] == "file"
    assert found["file"]["inode"] == "777"


@pytest.mark.parametrize(
    ("action", "changes", "kind", "file"),
    [
        ("rename", {"source": "/tmp/x"}, "change", {"original": {"path": "/tmp/x"}}),
        ("link", {"source": "/tmp/x"}, "creation", {"original": {"path": "/tmp/x"}}),
        ("symlink", {"target": "../y", "file_mode": 0o120000}, "creation", {"target_path": "../y", "type": "symlink"}),
        ("deletion", {}, "deletion", {}),
        ("deletion", {"file_mode": 0o40000}, "deletion", {"type": "dir"}),
        ("truncate", {"file_mode": 0o100000}, "change", {"size": 0, "type": "file"}),
        ("chmod", {"file_mode": 0o4755}, "change", {"mode": "4755"}),
        ("chown", {"owner": 0}, "change", {"uid": "0"}),
        ("chown", {"owner": 0, "group": 7, "is_path_truncated": True}, "change",
         {"uid": "0", "gid": "7", "flags": ["path_truncated"]}),
    ],
)  # fmt: skip
def test_a_change_by_name_says_what_is_known(action: str, changes: dict[str, Any], kind: str, file: object) -> None:
    found = document(samples.context(samples.change_event(action=action, **changes)))

    assert found["event"]["action"] == action
    assert found["event"]["type"] == [kind]
    assert found["event"]["outcome"] == "success"
    assert found["file"] == {"path": "/etc/cron.d/x", "path_claimed": True} | file  # type: ignore[operator]


def test_a_change_by_descriptor_has_the_file() -> None:
    event = samples.change_event(action="chmod", inode=7, device=1, file_mode=0o104755, is_path_claimed=False)
    found = document(samples.context(event))

    file = {"path": "/etc/cron.d/x", "type": "file", "inode": "7", "device": "1", "mode": "4755"}
    assert found["file"] == file


def test_an_access_names_its_target() -> None:
    found = document(samples.context(samples.access_event()))

    assert found["event"]["action"] == "ptrace-attach"
    assert (found["event"]["category"], found["event"]["type"]) == (["process"], ["access"])
    target = {"executable": "/usr/sbin/sshd", "name": "sshd", "pid": 77, "vpid": 7}
    assert found["target"] == {"process": target}


def test_of_a_target_that_nobody_knows_the_number_is_told() -> None:
    found = document(samples.context(samples.access_event("memory-read", target_tgid=0, target_executable="")))

    assert found["target"] == {"process": {"vpid": 7}}


def test_a_connection_has_its_destination() -> None:
    found = document(samples.context(samples.connection_event("@a")))

    assert (found["network"], found["destination"]) == ({"transport": "unix"}, {"address": "@a"})
    assert (found["event"]["category"], found["event"]["type"]) == (["network"], ["connection", "start"])


@pytest.mark.parametrize(
    ("action", "category", "kind", "what"),
    [
        ("connect", "network", "connection", {"destination": {"address": "/x/y"}}),
        ("send", "network", "connection", {"destination": {"address": "/x/y"}}),
        ("process-access", "process", "access", {"target": {"process": {"executable": "/x/y", "name": "y"}}}),
        ("traceme", "process", "access", {"target": {"process": {"executable": "/x/y", "name": "y"}}}),
    ],
)
def test_a_denial_says_what_it_was_about(action: str, category: str, kind: str, what: dict[str, Any]) -> None:
    found = document(samples.context(samples.denial_event(action, "/x/y")))

    assert found["event"]["action"] == f"{action}-denied"
    assert (found["event"]["category"], found["event"]["type"]) == ([category], [kind, "denied"])
    assert found | what == found
    assert "file" not in found


def test_a_failed_open_tells_no_facts_of_a_file() -> None:
    event = samples.open_event("../x", errno=13, fd=-1, is_path_claimed=True, is_read=False)
    found = document(samples.context(event))

    assert found["file"] == {"path": "../x", "path_claimed": True, "access": []}
    assert found["error"] == {"code": "EACCES"}
    assert "fd" not in found["stockade"]


@pytest.mark.parametrize(
    ("changes", "name", "value"), [({"exit_status": 3}, "exit_code", 3), ({"signal": 9}, "exit_signal", 9)]
)
def test_an_exit_has_a_status_or_a_signal(changes: dict[str, int], name: str, value: int) -> None:
    process = document(samples.context(samples.exit_event(**changes)))["process"]

    assert process[name] == value
    assert len({"exit_code", "exit_signal"} & set(process)) == 1


def test_a_fork_names_the_process_that_forked() -> None:
    found = document(samples.context(samples.fork_event()))

    assert found["event"]["action"] == "fork"
    assert found["process"]["parent"]["pid"] == 1200


@pytest.mark.parametrize(
    ("event", "action"),
    [
        (Tick(1), "tick"),
        (LossReport(1, 0, "process_exec", CgroupId(4), 12, "ring_full"), "loss"),
        (CgroupCreate(1, CgroupId(4), "/docker/x"), "cgroup-create"),
        (CgroupRemove(1, CgroupId(4), "/docker/x"), "cgroup-remove"),
        (CgroupAttach(1, CgroupId(4), "/docker/x", Tgid(3), 5), "cgroup-attach"),
        (ContainerResolved(1, "abc", "web", "nginx"), "container-resolved"),
        (ServiceFailure(1, "rules", "raised"), "service-failure"),
        (ContainerThawed(1, "container", "c", "c", "deadline", "over"), "container-thawed"),
        (ContainerKilled(1, "container", "c", "c", "command", "asked"), "container-killed"),
        (ProcessesKilled(1, "process", "e", "", "policy", "rule x"), "processes-killed"),
    ],
)
def test_events_that_are_not_of_a_task_have_documents_too(event: Any, action: str) -> None:
    found = document(samples.context(event))

    assert found["event"]["action"] == action
    assert "user" not in found


def test_a_pod_is_an_orchestrators_resource() -> None:
    labels = (("io.kubernetes.pod.name", "front"), ("io.kubernetes.pod.namespace", "shop"))
    in_pod = samples.container(pod_uid="7d1e", labels=labels, pending=True, nested_id="cc", name="", image_name="")
    found = document(samples.context(in_container=in_pod, is_runtime_init=True))

    assert found["orchestrator"] == {
        "type": "kubernetes",
        "namespace": "shop",
        "resource": {"type": "pod", "id": "7d1e", "name": "front"},
    }
    assert found["container"]["pending"] is True
    assert found["container"]["nested"] == {"id": "cc"}
    assert found["container"]["runtime_init"] is True


def alert_document(*rules: Any, **changes: Any) -> dict[str, Any]:
    return build_alert_document(samples.alert(*rules, **changes), samples.ORIGIN, sequence=8, mode="audit")


def test_an_alert_names_rule_risk_verdict_and_technique() -> None:
    found = alert_document()

    assert found["event"]["kind"] == "alert"
    assert found["rule"] == {
        "id": samples.rule().id,
        "name": "shadow_read",
        "title": "Shadow file read",
        "level": "high",
    }
    assert found["threat"] == {"technique": {"id": ["T1003.008"]}, "tactic": {"name": ["credential-access"]}}
    lineage, container = found["stockade"]["risk"]
    assert (lineage["subject"], lineage["score"]) == ("lineage", 50.0)
    assert container["subject_id"] == samples.CONTAINER_ID
    assert container["contributions"] == [{"rule": "shadow_read", "weight": 0.5, "age_s": 0.0, "count": 1}]
    assert found["stockade"]["verdicts"][0]["action"] == "alert"
    assert found["stockade"]["mode"] == "audit"
    assert found["file"]["path"] == "/etc/shadow"


def test_the_severest_rule_leads_and_all_are_named() -> None:
    low, critical = samples.rule("low_one", Severity.LOW), samples.rule("worst", Severity.CRITICAL)
    found = alert_document(low, critical)

    assert found["rule"]["name"] == "worst"
    assert found["stockade"]["rules"] == ["low_one", "worst"]


def test_an_ordinary_alert_is_small() -> None:
    assert len(json.dumps(alert_document(), separators=(",", ":"))) <= 1_536


def test_many_contributions_are_cut_and_counted() -> None:
    rules = [samples.rule(f"rule_{number}") for number in range(40)]
    found = alert_document(*rules)

    assert len(found["stockade"]["risk"][0]["contributions"]) == 8
    assert found["stockade"]["risk"][0]["contributions_more"] == 32
    assert len(found["stockade"]["rules"]) == 16


@pytest.mark.parametrize("wall_ns", [0, -1, 2**63 - 1, 2**64])
def test_any_time_has_a_timestamp(wall_ns: int) -> None:
    assert build_timestamp(wall_ns).endswith("Z")
