"""What the engine itself raises alerts about: rules without a file, so that an alert always has one."""

from typing import Final

from monitor.model.rule import Location, Rule, Severity

_LOCATION: Final = Location("built in", 0, 0)

RISK_THRESHOLD: Final = Rule(
    id="4f0d5a5e-6a0b-4c8c-9d0b-2f1e7a3c9b10",
    name="risk_threshold",
    title="Accumulated risk of a container or lineage",
    severity=Severity.HIGH,
    status="stable",
    description="What was detected one by one adds up to more than `engine.risk_alert_at`.",
    location=_LOCATION,
)
EVENTS_LOST: Final = Rule(
    id="8a0c2c8e-6d5f-4a9e-8c52-7b6f0e1d2a31",
    name="events_lost",
    title="Events were lost or held back",
    severity=Severity.MEDIUM,
    status="stable",
    description="The kernel side could not hand on what happened: a ring was full, or a cgroup exceeded its rate.",
    location=_LOCATION,
)
SERVICE_FAILURE: Final = Rule(
    id="c5b9a7d2-3e41-4f7a-9f0e-1a6c8d2e4b52",
    name="service_failure",
    title="A part of the monitor failed",
    severity=Severity.HIGH,
    status="stable",
    description="The rest goes on; what the failed part would have seen is missing.",
    location=_LOCATION,
)
RESPONSE_FAILED: Final = Rule(
    id="b7c1e0a4-52d9-4e66-9a3b-6f2d8c5e1f94",
    name="response_failed",
    title="A response could not be carried out",
    severity=Severity.HIGH,
    status="stable",
    description="Something was to be killed, frozen or thawed and was not: who is at risk runs on, or stays frozen.",
    location=_LOCATION,
)
CONTAINER_LEFT: Final = Rule(
    id="e2d4f6a8-1b3c-4d5e-8f90-6c7b8a9d0e73",
    name="container_cgroup_left",
    title="A process left its container's cgroup",
    severity=Severity.HIGH,
    status="stable",
    description="It was moved to a cgroup that is not its container's. It is still taken for the container's process.",
    tags=("attack.privilege-escalation", "attack.t1611"),
    score=60,
    location=_LOCATION,
)
GUARD_REFUSED: Final = Rule(
    id="a3d7c2f1-84be-4b6c-9e05-5d1f7a2c6b38",
    name="guard_refused",
    title="Somebody tried to end the monitor",
    severity=Severity.HIGH,
    status="stable",
    description="A signal, ptrace, a BPF call or a write at the service, its pins or its cgroup; the kernel refused.",
    tags=("attack.defense-evasion", "attack.t1562.001"),
    location=_LOCATION,
)
BUILTIN_RULES: Final = (RISK_THRESHOLD, EVENTS_LOST, SERVICE_FAILURE, GUARD_REFUSED, RESPONSE_FAILED, CONTAINER_LEFT)
